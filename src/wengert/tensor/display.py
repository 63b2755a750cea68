"""How tensors are shown."""

from __future__ import annotations

import numpy as np

from wengert.graph.dtypes import BOOL, INT64, default_float
from wengert.graph.variable import Variable

_DIGITS = 4
_PREFIX = "tensor("


def format_tensor(variable: Variable) -> str:
    """Return the shown form: values, dtype if unusual, and how it takes part in derivatives."""
    if variable.value is None:
        return f"tensor(traced {variable.aval}{variable.made_by()})"
    body = np.array2string(
        variable.value,
        precision=_DIGITS,
        floatmode="maxprec_equal",
        separator=", ",
        prefix=_PREFIX,
    )
    notes = [body]
    if variable.value.size == 0:
        notes.append(f"shape={variable.shape}")
    usual = {default_float()} if variable.value.size == 0 else {default_float(), INT64, BOOL}
    if variable.dtype not in usual:
        notes.append(f"dtype={variable.dtype}")
    if variable.op is not None and variable.requires_grad:
        notes.append(f"op={variable.op.primitive.name}")
    elif variable.requires_grad:
        notes.append("requires_grad=True")
    return f"{_PREFIX}{', '.join(notes)})"
