"""The backward pass of an eager program through a compiled call: native code of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wengert.ad import reverse
from wengert.compile.settings import SETTINGS
from wengert.compile.trace.arguments import contiguous
from wengert.graph.dtypes import Array
from wengert.graph.graph import Graph, drop_aliases, replay
from wengert.graph.mode import THREAD, recording
from wengert.graph.tracing import Trace
from wengert.graph.variable import Variable
from wengert.ops.derivatives import zeros_like

if TYPE_CHECKING:
    from wengert.compile.native.executable import Executable


class Pullback:
    """Computes the cotangents of a graph's inputs from those of its outputs.

    The code is made when it is first asked for, once for each choice of inputs and outputs. It
    computes what it needs of the graph again.

    Parameters
    ----------
    graph : Graph
        What was computed.
    threads : int, optional
        How many threads the native code uses; None: as many as turn out to be quickest.
    """

    def __init__(self, graph: Graph, threads: int | None) -> None:
        self.graph = graph
        self.threads = threads
        self._made: dict[tuple[tuple[bool, ...], tuple[bool, ...]], tuple[Graph, Executable]] = {}

    def __call__(
        self,
        y_bar: Sequence[Variable | None],
        xs: Sequence[Variable],
        needed: Sequence[bool],
    ) -> list[Variable | None] | None:
        """Return a cotangent for each input that needs one; None if operations must be recorded.

        Parameters
        ----------
        y_bar : sequence of Variable or None
            The cotangents of the outputs; None is zero.
        xs : sequence of Variable
            The inputs.
        needed : sequence of bool
            Which inputs need a cotangent.
        """
        bars = [bar for bar in y_bar if bar is not None]
        if not SETTINGS.enabled or THREAD.now.recording or THREAD.now.trace is not None:
            return None
        if any(v.value is None for v in (*xs, *bars)):
            return None
        key = tuple(needed), tuple(bar is not None for bar in y_bar)
        if key not in self._made:
            self._made[key] = self._build(*key)
        graph, run = self._made[key]
        outputs: list[Array] = [np.empty(v.shape, v.dtype) for v in graph.outputs]
        run([contiguous(v) for v in (*xs, *bars)], outputs)
        found = iter(outputs)
        return [Variable(next(found)) if need else None for need in needed]

    def _build(self, needed: tuple[bool, ...], given: tuple[bool, ...]) -> tuple[Graph, Executable]:
        from wengert.compile.native.executable import compile_graph

        trace = Trace(f"{self.graph.name}_backward")
        with trace, recording(True):
            xs = [
                trace.new_input(v.aval, v.name, need)
                for v, need in zip(self.graph.inputs, needed, strict=True)
            ]
            bars = [
                trace.new_input(y.aval) if has else None
                for y, has in zip(self.graph.outputs, given, strict=True)
            ]
            wrt = [x for x in xs if x.requires_grad]
            found, _ = reverse.vjp(replay(self.graph, xs), bars, wrt)
            made = [
                zeros_like(x) if bar is None else bar for x, bar in zip(wrt, found, strict=True)
            ]
        inputs = [*xs, *(bar for bar in bars if bar is not None)]
        graph = Graph(inputs, drop_aliases(made), trace.what)
        return graph, compile_graph(graph, {}, self.threads)
