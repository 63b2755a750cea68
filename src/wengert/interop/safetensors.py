"""Weights in the safetensors format, which PyTorch, JAX and others read and write.

Nothing here ever unpickles: a weights file cannot run code.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from wengert.tensor.tensor import Tensor

_DTYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
}


class WeightsFileError(ValueError):
    """A weights file that cannot be read: truncated, tampered with, or of another format."""


def dump_arrays(
    state_dict: Mapping[str, Tensor | npt.ArrayLike], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return named arrays as the content of a safetensors file.

    The same arrays give the same bytes, if there is at most one entry of metadata.

    Parameters
    ----------
    state_dict : mapping of str to Tensor or array_like
        The arrays; any memory order and shape, 0-d included.
    metadata : mapping of str to str, optional
        Text kept beside the arrays.

    Returns
    -------
    bytes
        The content.

    Raises
    ------
    TypeError
        If an array has a dtype that safetensors has not, naming the array.

    Examples
    --------
    >>> import numpy as np
    >>> content = dump_arrays({"weight": np.eye(2, dtype=np.float32)})
    >>> parse_arrays(content, "here")["weight"].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    from safetensors.numpy import save

    arrays = {}
    for name, value in state_dict.items():
        # The library reads raw memory: a transposed view would be written in the wrong order.
        detach = getattr(value, "detach", None)
        array = np.asarray(detach() if detach is not None else value, order="C")
        if array.dtype.newbyteorder("=") not in {np.dtype(each) for each in _DTYPES.values()}:
            raise TypeError(f"safetensors: {name!r} has dtype {array.dtype}, which cannot be kept.")
        arrays[name] = array
    return save(arrays, metadata=dict(metadata) if metadata else None)


def parse_arrays(content: bytes, shown: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that a safetensors file holds.

    Parameters
    ----------
    content : bytes
        The content of the file.
    shown : str
        The file's name, for error messages.

    Returns
    -------
    dict of str to ndarray
        Arrays that own their memory. 16-bit floats, which Wengert has not, are widened to
        float32, which is exact.

    Raises
    ------
    WeightsFileError
        If the content is not whole, not safetensors, or has a dtype that NumPy has not.
    """
    from safetensors import SafetensorError, deserialize

    parse: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = deserialize
    try:
        entries = parse(content)
    except SafetensorError as error:
        raise WeightsFileError(
            f"{shown} is not a whole safetensors file ({error}); "
            "it may be truncated, tampered with, or of another format."
        ) from None
    return {name: _array(name, entry, shown) for name, entry in entries}


def save_file(
    state_dict: Mapping[str, Tensor | npt.ArrayLike],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays to a safetensors file.

    The file appears under its name only when it is whole: a crash leaves the old one or none.

    Parameters
    ----------
    state_dict : mapping of str to Tensor or array_like
        The arrays, such as ``model.state_dict()``.
    path : path-like
        The file.
    metadata : mapping of str to str, optional
        Text kept beside the arrays.

    Raises
    ------
    TypeError
        If an array has a dtype that safetensors has not.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file({"bias": np.arange(3.0)}, f"{folder}/model.safetensors")
    ...     load_arrays(f"{folder}/model.safetensors")
    {'bias': array([0., 1., 2.])}
    """
    target = Path(path)
    content = dump_arrays(state_dict, metadata)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o666 & ~_umask())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def load_arrays(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """Read a safetensors file as NumPy arrays.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    dict of str to ndarray
        See `parse_arrays`.

    Raises
    ------
    WeightsFileError
        If the file is truncated, tampered with, or of another format.
    OSError
        If the file cannot be read.
    """
    return parse_arrays(Path(path).read_bytes(), str(path))


def load_file(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a safetensors file as tensors, ready for ``model.load_state_dict``.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    dict of str to Tensor
        See `parse_arrays`.

    Raises
    ------
    WeightsFileError
        If the file is truncated, tampered with, or of another format.
    OSError
        If the file cannot be read.
    """
    from wengert.tensor.creation import asarray

    return {name: asarray(array) for name, array in load_arrays(path).items()}


def _array(name: str, entry: Mapping[str, Any], shown: str) -> npt.NDArray[Any]:
    """Return one array of a parsed file in memory of its own."""
    kind, shape, data = entry["dtype"], entry["shape"], entry["data"]
    if kind == "BF16":
        # A bfloat16 is the upper half of a float32.
        upper = np.frombuffer(data, dtype="<u2").astype(np.uint32) << np.uint32(16)
        return upper.view(np.float32).reshape(shape)
    if kind not in _DTYPES:
        raise WeightsFileError(f"{shown}: {name!r} has dtype {kind}, which NumPy has not.")
    array = np.frombuffer(data, dtype=np.dtype(_DTYPES[kind]).newbyteorder("<")).reshape(shape)
    return array.astype(np.float32 if kind == "F16" else _DTYPES[kind])


def _umask() -> int:
    """Return the permissions that new files of this process do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
