"""`Optimizer`: what all optimisers share: groups of parameters, state, and their way in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.graph import memory
from wengert.graph.dtypes import INT64
from wengert.graph.errors import DTypeError, TracerError
from wengert.graph.mode import THREAD, recording
from wengert.graph.variable import Variable
from wengert.tensor.creation import tensor
from wengert.tensor.effects import Setting, guard, hyper, structure
from wengert.tensor.tensor import Tensor

Number = float | Tensor
State = dict[str, Tensor]


class ParamGroup(dict[str, Any]):
    """Parameters with the numbers and choices that hold for them; a dict, as in PyTorch.

    Numbers are read afresh at each step, also in compiled functions: ``group["lr"] = 0.1`` takes
    effect at once and never recompiles.
    """

    def __setitem__(self, key: str, value: Any) -> None:
        """Set an entry; other parameters are announced to compiled functions.

        Raises
        ------
        TracerError
            In a traced function, whose Python code runs only once: the entry would be set once.
        TypeError
            If something else is to stand in place of a number.
        """
        trace = THREAD.now.trace
        if trace is not None and trace.runs_once():
            raise TracerError(
                f"optimizer: {key!r} of a group of parameters was set inside a traced function "
                f"({trace.what}). Its Python code runs only once, so that later calls would not "
                "set it: step schedulers and set rates outside of it (nothing is compiled again)."
            )
        is_number = hasattr(value, "__float__") and not getattr(value, "ndim", 0)
        if type(self.get(key)) in (float, int) and not is_number:
            raise TypeError(
                f"optimizer: {key!r} of a group of parameters must be a number, "
                f"got {value!r} of type {type(value).__name__}."
            )
        super().__setitem__(key, value)
        if key == "params":
            structure.announce()

    def number(self, key: str, place: int | None = None) -> Number:
        """Return a number; in a trace that lifts hyper-parameters an input of its graph.

        Parameters
        ----------
        key : str
            The entry.
        place : int, optional
            Which item of the entry, if it is a sequence.
        """
        if THREAD.now.trace is None:
            return float(self[key] if place is None else self[key][place])
        if place is None:
            return hyper(self, key, Setting(self, key, float))
        return hyper(self, f"{key}[{place}]", lambda: float(self[key][place]))

    def chosen(self, key: str) -> bool:
        """Tell whether an entry is neither zero nor False; a guard of compiled functions."""
        if THREAD.now.trace is None:
            return bool(self[key])
        return guard(f"whether {key} is zero or off", Setting(self, key, bool))  # type: ignore[no-any-return]

    def number_if_chosen(self, key: str) -> Number | None:
        """Return a number, or None if it is zero, which makes another graph."""
        return self.number(key) if self.chosen(key) else None


class Optimizer:
    """Base of the optimisers: updates parameters in place from their gradients.

    Parameters
    ----------
    params : iterable of Tensor, or of dicts
        The leaves to update; a dict has them under ``"params"`` and other settings beside them.
    defaults : mapping
        The settings of groups that do not say otherwise.

    Attributes
    ----------
    param_groups : list of ParamGroup
        The groups; change their entries to change the settings.
    state : dict of Tensor to dict of str to Tensor
        What is remembered of each parameter, all of it made at construction.

    Raises
    ------
    TypeError
        If `params` is no iterable of tensors or dicts.
    ValueError
        If there is no parameter, one is given twice or made by an operation, or a setting is out
        of range.
    """

    remembers: frozenset[str] = frozenset()
    """The keys that the state of a parameter may have."""

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.state: dict[Tensor, State] = {}
        self.param_groups: list[ParamGroup] = []
        groups = _listed(type(self).__name__, params)
        if not groups:
            raise ValueError(
                f"{type(self).__name__}: there are no parameters to update; "
                "is this iterator used up, or the model without layers?"
            )
        if not isinstance(groups[0], Mapping):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: Any) -> None:
        """Add parameters with settings of their own.

        Parameters
        ----------
        param_group : mapping
            ``"params"`` and the settings that differ from the defaults.
        """
        name = type(self).__name__
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f"{name}: a group of parameters must be a dict with the key 'params'.")
        given = param_group["params"]
        params = [given] if isinstance(given, Tensor) else _listed(name, given)
        group = ParamGroup({**self.defaults, **param_group, "params": params})
        self._check(group)
        known = set(map(id, self.state))
        for place, param in enumerate(params):
            _check_param(name, place, param)
            if id(param) in known:
                raise ValueError(
                    f"{name}: parameter {_shown(place, param)} is given twice; it would be updated "
                    "twice in each step."
                )
            known.add(id(param))
        for param in params:
            self.state[param] = {key: _new_cell(key, param) for key in self._needs(group)}
        self.param_groups.append(group)
        structure.announce()

    def __wengert_structure__(self) -> tuple[list[Any], list[str]]:
        """Return what compiled functions that step with this optimiser depend on; see `Module`."""
        params = [param for group in self.param_groups for param in group["params"]]
        cells = [cell for state in self.state.values() for cell in state.values()]
        return [*self.param_groups, *params, *cells], []

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters once; those whose ``.grad`` is None are left alone.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and the gradients anew.

        Returns
        -------
        What `closure` returned, or None.
        """
        loss = None
        if closure is not None:
            with recording(True):
                loss = closure()
        mode = THREAD.now
        before, mode.recording = mode.recording, False
        try:
            for group in self.param_groups:
                self._update(group)
        finally:
            mode.recording = before
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set them to zero."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    param.grad.zero_()

    # For subclasses

    def _check(self, group: ParamGroup) -> None:
        """Raise ValueError if a setting is out of range."""

    def _needs(self, group: ParamGroup) -> Sequence[str]:
        """Return the keys of what is remembered of each parameter of a group."""
        raise NotImplementedError

    def _update(self, group: ParamGroup) -> None:
        """Update the parameters of one group."""
        raise NotImplementedError

    def _known(self, group: ParamGroup, param: Tensor) -> State:
        """Return the state of `param`, with what settings changed since construction ask for."""
        state = self.state[param]
        for key in self._needs(group):
            if key not in state:
                state[key] = _new_cell(key, param)
                state[key]._stamp = param._stamp  # it stays when a trace ends, like the parameter
        if THREAD.now.trace is not None:
            for key, cell in state.items():
                cell.name = f"{param.name or 'param'}.{key}"
        return state

    # State on its way in and out

    def state_dict(self) -> dict[str, Any]:
        """Return state and settings in PyTorch's layout, parameters numbered in order.

        The tensors are copies: later steps do not change them.
        """
        number = {id(param): place for place, param in enumerate(self.state)}
        state = {
            number[id(param)]: {key: cell.detach().clone() for key, cell in cells.items()}
            for param, cells in self.state.items()
            if cells
        }
        groups = [
            {**group, "params": [number[id(param)] for param in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned, here or in PyTorch.

        Raises
        ------
        ValueError
            If the groups, the numbers of parameters or the shapes differ; nothing is changed then.
        """
        name = type(self).__name__
        try:
            groups, state = state_dict["param_groups"], state_dict["state"]
        except (KeyError, TypeError):
            raise ValueError(
                f"{name}.load_state_dict: needs what state_dict() of an optimizer returned, a dict "
                "with the keys 'state' and 'param_groups'."
            ) from None
        sizes = [len(group["params"]) for group in self.param_groups]
        given = [len(group["params"]) for group in groups]
        if sizes != given:
            raise ValueError(
                f"{name}.load_state_dict: the groups have {sizes} parameters here and {given} in "
                "the loaded state; build the optimizer over the same parameters."
            )
        changed = [{k: v for k, v in group.items() if k != "params"} for group in groups]
        for group, settings in zip(self.param_groups, changed, strict=True):
            self._check(ParamGroup({**group, **settings}))
        loaded = self._matched(groups, state)
        for group, settings in zip(self.param_groups, changed, strict=True):
            group.update(settings)
        with recording(False):
            for group in self.param_groups:
                for param in group["params"]:
                    self._restore(group, param, loaded.get(param, {}))

    def _matched(
        self, groups: Iterable[Mapping[str, Any]], state: Mapping[Any, Any]
    ) -> dict[Tensor, State]:
        """Return the loaded state by parameter, after a check of the shapes."""
        matched: dict[Tensor, State] = {}
        for mine, theirs in zip(self.param_groups, groups, strict=True):
            for param, number in zip(mine["params"], theirs["params"], strict=True):
                given = state.get(number, state.get(str(number), {}))
                cells = {key: tensor(v) for key, v in given.items() if v is not None}
                self._check_cells(_shown(number, param), param.shape, cells)
                matched[param] = cells
        return matched

    def _check_cells(self, shown: str, shape: tuple[int, ...], cells: State) -> None:
        for key, value in cells.items():
            if key not in self.remembers:
                raise ValueError(
                    f"{type(self).__name__}.load_state_dict: the loaded state has {key!r}, which "
                    "is that of another optimizer."
                )
            if value.shape != (() if key == "step" else shape):
                raise ValueError(
                    f"{type(self).__name__}.load_state_dict: {key} of parameter {shown} has shape "
                    f"{value.shape} in the loaded state."
                )

    def _restore(self, group: ParamGroup, param: Tensor, loaded: State) -> None:
        for key, cell in self._known(group, param).items():
            if key in loaded:
                cell.copy_(loaded[key].astype(cell.dtype))
            else:
                cell.zero_()

    def __repr__(self) -> str:
        """Return the settings of each group."""
        lines = [f"{type(self).__name__} ("]
        for place, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {place}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


def _new_cell(key: str, param: Tensor) -> Tensor:
    """Return zeros like a parameter, or a step counter, an integer: steps have one graph."""
    counts = key == "step"
    shape, dtype = ((), INT64) if counts else (param.shape, param.dtype)
    return Tensor(Variable(memory.zeros(shape, dtype)))


def advance(counter: Tensor) -> int | Tensor:
    """Add 1 to a step counter; return the new count, as a number where there is one."""
    if THREAD.now.trace is not None:
        return counter.add_(1)
    count = int(counter.item()) + 1
    counter._bind(Variable(np.array(count, np.int64)))
    return count


def check_range(
    optimizer: str, name: str, value: Any, low: float = 0.0, high: float = np.inf
) -> None:
    """Raise ValueError unless a setting is a number of at least `low` and below `high`.

    Raises
    ------
    TypeError
        If it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{optimizer}: {name} must be a number, got {value!r}.")
    if not low <= value < high:
        limit = "at least 0" if high == np.inf else f"at least {low:g} and below {high:g}"
        raise ValueError(f"{optimizer}: {name} must be {limit}, got {value}.")


def _listed(optimizer: str, params: Any) -> list[Any]:
    fix = "pass an iterable of them, such as model.parameters() or [x]"
    if isinstance(params, Tensor):
        raise TypeError(f"{optimizer}: params is one tensor; {fix}.")
    if hasattr(params, "named_parameters"):
        raise TypeError(f"{optimizer}: params is a module; pass its parameters().")
    if isinstance(params, Mapping | str) or not isinstance(params, Iterable):
        raise TypeError(f"{optimizer}: params is of type {type(params).__name__}; {fix}.")
    if isinstance(params, set | frozenset):
        raise TypeError(f"{optimizer}: params is a set, which has no order; pass a list.")
    return list(params)


def _check_param(optimizer: str, place: int, param: Any) -> None:
    if not isinstance(param, Tensor):
        hint = "; pass model.parameters()" if isinstance(param, tuple) else ""
        raise TypeError(
            f"{optimizer}: parameter {place} is no tensor but {type(param).__name__}{hint}."
        )
    if not param.is_leaf:
        raise ValueError(
            f"{optimizer}: parameter {_shown(place, param)} was made by an operation, so no "
            "gradient collects in it; pass the leaf that it was made from."
        )
    if param.dtype.kind != "f":
        raise DTypeError(
            f"{optimizer}: parameter {_shown(place, param)} is {param.dtype}; only floating-point "
            "tensors can be trained."
        )


def _shown(place: object, param: Tensor) -> str:
    name = f" ({param.name})" if param.name else ""
    return f"{place}{name} of shape {param.shape}"
