"""Elementary functions, written in the operations of `Lanes`: as wide as the vectors are.

They are within 1.5 units in the last place in float32 and 2 in float64, whatever the width, and
handle zeros with their sign, infinities, NaN and subnormal numbers as IEEE 754 recommends. (On
machines without fused multiply-add the last bits differ, not the bounds.)
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from wengert.compile.emit.expression import Lane, Lanes

_HOMES = {
    "cos": "trigonometric",
    "erf": "error_function",
    "exp": "exponential",
    "expm1": "exponential",
    "fmod": "remainder",
    "log": "logarithm",
    "log1p": "logarithm",
    "pow": "power",
    "sigmoid": "hyperbolic",
    "sin": "trigonometric",
    "tanh": "hyperbolic",
}
"""The modules of functions, imported when they are wanted: most programs want one or two."""


FUNCTIONS: dict[str, Callable[..., Lane]] = {"floor": Lanes.floor, "rint": Lanes.rint}
"""Those that have been wanted, by the names that `Expressions.call` takes."""


def written(name: str) -> Callable[..., Lane] | None:
    """Return the function of this name; None if it is not written here."""
    if name in _HOMES and name not in FUNCTIONS:
        FUNCTIONS[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return FUNCTIONS.get(name)
