"""Weights files: exact there and back, refused when damaged, never half written."""

from __future__ import annotations

import json
import os
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wengert as wg
from wengert.interop.safetensors import (
    WeightsFileError,
    dump_arrays,
    load_arrays,
    load_file,
    parse_arrays,
    save_file,
)

ARRAYS = {
    "0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "0.bias": np.array([np.nan, np.inf, -0.0]),
    "steps": np.array(7, dtype=np.int64),
    "mask": np.array([True, False]),
    "nothing": np.zeros((0, 4), dtype=np.float32),
    "bytes": np.arange(3, dtype=np.uint8),
}


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert other[name].dtype == array.dtype, name
        assert other[name].shape == array.shape, name
        assert other[name].tobytes() == array.tobytes(), name


def foreign(dtype, shape, data):
    """A safetensors file written by hand, as the format says."""
    header = json.dumps({"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}})
    return struct.pack("<Q", len(header)) + header.encode() + data


def test_arrays_come_back_bit_for_bit(tmp_path):
    save_file(ARRAYS, tmp_path / "model.safetensors", {"note": "x"})
    loaded = load_arrays(tmp_path / "model.safetensors")
    same(ARRAYS, loaded)
    loaded["bytes"][0] = 9  # writable memory of their own


def test_tensors_come_back_as_tensors(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"w": wg.tensor([[1.0, 2.0]], requires_grad=True)}, path)
    loaded = load_file(path)
    assert isinstance(loaded["w"], wg.Tensor)
    assert loaded["w"].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    "view",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.arange(12.0)[::-2],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.broadcast_to(np.float64(3.0), (2, 2)),
        np.arange(4, dtype=">f8"),
    ],
    ids=["transposed", "reversed", "fortran", "broadcast", "big-endian"],
)
def test_any_memory_order_is_written_rightly(view):
    loaded = parse_arrays(dump_arrays({"x": view}), "here")["x"]
    assert loaded.tolist() == view.tolist()


def test_the_same_arrays_give_the_same_bytes():
    turned = dict(reversed(ARRAYS.items()))
    assert dump_arrays(ARRAYS, {"a": "b"}) == dump_arrays(turned, {"a": "b"})


@pytest.mark.parametrize("value", [np.array(["a"]), np.array([None]), np.array([1j])])
def test_dtypes_that_cannot_be_kept_are_refused(value):
    with pytest.raises(TypeError, match=r"safetensors: 'x' has dtype .*, which cannot be kept"):
        dump_arrays({"x": value})


@given(st.integers(0, 2**16 - 1))
def test_bfloat16_is_widened_exactly(bits):
    loaded = parse_arrays(foreign("BF16", [1], struct.pack("<H", bits)), "here")["x"]
    assert loaded.dtype == np.float32
    assert loaded.view(np.uint32)[0] == bits << 16


def test_float16_is_widened_exactly():
    halves = np.array([1.5, -0.0, 6e-8, 65504, np.inf], dtype=np.float16)
    loaded = parse_arrays(foreign("F16", [5], halves.tobytes()), "here")["x"]
    assert loaded.dtype == np.float32
    assert loaded.tolist() == halves.tolist()


def test_a_dtype_that_numpy_has_not_is_refused():
    with pytest.raises(WeightsFileError, match=r"here: 'x' has dtype F8_E4M3, which NumPy has not"):
        parse_arrays(foreign("F8_E4M3", [2], b"\0\0"), "here")


@pytest.mark.parametrize("keep", [0, 4, 8, 60, -1])
def test_a_truncated_file_is_refused_by_name(tmp_path, keep):
    path = tmp_path / "model.safetensors"
    path.write_bytes(dump_arrays(ARRAYS)[:keep])
    with pytest.raises(WeightsFileError, match=r"model\.safetensors is not a whole safetensors fi"):
        load_arrays(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x95" + b"pickle" * 20,
        b"PK\x03\x04" + b"zip" * 40,
        b"\xff" * 64,
        foreign("F32", [4], b"\0" * 8),
        foreign("F32", [-1], b"\0" * 4),
        dump_arrays(ARRAYS) + b"more",
    ],
    ids=["pickle", "zip", "noise", "short", "negative", "long"],
)
def test_a_foreign_file_is_refused(content):
    with pytest.raises(WeightsFileError, match=r"here is not a whole safetensors file"):
        parse_arrays(content, "here")


def test_the_error_is_a_value_error():
    assert issubclass(WeightsFileError, ValueError)


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_file({"x": np.ones(2)}, path)

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save_file({"x": np.zeros(2)}, path)
    assert load_arrays(path)["x"].tolist() == [1.0, 1.0]
    assert [each.name for each in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="permissions are those of POSIX")
def test_the_file_gets_the_permissions_of_new_files(tmp_path):
    save_file({"x": np.ones(2)}, tmp_path / "a")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.peers
def test_pytorch_reads_what_is_written_and_the_other_way_round(tmp_path):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("safetensors.torch")
    save_file(ARRAYS, tmp_path / "ours")
    same(ARRAYS, {name: each.numpy() for name, each in theirs.load_file(tmp_path / "ours").items()})
    theirs.save_file({"w": torch.arange(3.0), "h": torch.ones(2).bfloat16()}, tmp_path / "theirs")
    loaded = load_arrays(tmp_path / "theirs")
    assert loaded["w"].tolist() == [0.0, 1.0, 2.0]
    assert loaded["h"].tolist() == [1.0, 1.0]
