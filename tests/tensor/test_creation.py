"""How tensors are made, and which dtype they and the results of operations have."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import array, leaf
from wengert import DTypeError

F32, F64, I64, I32 = wg.float32, wg.float64, wg.int64, wg.int32
U8, U64, BOOL = np.dtype(np.uint8), wg.uint64, wg.bool


@pytest.fixture
def default_is_float64():
    wg.set_default_dtype(wg.float64)
    yield
    wg.set_default_dtype(wg.float32)


# --- Creation -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (1.5, F32, ()),
        (1, I64, ()),
        (True, BOOL, ()),
        ([1, 2.5], F32, (2,)),
        ([True, 2], I64, (2,)),
        ([[1], [2]], I64, (2, 1)),
        ((1.0, [2.0][0]), F32, (2,)),
        ([], F32, (0,)),
        ([[], []], F32, (2, 0)),
        (np.float64(1), F64, ()),
        (np.float32([1]), F32, (1,)),
        (np.int8([1]), np.dtype(np.int8), (1,)),
        (np.arange(2), I64, (2,)),
        (np.array(True), BOOL, ()),
        (np.ones((2, 3))[:, ::2], F64, (2, 2)),
        (range(3), I64, (3,)),
    ],
    ids=str,
)
def test_tensor_of_data(data, dtype, shape):
    made = wg.tensor(data)
    assert (made.dtype, made.shape) == (dtype, shape)
    assert not made.requires_grad
    assert made.is_leaf
    np.testing.assert_array_equal(array(made), np.array(data))


def test_tensor_of_tensors():
    x = leaf(1.0, 2.0)
    made = wg.tensor(x)
    assert not made.requires_grad
    assert made.dtype == F64
    nested = wg.tensor([x[0], 3.0, wg.tensor(4)])
    assert nested.tolist() == [1.0, 3.0, 4.0]
    assert wg.tensor([x, x]).shape == (2, 2)
    assert wg.tensor(x, dtype=wg.float32).dtype == F32


def test_tensor_copies_and_asarray_shares():
    a = np.zeros(2)
    copied, shared = wg.tensor(a), wg.asarray(a)
    again, strided = wg.asarray(shared), wg.asarray(np.zeros((2, 2))[:, 0])
    a[0] = 1.0
    assert copied.tolist() == [0.0, 0.0]
    assert shared.tolist() == [1.0, 0.0]
    assert again is shared
    shared[1] = 2.0
    assert a.tolist() == [1.0, 2.0]
    assert strided.tolist() == [0.0, 0.0]
    assert wg.asarray(a, copy=True).numpy() is not a
    assert wg.asarray(a, dtype=wg.float32).dtype == F32
    assert wg.asarray([1.0, 2.0]).dtype == F32
    assert wg.asarray(3).shape == ()


def test_tensor_of_a_tensor_copies():
    x = wg.ones(2)
    y = wg.tensor(x)
    x.numpy()[0] = 5.0
    assert y.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("data", [1j, "text", None, object(), [None], np.float16(1), {1: 2}, "ab"])
def test_data_that_is_no_array_of_numbers(data):
    with pytest.raises(
        DTypeError, match=r"dtype (complex128|float16) is not supported|variable of .* is no number"
    ):
        wg.tensor(data)


def test_rows_of_unequal_length():
    with pytest.raises(DTypeError, match="unequal rows"):
        wg.tensor([[1.0], [1.0, 2.0]])


def test_numbers_that_do_not_fit():
    for make in (
        lambda: wg.tensor(300, dtype=np.int8),
        lambda: wg.tensor([1, -1], dtype=np.uint8),
        lambda: wg.tensor([1], dtype=np.int8) + 300,
        lambda: wg.tensor([1], dtype=np.uint8) * -1,
    ):
        with pytest.raises((DTypeError, OverflowError), match=r"(300|-1)"):
            make()


@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", [None, wg.float64, wg.int64, wg.bool, np.uint8, "float32"])
def test_filled(shape, dtype):
    expected = F32 if dtype is None else np.dtype(dtype)
    for made, value in [
        (wg.zeros(shape, dtype=dtype), 0),
        (wg.ones(shape, dtype=dtype), 1),
        (wg.full(shape, 1, dtype=dtype or F32), 1),
        (wg.zeros_like(wg.zeros(shape), dtype=dtype), 0),
        (wg.ones_like(wg.zeros(shape), dtype=dtype), 1),
    ]:
        assert made.dtype == expected
        np.testing.assert_array_equal(array(made), np.full(shape, value, expected))
        made.numpy()[...] = 0  # each has memory of its own


def test_filled_like():
    x = leaf(1.0, 2.0)
    for made in (wg.zeros_like(x), wg.ones_like(x), wg.full_like(x, 7)):
        assert (made.shape, made.dtype, made.requires_grad) == ((2,), F64, False)
    assert wg.full((2,), 3).dtype == I64
    assert wg.full((2,), 3.0).dtype == F32
    assert wg.full((2,), True).dtype == BOOL
    assert wg.zeros(3).shape == (3,)


def test_ranges():
    assert wg.arange(3).tolist() == [0, 1, 2]
    assert wg.arange(1, 7, 2).tolist() == [1, 3, 5]
    assert wg.arange(3, 0, -1).tolist() == [3, 2, 1]
    assert wg.arange(0.0, 1.0, 0.25).tolist() == [0.0, 0.25, 0.5, 0.75]
    assert wg.arange(0).shape == (0,)
    assert (wg.arange(3).dtype, wg.arange(3.0).dtype) == (I64, F32)
    assert wg.linspace(0.0, 1.0, 3).tolist() == [0.0, 0.5, 1.0]
    assert wg.eye(2).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    np.testing.assert_array_equal(array(wg.eye(2, 3, dtype=wg.float64)), np.eye(2, 3))


def test_default_dtype(default_is_float64):
    assert wg.tensor(1.0).dtype == F64
    assert (wg.tensor([1]) * 1.5).dtype == F64
    assert (wg.tensor([1]) / 2).dtype == F64
    assert wg.zeros(2).dtype == wg.rand(2).dtype == wg.linspace(0.0, 1.0, 2).dtype == F64
    assert (wg.tensor(np.float32(1)) * 1.5).dtype == F32
    assert repr(wg.tensor(1.0)) == "tensor(1.)"
    with pytest.raises(TypeError, match="needs float32 or float64, got int64"):
        wg.set_default_dtype(wg.int64)
    with pytest.raises(TypeError, match="float16 is not supported"):
        wg.set_default_dtype(np.float16)


# --- Dtypes that meet -----------------------------------------------------------------------------

T = {dtype: wg.ones(2, dtype=dtype) for dtype in (F32, F64, I64, I32, U8, U64, BOOL)}

MEETINGS = [
    *((F32, F64, F64), (F32, I64, F32), (F64, I32, F64), (F32, BOOL, F32), (F32, U64, F32)),
    *((I32, I64, I64), (U8, I32, I32), (U8, BOOL, U8), (I64, BOOL, I64), (U8, U64, U64)),
    *((F32, F32, F32), (I64, I64, I64), (np.dtype(np.int8), U8, np.dtype(np.int16))),
]
OPERATORS = [operator.add, operator.sub, operator.mul, np.maximum, wg.where]


@pytest.mark.parametrize(("a", "b", "expected"), MEETINGS, ids=str)
def test_dtypes_that_meet(a, b, expected):
    x, y = wg.ones(2, dtype=a), wg.ones(2, dtype=b)
    mask = wg.tensor([True, False])
    for p, q in ((x, y), (y, x)):
        assert (p * q).dtype == expected
        assert wg.maximum(p, q).dtype == expected
        assert wg.where(mask, p, q).dtype == expected
        assert wg.concat([p, q]).dtype == expected
        assert (p < q).dtype == BOOL
        assert (p / q).dtype == (expected if expected.kind == "f" else F32)
        assert (p * q.detach().numpy()).dtype == expected
        assert (p.detach().numpy() * q).dtype == expected
        assert (p @ q).dtype == expected
        traced = wg.trace(lambda p, q: (p * q, p / q, wg.where(p < q, p, q)))(p, q)
        assert [v.dtype for v in traced.outputs] == [expected, (p / q).dtype, expected]


@pytest.mark.parametrize("dtype", T, ids=str)
@pytest.mark.parametrize("number", [2, 1.5, True])
def test_python_numbers_are_weak(dtype, number):
    x = T[dtype]
    if isinstance(number, bool):
        expected = dtype
    elif isinstance(number, int):
        expected = I64 if dtype == BOOL else dtype
    else:
        expected = dtype if dtype.kind == "f" else F32
    if not (dtype == BOOL and isinstance(number, bool)):
        assert (x * number).dtype == (number * x).dtype == expected
        assert (x + number).dtype == expected
    assert wg.where(x > 0, x, number).dtype == expected
    assert wg.maximum(x, number).dtype == expected


@pytest.mark.parametrize(
    ("dtype", "scalar", "expected"),
    [
        (F32, np.float64(2), F64),
        (F32, np.float32(2), F32),
        (F64, np.float32(2), F64),
        (F32, np.int64(2), F32),
        (I32, np.int64(2), I64),
        (I64, np.float32(2), F32),
        (I64, np.float64(2), F64),
        (BOOL, np.bool_(True), BOOL),
    ],
    ids=str,
)
def test_numpy_scalars_are_strong(dtype, scalar, expected):
    x = T[dtype]
    assert wg.maximum(x, scalar).dtype == expected
    assert wg.where(x > 0, x, scalar).dtype == expected
    if dtype != BOOL:
        for made in (x * scalar, scalar * x, x + scalar, scalar - x, x + np.array(scalar)):
            assert isinstance(made, wg.Tensor)
            assert made.dtype == expected
        traced = wg.trace(lambda x: x * scalar)(x)
        assert traced.outputs[0].dtype == expected


def test_int64_and_uint64_have_no_common_dtype():
    for meet in (lambda: T[I64] + T[U64], lambda: wg.maximum(T[U64], T[I32])):
        with pytest.raises(TypeError, match=r"u?int64 and u?int(32|64) have no common integer"):
            meet()
    assert (T[U64] + 1).dtype == U64


def test_reductions_of_integers():
    assert (wg.sum(T[I32]).dtype.kind, wg.sum(T[BOOL]).dtype) == ("i", I64)
    assert wg.sum(T[BOOL]).item() == 2
    assert wg.mean(T[I64]).dtype == F32
    assert wg.mean(wg.tensor([1, 2])).item() == 1.5
    assert wg.exp(T[I64]).dtype == F32
    assert wg.max(T[U8]).dtype == U8
    assert (wg.tensor(7) / 2).item() == 3.5
    assert (wg.tensor([2]) ** 3).dtype == I64


def test_arange_has_the_dtype_that_is_asked_for():
    for dtype in (wg.int32, wg.float32, wg.float64, np.uint8):
        found = wg.arange(0, 3, 0.5, dtype=dtype)
        assert found.dtype == dtype
        assert found.tolist() == np.arange(0, 3, 0.5).astype(dtype).tolist()
        assert wg.arange(1, 7, 2, dtype=dtype).tolist() == [1, 3, 5]
    assert wg.arange(5, 0, -2, dtype=np.uint8).tolist() == [5, 3, 1]
    for start, step in ((-2, 2), (3, -2)):
        with pytest.raises(DTypeError, match="the number -2 does not fit uint8"):
            wg.arange(start, 3 * step, step, dtype=np.uint8)
    for stop in (3, np.int64(3), np.uint8(3)):
        assert wg.arange(stop).dtype == wg.arange(0, stop, 1).dtype == wg.int64
    assert wg.arange(2.0).dtype == wg.float32


def test_lengths_are_integers_of_any_kind():
    n, x = np.int64(2), wg.ones((2, 2))
    assert wg.zeros(n).shape == (2,)
    assert wg.reshape(x, np.int64(4)).shape == (4,)
    assert wg.expand_dims(x, np.int64(1)).shape == (2, 1, 2)
    assert wg.broadcast_to(x, (n, n, n)).shape == (2, 2, 2)
    for wrong in (2.0, (2.0, 2), "ab"):
        for make in (wg.zeros, lambda shape: wg.reshape(x, shape)):
            with pytest.raises(TypeError, match="a shape must be an integer or a sequence of int"):
                make(wrong)
    for make in (wg.zeros, wg.ones):
        with pytest.raises(TypeError, match=r"3 is no dtype; .* as in wg\.zeros\(\(2, 3\)\)"):
            make(2, 3)


def test_what_is_joined_is_a_sequence():
    for join, name in ((wg.concat, "concat"), (wg.stack, "stack")):
        with pytest.raises(TypeError, match=rf"{name}: needs a sequence .*\(2, 2\); put it in"):
            join(wg.ones((2, 2)))
        with pytest.raises(ValueError, match=f"{name}: needs at least one array"):
            join([])
