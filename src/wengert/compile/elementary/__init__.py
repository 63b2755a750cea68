"""Elementary functions, written in the operations of `Lanes`: as wide as the vectors are.

They are within 1.5 units in the last place in float32 and 2 in float64, whatever the width, and
handle zeros with their sign, infinities, NaN and subnormal numbers as IEEE 754 recommends. (On
machines without fused multiply-add the last bits differ, not the bounds.)
"""

from __future__ import annotations

from collections.abc import Callable

from wengert.compile.elementary.error_function import erf
from wengert.compile.elementary.exponential import exp, expm1
from wengert.compile.elementary.hyperbolic import sigmoid, tanh
from wengert.compile.elementary.logarithm import log, log1p
from wengert.compile.elementary.power import pow as power
from wengert.compile.elementary.remainder import fmod
from wengert.compile.elementary.trigonometric import cos, sin
from wengert.compile.emit.expression import Lane, Lanes

FUNCTIONS: dict[str, Callable[..., Lane]] = {
    "cos": cos,
    "erf": erf,
    "exp": exp,
    "expm1": expm1,
    "fmod": fmod,
    "floor": Lanes.floor,
    "log": log,
    "log1p": log1p,
    "pow": power,
    "rint": Lanes.rint,
    "sigmoid": sigmoid,
    "sin": sin,
    "tanh": tanh,
}
"""By the names that `Expressions.call` takes."""
