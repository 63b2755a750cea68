"""Getting values out of a tensor: numbers, lists, NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wengert.graph.dtypes import Array, DType
from wengert.graph.errors import ShapeError
from wengert.graph.variable import Variable


class Values:
    """Methods that need the value of the tensor: in a trace they raise TracerError."""

    __slots__ = ()

    _variable: Variable

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each axis."""
        return self._variable.shape

    @property
    def dtype(self) -> DType:
        """Data type of the elements."""
        return self._variable.dtype

    def _read(self) -> Variable:
        raise NotImplementedError

    def _value(self, wanted: str) -> Array:
        return self._read().concrete(wanted)

    def item(self) -> Any:
        """Return the only element as a Python number.

        Raises
        ------
        ShapeError
            If there is not exactly one element.
        TracerError
            If the tensor is traced and has no value.
        """
        value = self._value(".item()")
        if value.size != 1:
            raise ShapeError(f".item() needs a tensor of one element, got shape {self.shape}.")
        return value.item()

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers."""
        return self._value(".tolist()").tolist()

    def numpy(self) -> npt.NDArray[Any]:
        """Return the values as a C-contiguous NumPy array that shares memory with the tensor.

        Raises
        ------
        RuntimeError
            If a derivative can flow through the tensor, since it would stop here unseen.
        """
        self._check_export()
        return self._export()

    def _check_export(self) -> None:
        self._value("conversion to NumPy")
        if self._read().requires_grad:
            raise RuntimeError(
                ".numpy() would cut the gradient of this tensor; use .detach().numpy()."
            )

    def _export(self) -> npt.NDArray[Any]:
        raise NotImplementedError

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """Return the values for NumPy; refuses what `numpy` refuses."""
        self._check_export()
        value = self._value("conversion to NumPy")
        if dtype is None or np.dtype(dtype) == value.dtype:
            return np.array(value, order="C") if copy else self._export()
        if copy is False:
            raise ValueError(
                f"a {value.dtype} tensor cannot become {np.dtype(dtype)} without a copy."
            )
        return np.array(value, dtype=dtype)

    def __float__(self) -> float:
        return float(self._scalar("float()"))

    def __int__(self) -> int:
        return int(self._scalar("int()"))

    def __bool__(self) -> bool:
        return bool(self._scalar("a condition (if, while, and, or, not)"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"only integer tensors can be an index, got {self.dtype}.")
        return int(self._scalar("use as an index"))

    def _scalar(self, wanted: str) -> Any:
        value = self._value(wanted)
        if value.size != 1:
            raise ShapeError(
                f"{wanted} needs a tensor of one element, got shape {self.shape}; "
                "reduce it first, for example with .sum() or wg.any."
            )
        return value.item()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor.")
        return self.shape[0]
