"""`Module`: a tree of layers with parameters, buffers and a `forward`.

What a module holds lives in its ordinary attributes; a table beside them says which of the names
are parameters, buffers and modules. So reading ``self.weight`` costs what reading any attribute
costs. Each module knows its path below the outermost module, which errors and graphs name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy.typing as npt

from wengert.graph.dtypes import check_dtype
from wengert.graph.mode import THREAD
from wengert.nn import state
from wengert.nn.parameter import Parameter
from wengert.tensor import inplace
from wengert.tensor.effects import Setting, guard, set_mode, structure
from wengert.tensor.tensor import Tensor

PARAMETER, BUFFER, TRANSIENT, MODULE = "parameter", "buffer", "transient buffer", "module"


def _missing_forward(self: Module, *inputs: Any) -> Any:
    del inputs
    raise NotImplementedError(f"{type(self).__name__} has no forward method; define one.")


class Module:
    """A layer, or a net of layers: subclass it, set layers in ``__init__``, define `forward`.

    Parameters, buffers and modules assigned as attributes are listed in the order in which they
    were assigned. A module is also a container of its parameters (a pytree), so that it can be an
    argument and a result of `wengert.grad` and other transforms.

    Attributes
    ----------
    training : bool
        Whether the module is being trained; dropout acts only then. See `train` and `eval`.

    Examples
    --------
    >>> import wengert as wg
    >>> class Net(wg.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = wg.nn.Linear(4, 2)
    ...
    ...     def forward(self, x):
    ...         return wg.relu(self.fc(x))
    >>> net = Net()
    >>> [name for name, _ in net.named_parameters()]
    ['fc.weight', 'fc.bias']
    >>> net(wg.ones((3, 4))).shape
    (3, 2)
    """

    _kinds: dict[str, str]
    _path: str
    _training: bool
    _original: Module | None = None
    """What a copy that a trace made for arguments or a derivative was copied from."""

    forward: Callable[..., Any] = _missing_forward

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the tables, so that a subclass may assign layers before it calls ``__init__``."""
        del args, kwargs
        self = super().__new__(cls)
        self.__dict__.update(_kinds={}, _path="", _training=True)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call `forward`; the operations recorded meanwhile carry the path of this module."""
        path, mode = self._path, THREAD.now
        if mode.trace is not None and self._original is None:
            mode.trace.use(self)
        if not path:
            return self.forward(*args, **kwargs)
        before = mode.scope
        mode.scope = path
        try:
            return self.forward(*args, **kwargs)
        finally:
            mode.scope = before

    def __wengert_structure__(self) -> tuple[list[Any], list[str]]:
        """Return what this module holds and announces changes of, and its other attributes.

        A compiled function asks for it when something was announced. Buffers are among the others,
        since `forward` may assign them.
        """
        values = self.__dict__
        announced = {n for n, kind in self._kinds.items() if kind in {PARAMETER, MODULE}}
        held = [part for name in self._kinds if name in announced for part in (name, values[name])]
        return held, [name for name in values if name not in announced and name != "_kinds"]

    def _owner(self, name: str) -> Self:
        """Return the module that a trace should read an attribute of afresh at each call.

        That is the original of a copy, since the copy will never be changed again; unless the
        traced function has given the copy a value of its own.
        """
        original: Any = self._original
        same = original is not None and getattr(original, name) == getattr(self, name)
        return original if same else self

    # Attributes

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.add_module(name, value)
        elif name in self._kinds:
            self._replace(name, value)
        else:
            object.__setattr__(self, name, value)

    def _replace(self, name: str, value: Any) -> None:
        kind = self._kinds[name]
        fits = isinstance(value, Tensor) and kind in {BUFFER, TRANSIENT}
        if value is not None and not fits:
            wanted = "Module" if kind == MODULE else "Parameter" if kind == PARAMETER else "Tensor"
            raise TypeError(
                f"{type(self).__name__}.{name} is a {kind}: assign a {wanted} or None, "
                f"got {type(value).__name__}."
            )
        self._hold(name, value)

    def _hold(self, name: str, value: Any) -> None:
        """Set an attribute that the table lists, and announce it if it is another object."""
        if self.__dict__.get(name) is not value:
            structure.announce()
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        self._kinds.pop(name, None)
        structure.announce()
        object.__delattr__(self, name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name; None keeps the name for a parameter that is left out.

        Raises
        ------
        TypeError
            If `param` is something else.
        """
        if not (param is None or isinstance(param, Parameter)):
            raise TypeError(
                f"register_parameter: {name!r} must be a Parameter or None, got "
                f"{type(param).__name__}; wrap it in nn.Parameter."
            )
        self._register(name, PARAMETER, param)
        if param is not None:
            param.name = state.join(self._path, name)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module's state but is not trained.

        Parameters
        ----------
        name : str
            The attribute.
        tensor : Tensor or None
            The buffer.
        persistent : bool
            Whether it is part of `state_dict`.
        """
        if not (tensor is None or isinstance(tensor, Tensor)):
            raise TypeError(
                f"register_buffer: {name!r} must be a Tensor or None, got {type(tensor).__name__}."
            )
        self._register(name, BUFFER if persistent else TRANSIENT, tensor)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a module under a name."""
        if not (module is None or isinstance(module, Module)):
            raise TypeError(f"add_module: {name!r} must be a Module, got {type(module).__name__}.")
        self._register(name, MODULE, module)
        if module is not None:
            module._move(state.join(self._path, name))

    def _register(self, name: str, kind: str, value: Any) -> None:
        if not name or "." in name:
            raise KeyError(f"a {kind} cannot be called {name!r}: give it a name without dots.")
        if name not in self._kinds and hasattr(type(self), name):
            raise KeyError(
                f"{type(self).__name__} has a {name!r} of its own; choose another name for the "
                f"{kind}."
            )
        self._kinds[name] = kind
        structure.announce()
        self._hold(name, value)

    def _move(self, path: str) -> None:
        """Say where below the outermost module this one is, and name its parameters so."""
        for place, module in self.named_modules(prefix=path):
            module.__dict__["_path"] = place
            for name, param in module._own(PARAMETER):
                param.name = state.join(place, name)

    def _own(self, *kinds: str) -> list[tuple[str, Any]]:
        """Return the names and values of some kinds that this module itself holds."""
        values = self.__dict__
        held = [(name, values[name]) for name, kind in self._kinds.items() if kind in kinds]
        return [(name, value) for name, value in held if value is not None]

    # What the tree holds

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield each module of the tree with its path, this one first.

        Parameters
        ----------
        memo : set of Module, optional
            Modules to leave out.
        prefix : str
            The path of this module.
        remove_duplicate : bool
            Whether a module that is held twice is yielded once.
        """
        seen = set() if memo is None else memo
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if remove_duplicate and module in seen:
                continue
            seen.add(module)
            yield path, module
            children = [(state.join(path, name), child) for name, child in module._own(MODULE)]
            stack.extend(reversed(children))

    def modules(self) -> Iterator[Module]:
        """Yield each module of the tree once, this one first."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules that this one itself holds, with their names, each once."""
        seen: set[Module] = set()
        for name, child in self._own(MODULE):
            if child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """Yield the modules that this one itself holds, each once."""
        return (child for _, child in self.named_children())

    def _named(
        self, kinds: tuple[str, ...], prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        places = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in places:
            for name, value in module._own(*kinds):
                if not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield state.join(path, name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield the parameters with their paths.

        Parameters
        ----------
        prefix : str
            What to put before each path.
        recurse : bool
            Whether those of the modules below are included.
        remove_duplicate : bool
            Whether a parameter that is held twice (tied weights) is yielded once.
        """
        return self._named((PARAMETER,), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, each once."""
        return (param for _, param in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield the buffers with their paths; see `named_parameters`."""
        return self._named((BUFFER, TRANSIENT), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    # Weights on their way in and out

    def state_dict(self, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Return the parameters and the persistent buffers by path, with PyTorch's keys.

        The tensors are copies: later training does not change them.

        Parameters
        ----------
        prefix : str
            What to put before each path.
        keep_vars : bool
            Whether to return the parameters themselves instead of copies.
        """
        held = state.collect(self, prefix)
        return held if keep_vars else {key: t.detach().clone() for key, t in held.items()}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> state.IncompatibleKeys:
        """Copy weights into the parameters and persistent buffers; all of them, or none.

        Parameters
        ----------
        state_dict : mapping of str to Tensor or array_like
            What `state_dict` of such a module returned, here or in PyTorch.
        strict : bool
            Whether the keys must be the same.

        Returns
        -------
        IncompatibleKeys
            ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        RuntimeError
            If keys are missing or unexpected (strict), or a shape or dtype does not fit.
        """
        return state.load(self, state_dict, strict)

    def to(self, dtype: npt.DTypeLike) -> Self:
        """Convert the floating-point parameters and buffers to `dtype`; returns the module."""
        chosen = check_dtype(dtype)
        tensors: list[Tensor] = [*self.parameters(), *self.buffers()]
        for held in tensors:
            if held.dtype.kind == "f" and held.dtype != chosen:
                grad = held.grad
                held.grad = None
                inplace.rebind(held, held._value("conversion").astype(chosen))
                held.grad = None if grad is None else grad.astype(chosen)
        return self

    def float(self) -> Self:
        """Convert the parameters and buffers to float32; returns the module."""
        return self.to("float32")

    def double(self) -> Self:
        """Convert the parameters and buffers to float64; returns the module."""
        return self.to("float64")

    # Modes

    @property
    def training(self) -> bool:
        """Whether the module is being trained; a guard of compiled functions."""
        if THREAD.now.trace is None:
            return self._training
        what, owner = f"{self._path or type(self).__name__}.training", self._owner("_training")
        return guard(what, Setting(vars(owner), "_training", bool), owner, "_training")  # type: ignore[no-any-return]

    @training.setter
    def training(self, mode: bool) -> None:
        set_mode(self, "_training", bool(mode))

    def train(self, mode: bool = True) -> Self:
        """Put the whole tree into training mode, or out of it; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put the whole tree into evaluation mode; returns the module."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say whether gradients of the parameters are wanted; returns the module."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the parameters, or set them to zero."""
        for param in self.parameters():
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                param.grad.zero_()

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` on each module of the tree, this one last; returns the module."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # Printing and containers of parameters

    def extra_repr(self) -> str:
        """Return what `repr` shows between the parentheses; for subclasses to override."""
        return ""

    def __repr__(self) -> str:
        """Return the tree, one module a line."""
        lines = [line for line in self.extra_repr().split("\n") if line]
        children = [f"({name}): {child!r}" for name, child in self._own(MODULE)]
        name = type(self).__name__
        if not children and len(lines) <= 1:
            return f"{name}({''.join(lines)})"
        body = "\n".join([*lines, *children]).replace("\n", "\n  ")
        return f"{name}(\n  {body}\n)"

    def __wengert_flatten__(self) -> tuple[list[Parameter], state.Skeleton, list[str]]:
        """Return the parameters, the module without them, and their paths."""
        named = list(self.named_parameters())
        names = [name for name, _ in named]
        return [param for _, param in named], state.Skeleton(self, tuple(names)), names

    @staticmethod
    def __wengert_unflatten__(skeleton: state.Skeleton, leaves: Sequence[Any]) -> Any:
        """Return a copy of the module that holds `leaves` as its parameters."""
        return skeleton.filled(leaves)
