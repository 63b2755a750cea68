"""What a module does with its state: weights by key, checked before they are loaded; copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wengert.graph.mode import THREAD, recording
from wengert.tensor.creation import tensor
from wengert.tensor.tensor import Tensor

if TYPE_CHECKING:
    from wengert.nn.module import Module

_SHOWN = 5


class IncompatibleKeys(NamedTuple):
    """The keys that a module and loaded weights do not share.

    Attributes
    ----------
    missing_keys : list of str
        What the module has and the weights lack.
    unexpected_keys : list of str
        What the weights have and the module lacks.
    """

    missing_keys: list[str]
    unexpected_keys: list[str]


def join(path: str, name: str) -> str:
    """Return the path of `name` below `path`."""
    return f"{path}.{name}" if path else name


def collect(module: Module, prefix: str = "") -> dict[str, Tensor]:
    """Return the parameters and persistent buffers of a module by key, shared ones repeatedly."""
    held: dict[str, Tensor] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for kind in ("parameter", "buffer"):
            for name, value in part._own(kind):
                held[prefix + join(path, name)] = value
    return held


def load(module: Module, weights: Mapping[str, Any], strict: bool) -> IncompatibleKeys:
    """Carry out `Module.load_state_dict`."""
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"load_state_dict: needs weights by key, got {type(weights).__name__}; pass what "
            "state_dict() or load_file() returned."
        )
    held = collect(module)
    missing = [key for key in held if key not in weights]
    unexpected = [key for key in weights if key not in held]
    given = {key: tensor(weights[key]) for key in held if key in weights}
    complaints = [f"missing keys: {_listed(missing)}"] if strict and missing else []
    if strict and unexpected:
        complaints.append(f"unexpected keys: {_listed(unexpected)}")
    complaints += _misfits(held, given)
    if complaints:
        hint = " strict=False skips missing and unexpected keys." if strict else ""
        raise RuntimeError(
            f"load_state_dict: these weights do not fit {type(module).__name__}: "
            f"{'; '.join(complaints)}.{hint}"
        )
    with recording(False):
        for key, value in given.items():
            held[key].copy_(value)
    return IncompatibleKeys(missing, unexpected)


def _misfits(held: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """Say which shapes and dtypes do not fit; wider dtypes do, narrowing is never silent."""
    shapes = [
        f"{key} has shape {held[key].shape} here and {value.shape} in the weights"
        for key, value in given.items()
        if value.shape != held[key].shape
    ]
    dtypes = [
        f"{key} is {held[key].dtype} here and {value.dtype} in the weights (convert the module "
        f"with .to('{value.dtype}'), or the weights with .astype('{held[key].dtype}'))"
        for key, value in given.items()
        if not np.can_cast(value.dtype, held[key].dtype)
    ]
    return [_listed(found) for found in (shapes, dtypes) if found]


def _listed(items: Sequence[str]) -> str:
    rest = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


class Skeleton:
    """A module seen as a container: all of it but the parameters.

    Two skeletons are equal if one module was copied from the other (transforms copy modules) and
    the modes are the same, so that a model and its gradients have one structure.

    Parameters
    ----------
    module : Module
        The module.
    names : tuple of str
        The paths of its parameters.
    """

    def __init__(self, module: Module, names: tuple[str, ...]) -> None:
        self.module = module
        self.names = names
        self.pattern: Module = module.__dict__.get("_pattern", module)
        self.modes = tuple(part._training for part in module.modules())

    def __eq__(self, other: object) -> bool:
        """Tell whether both are of one module or of copies of it."""
        if not isinstance(other, Skeleton):
            return NotImplemented
        same = self.pattern is other.pattern and self.names == other.names
        return same and self.modes == other.modes

    def __hash__(self) -> int:
        return hash((id(self.pattern), self.names, self.modes))

    def filled(self, leaves: Sequence[Any]) -> Module:
        """Return a copy of the module tree with `leaves` in place of the parameters."""
        params = self.module.parameters()
        leaf_of = {id(param): leaf for param, leaf in zip(params, leaves, strict=True)}
        made = self._copy(self.module, leaf_of, {})
        made.__dict__["_pattern"] = self.pattern
        return made

    def _copy(self, module: Module, leaf_of: dict[int, Any], done: dict[int, Module]) -> Module:
        if id(module) in done:
            return done[id(module)]
        made = object.__new__(type(module))
        made.__dict__.update(module.__dict__, _kinds=dict(module._kinds))
        # A copy that outlives the trace is a module in its own right.
        made.__dict__["_original"] = (
            None if THREAD.now.trace is None else module._original or module
        )
        done[id(module)] = made
        for name, param in module._own("parameter"):
            made.__dict__[name] = leaf_of[id(param)]
        for name, child in module._own("module"):
            made.__dict__[name] = self._copy(child, leaf_of, done)
        return made

    def __repr__(self) -> str:
        """Return the module's class."""
        return f"<{type(self.module).__name__}>"
