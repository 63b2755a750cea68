"""Which Python modules hold nothing that a compiled function could have read: those of others."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any

_OURS = "wengert"
_LIBRARY = PurePath(os.__file__).parent
_INSTALLED = {"site-packages", "dist-packages"}


def is_foreign(module: str | None) -> bool:
    """Tell whether a Python module, by its name, holds nothing of the user's.

    Those of Wengert, of NumPy and of the standard library do not. An installed package does not
    either, unless one of its modules names something of Wengert: it has no tensors, and functions
    of it that are named do not lead to any. Such packages hold many thousands of objects.
    """
    package = (module or "").partition(".")[0]
    return package in {"builtins", _OURS, "numpy"} or _is_foreign(package, len(sys.modules))


@lru_cache(maxsize=1024)
def _is_foreign(package: str, loaded: int) -> bool:
    """Tell whether a package is foreign, while `loaded` modules are."""
    module = sys.modules.get(package)
    if module is None or package == "__main__":
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return package in sys.builtin_module_names
    path = PurePath(file)
    if not _INSTALLED.isdisjoint(path.parts):
        return not _names_ours(package)
    return path.is_relative_to(_LIBRARY)


def _names_ours(package: str) -> bool:
    """Tell whether a module of a package has a variable that holds something of Wengert."""
    inside = f"{package}."
    return any(
        _origin(value).partition(".")[0] == _OURS
        for name, module in list(sys.modules.items())
        if (name == package or name.startswith(inside)) and issubclass(type(module), ModuleType)
        for value in list(_variables(module).values())
    )


def _variables(module: ModuleType) -> dict[str, Any]:
    """Return the variables of a module, without loading one that is loaded when it is used."""
    found: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return found


def _origin(value: Any) -> str:
    """Return the name of the module that an object comes from, without computing attributes.

    Objects that are made when they are used say by `__class__` what they will be: so not by
    `isinstance`.
    """
    kind = type(value)
    if issubclass(kind, ModuleType):
        found = _variables(value).get("__name__")
    elif issubclass(kind, FunctionType | type):
        found = value.__module__
    else:
        found = kind.__module__
    return found if isinstance(found, str) else ""
