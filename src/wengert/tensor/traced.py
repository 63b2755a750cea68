"""`trace`: a Python function of tensors becomes a graph that can be printed and transformed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from wengert.ad import reverse
from wengert.ad.tape import record_tape
from wengert.graph.errors import DTypeError, ShapeError
from wengert.graph.graph import Graph, drop_aliases
from wengert.graph.mode import recording
from wengert.graph.tracing import Trace
from wengert.graph.variable import Variable
from wengert.ops.creation import full
from wengert.ops.derivatives import zeros_like
from wengert.tensor import pytree
from wengert.tensor.tensor import Tensor
from wengert.tensor.transforms import read


class TracedGraph(Graph):
    """The graph of a Python function, which remembers its trace.

    Its inputs are the arrays among the arguments, then the tensors that the function read from
    outside (parameters), then the hyper-parameters.

    Attributes
    ----------
    trace : Trace
        The trace, with its journal.

    Examples
    --------
    >>> import wengert as wg
    >>> graph = wg.trace(lambda x: wg.sum(x * x))(wg.ones(2))
    >>> print(graph.backward().outputs[0].aval)
    f32[2]
    """

    def __init__(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], name: str, trace: Trace
    ) -> None:
        super().__init__(inputs, outputs, name)
        self.trace = trace

    def backward(self, wrt: Sequence[str | Variable] | str | None = None) -> TracedGraph:
        """Return 𝓑: the graph that computes the gradient of the first output.

        𝓑 stands beside 𝓖: it uses the intermediates of this graph, and each operation of it
        remembers the operation of 𝓖 it belongs to. Only what leads from `wrt` to the output is
        there.

        Parameters
        ----------
        wrt : name, Variable, or sequence of them, optional
            Which inputs to differentiate by; default: the arguments that are floating point, and
            the tensors from outside that require gradients.

        Raises
        ------
        ShapeError
            If the first output is not one number.
        KeyError
            If a name is no input.
        RuntimeError
            If an input is a tensor from outside that requires no gradient.
        """
        chosen = self._chosen(wrt)
        y = self.outputs[0]
        if y.shape != ():
            raise ShapeError(f"backward: the first output must be one number, got {y.aval}.")
        with self.trace, recording(True):
            tape = record_tape([y], chosen)
            seed = full((), 1, y.dtype)
            table = reverse.pull(tape, [y], [seed], chosen, record=True)
            bars = [(x, table.get(x)) for x in chosen]
            outputs = [zeros_like(x) if bar is None else bar for x, bar in bars]
        for x, bar in zip(chosen, outputs, strict=True):
            if x.name and bar.name is None and bar.op is not None:
                bar.name = f"∂{x.name}"
        results = _outermost(self.trace, outputs)
        return TracedGraph(self.inputs, results, f"{self.name}_backward", self.trace)

    def _chosen(self, wrt: Sequence[str | Variable] | str | None) -> list[Variable]:
        if wrt is None:
            return [v for v in self.inputs if v.requires_grad]
        by_name = {v.name: v for v in self.inputs}
        wanted = [wrt] if isinstance(wrt, str | Variable) else list(wrt)
        for name in wanted:
            if isinstance(name, str) and name not in by_name:
                raise KeyError(f"backward: no input is called {name!r}; there are {list(by_name)}.")
        found = [by_name[name] if isinstance(name, str) else name for name in wanted]
        for v in found:
            if v.dtype.kind != "f":
                raise DTypeError(f"backward: {v.name!r} is {v.dtype}, which has no derivative")
            if not v.requires_grad:
                raise RuntimeError(
                    f"backward: {v.name!r} is a tensor from outside that requires no gradient, so "
                    "that none was traced; pass it as an argument, or call .requires_grad_() first."
                )
        return found


def trace(function: Callable[..., Any]) -> Callable[..., TracedGraph]:
    """Return a function that, called with example arguments, returns the graph of `function`.

    The function runs once on tensors without values. Tensors that it reads from outside
    (parameters of a model) become inputs too.

    Parameters
    ----------
    function : callable
        A function of tensors or containers of them.

    Examples
    --------
    >>> import wengert as wg
    >>> graph = wg.trace(lambda x: wg.sum(wg.exp(x)))(wg.ones(3))
    >>> [op.primitive.name for op in graph.operations]
    ['exp', 'sum']
    >>> [op.primitive.name for op in graph.backward().operations]
    ['exp', 'full', 'broadcast', 'cotangent_mul']
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> TracedGraph:
        name = getattr(function, "__name__", type(function).__name__).strip("<>")
        leaves, spec = pytree.flatten((args, kwargs))
        names = argument_names(function, args, kwargs)
        run = Trace(name, lifts=True)
        arrays = {i: read(leaf) for i, leaf in enumerate(leaves) if is_array(leaf)}
        inputs = []
        with run:
            for i, v in arrays.items():
                given = run.new_input(v.aval, names[i], v.dtype.kind == "f")
                inputs.append(given)
                leaves[i] = Tensor(given)
            new_args, new_kwargs = pytree.unflatten(spec, leaves)
            result = function(*new_args, **new_kwargs)
            outputs = [read(leaf) for leaf in pytree.flatten(result)[0]]
        inputs += [v for _, v in run.cell_inputs]
        inputs += [v for _, v in run.grad_inputs]
        inputs += [v for _, v in run.hyper_inputs]
        return TracedGraph(inputs, _outermost(run, outputs), name, run)

    return wrapped


def _outermost(run: Trace, outputs: Sequence[Variable]) -> Sequence[Variable]:
    """Return `outputs` without aliases, unless an outer trace may differentiate them again."""
    return outputs if run.parent is not None else drop_aliases(outputs)


def is_array(leaf: Any) -> bool:
    """Tell whether a leaf of the arguments becomes an input (numbers and strings are static)."""
    return isinstance(leaf, Tensor) or (hasattr(leaf, "__array__") and hasattr(leaf, "shape"))


def argument_names(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[str]:
    """Return a name for each leaf of the arguments: the parameter's, and the path inside it."""
    called = getattr(function, "forward", function)  # of a module, which takes anything itself
    try:
        parameters = list(inspect.signature(called).bind_partial(*args).arguments)
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for position, argument in enumerate(args):
        base = parameters[position] if position < len(parameters) else f"arg{position}"
        names += [base + path for path in pytree.paths(argument)]
    for key in sorted(kwargs):
        names += [key + path for path in pytree.paths(kwargs[key])]
    return names
