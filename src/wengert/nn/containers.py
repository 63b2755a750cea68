"""Modules that hold modules in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from wengert.nn.module import MODULE, Module


class _Ordered(Module):
    """Modules in order, by number or name."""

    def _held(self) -> list[Module]:
        return [module for _, module in self._own(MODULE)]

    def _names(self) -> list[str]:
        return [name for name, _ in self._own(MODULE)]

    def _name_at(self, index: int) -> str:
        names = self._names()
        if not -len(names) <= index < len(names):
            raise IndexError(
                f"{type(self).__name__} holds {len(names)} modules, there is no number {index}."
            )
        return names[index]

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Any:
        """Return one module, or a container of some that keep their names."""
        if isinstance(index, slice):
            part = type(self)()
            for name in self._names()[index]:
                # Not registered, so that the modules keep the path that they have.
                part._kinds[name] = MODULE
                part.__dict__[name] = self.__dict__[name]
            return part
        return self.__dict__[self._name_at(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        """Put another module in place of one."""
        self.add_module(self._name_at(index), module)

    def __delitem__(self, index: int | slice) -> None:
        """Take modules out and number the rest anew."""
        names = self._names()
        gone = names[index] if isinstance(index, slice) else [self._name_at(index)]
        kept = [self.__dict__[name] for name in names if name not in gone]
        labels = [name for name in names if name not in gone]
        if all(name.isdecimal() for name in names):
            labels = [str(number) for number in range(len(kept))]
        self._refill(labels, kept)

    def _refill(self, names: Iterable[str], modules: Iterable[Module]) -> None:
        for name in self._names():
            delattr(self, name)
        for name, module in zip(names, modules, strict=True):
            self.add_module(name, module)

    def __len__(self) -> int:
        return len(self._held())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._held())

    def append(self, module: Module) -> Self:
        """Add a module at the end; returns the container."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end; returns the container."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before number `index` and number all anew; returns the container."""
        held = self._held()
        held.insert(index, module)
        self._refill([str(number) for number in range(len(held))], held)
        return self


class Sequential(_Ordered):
    """Calls modules one after another, each on what the one before returned.

    Parameters
    ----------
    *modules : Module, or one mapping of str to Module
        The modules, numbered from 0 or named by the mapping.

    Raises
    ------
    TypeError
        If something else is given.

    Examples
    --------
    >>> import wengert as wg
    >>> net = wg.nn.Sequential(wg.nn.Linear(4, 3), wg.nn.ReLU(), wg.nn.Linear(3, 2))
    >>> net(wg.ones((5, 4))).shape
    (5, 2)
    >>> net[:2]
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named: Iterable[tuple[str, Any]] = modules[0].items()
        else:
            named = ((str(number), module) for number, module in enumerate(modules))
        for name, module in named:
            if not isinstance(module, Module):
                hint = ""
                if isinstance(module, list | tuple):
                    hint = "; unpack the list with a star: Sequential(*layers)"
                elif callable(module):
                    hint = "; wrap the function in a Module"
                raise TypeError(
                    f"Sequential: item {name} is no Module but {type(module).__name__}{hint}."
                )
            self.add_module(name, module)

    def forward(self, input: Any) -> Any:
        """Return what the last module returns."""
        for module in self._held():
            input = module(input)
        return input


class ModuleList(_Ordered):
    """A list of modules whose parameters are found; it has no `forward`.

    Parameters
    ----------
    modules : iterable of Module, optional
        The modules.

    Examples
    --------
    >>> import wengert as wg
    >>> layers = wg.nn.ModuleList(wg.nn.Linear(4, 4) for _ in range(3))
    >>> len(layers), len(list(layers.parameters()))
    (3, 6)
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())
