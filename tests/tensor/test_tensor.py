"""Tensors themselves: operators, conversion, how they are shown and copied."""

from __future__ import annotations

import copy
import operator
import pickle

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import array, leaf
from wengert import DTypeError, ShapeError

F32, F64, I64, I32 = wg.float32, wg.float64, wg.int64, wg.int32
U8, U64, BOOL = np.dtype(np.uint8), wg.uint64, wg.bool


# --- Operators ------------------------------------------------------------------------------------

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
A = np.array([[1.5, 2.0, 0.5], [3.0, 1.0, 2.0]])
B = np.array([2.0, 1.0, 0.5])


@pytest.mark.parametrize("op", [*ARITHMETIC, *COMPARISONS], ids=lambda op: op.__name__)
@pytest.mark.parametrize(
    "other", [B, 2.0, 2, np.float64(2), np.int64(2), B[0], A[:, ::-1]], ids=str
)
def test_operators_on_both_sides(op, other):
    x = wg.tensor(A)
    for made, expected in [
        (op(x, other), op(A, other)),
        (op(other, x), op(other, A)),
        (op(x, wg.tensor(other)), op(A, other)),
    ]:
        assert isinstance(made, wg.Tensor)
        np.testing.assert_array_equal(array(made), expected)


@pytest.mark.parametrize("other", [A.T, B, A[0]], ids=lambda a: str(a.shape))
def test_matmul_on_both_sides(other):
    x = wg.tensor(A)
    for made, expected in [(x @ other, A @ other), (other.T @ x.T, other.T @ A.T)]:
        assert isinstance(made, wg.Tensor)
        np.testing.assert_allclose(array(made), expected)


@pytest.mark.parametrize("op", [operator.and_, operator.or_], ids=["and", "or"])
def test_logic_on_both_sides(op):
    m, n = np.array([True, True, False, False]), np.array([True, False, True, False])
    for left, right in [(wg.tensor(m), n), (m, wg.tensor(n)), (wg.tensor(m), wg.tensor(n))]:
        made = op(left, right)
        assert isinstance(made, wg.Tensor)
        np.testing.assert_array_equal(array(made), op(m, n))
    assert op(True, wg.tensor(m)).tolist() == op(True, m).tolist()
    assert (~wg.tensor(m)).tolist() == (~m).tolist()


def test_unary_operators():
    x = wg.tensor([1.5, -2.0])
    assert (-x).tolist() == [-1.5, 2.0]
    assert (+x).tolist() == [1.5, -2.0]
    assert abs(x).tolist() == [1.5, 2.0]
    with pytest.raises(DTypeError, match="bool"):
        operator.neg(wg.tensor(True))
    with pytest.raises(DTypeError, match="bool"):
        operator.invert(x)


def test_gradient_through_operators_with_arrays_on_the_left():
    x = leaf(1.0, 2.0)
    (np.array([3.0, 4.0]) * x + np.float64(2) / x + np.ones((2, 2)) @ x).sum().backward()
    np.testing.assert_allclose(array(x.grad), [3 - 2 + 2, 4 - 0.5 + 2])


def test_comparison_with_something_else():
    x = wg.ones(2)
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    assert (x == "a") is False
    assert x not in [None, "a"]
    with pytest.raises(TypeError):
        x < "a"  # noqa: B015
    with pytest.raises(TypeError):
        x + "a"
    with pytest.raises(TypeError):
        x + None
    assert {x: 1}[x] == 1


def test_shapes_that_do_not_broadcast():
    with pytest.raises(ShapeError, match=r"add: .*\(2, 3\).*\(2,\).*test_tensor.py:\d+"):
        wg.ones((2, 3)) + wg.ones(2)
    with pytest.raises(ShapeError, match=r"matmul: .*\(2, 3\) @ \(2, 3\).*test_tensor.py:\d+"):
        wg.ones((2, 3)) @ wg.ones((2, 3))


# --- Attributes and methods -----------------------------------------------------------------------


def test_attributes():
    x = wg.tensor(np.zeros((2, 3, 4), np.float32))
    assert (x.shape, x.ndim, x.size, x.nbytes, len(x)) == ((2, 3, 4), 3, 24, 96, 2)
    assert x.numel() == 24
    assert x.mT.shape == (2, 4, 3)
    assert x[0].T.shape == (4, 3)
    with pytest.raises(ShapeError, match=r"\.T needs two axes, got shape \(2, 3, 4\)"):
        x.T  # noqa: B018
    with pytest.raises(AttributeError):
        x.unknown = 1


METHODS = {
    "sum": ((0,), {"keepdims": True}),
    "mean": ((), {"axis": (0, 1)}),
    "var": ((1,), {}),
    "std": ((-1,), {}),
    "max": ((0,), {}),
    "min": ((), {}),
    "argmax": ((1,), {}),
    "argmin": ((), {}),
    "clip": ((1.0, 2.0), {}),
    "reshape": ((3, -1), {}),
    "transpose": ((0, 1), {}),
    "squeeze": ((), {}),
    "astype": ((np.float32,), {}),
    "flatten": ((), {}),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_that_numpy_has_too(name):
    args, kwargs = METHODS[name]
    if name == "transpose":
        expected = A.T
    elif name in {"var", "std"}:
        expected = getattr(A, name)(axis=args[0])
    else:
        expected = getattr(A, name)(*args, **kwargs)
    made = getattr(wg.tensor(A), name)(*args, **kwargs)
    assert isinstance(made, wg.Tensor)
    assert made.shape == np.shape(expected)
    assert made.dtype == expected.dtype
    np.testing.assert_allclose(array(made), expected)


def test_methods_of_pytorch():
    x = wg.tensor(A)
    assert x.view(6).shape == x.reshape((6,)).shape == (6,)
    assert x.permute(1, 0).shape == (3, 2)
    assert x.unsqueeze(0).shape == (1, 2, 3)
    assert (x.float().dtype, x.double().dtype, x.long().dtype) == (F32, F64, I64)
    assert x.numel() == 6
    for name in ("exp", "log", "sqrt", "sin", "cos", "tanh", "abs"):
        np.testing.assert_allclose(array(getattr(x, name)()), getattr(np, name)(A))
    assert x.pow(2).tolist() == (A**2).tolist()
    assert wg.tensor([-1.0, 1.0]).relu().tolist() == [0.0, 1.0]


def test_iteration():
    x = leaf(1.0, 2.0)
    rows = list(x)
    assert [row.shape for row in rows] == [(), ()]
    (rows[0] * rows[1]).backward()
    assert x.grad.tolist() == [2.0, 1.0]
    first, second = wg.tensor(A)
    assert first.tolist() == A[0].tolist()
    assert second.shape == (3,)
    assert list(wg.zeros((0, 3))) == []
    with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
        iter(wg.tensor(1.0))
    with pytest.raises(TypeError, match=r"len\(\) of a 0-d tensor"):
        len(wg.tensor(1.0))


# --- Numbers out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_number(shape):
    x = wg.full(shape, 2.5)
    assert (x.item(), float(x), int(x), bool(x)) == (2.5, 2.5, 2, True)
    assert type(x.item()) is float
    assert type(wg.full(shape, 2).item()) is int
    assert type(wg.full(shape, True).item()) is bool
    assert leaf(2.5).item() == 2.5  # reading a number is no way for gradients


@pytest.mark.parametrize("convert", [float, int, bool, lambda x: x.item()])
@pytest.mark.parametrize("shape", [(2,), (0,), (1, 2)])
def test_more_than_one_number(convert, shape):
    with pytest.raises(
        ShapeError, match=rf"needs a tensor of one element, got shape \({shape[0]},"
    ):
        convert(wg.zeros(shape))


def test_condition_says_what_to_do():
    with pytest.raises(ShapeError, match="reduce it first"):
        bool(wg.ones(2) == wg.ones(2))


def test_index():
    assert [10, 20, 30][wg.tensor(1)] == 20
    assert list(range(wg.tensor(2))) == [0, 1]
    with pytest.raises(TypeError, match="only integer tensors can be an index, got float32"):
        [1][wg.tensor(0.0)]


# --- NumPy ----------------------------------------------------------------------------------------


def test_numpy_shares_memory():
    x = wg.tensor(A)
    a = x.numpy()
    assert x.numpy() is a
    a[0, 0] = 100.0
    assert x[0, 0].item() == 100.0
    x[1, 1] = 7.0
    assert a[1, 1] == 7.0
    assert a.flags.c_contiguous
    assert a.flags.writeable


def test_numpy_of_a_view_is_writable_and_its_own():
    x = wg.tensor(A)
    row, wide = x[0], wg.broadcast_to(x[0], (2, 3))
    for view in (row, wide, x.T):
        a = view.numpy()
        assert a.flags.c_contiguous
        a[...] = 0.0
        assert not view.numpy().any()
    assert x.tolist() == A.tolist()


def test_numpy_functions_accept_tensors():
    x = wg.tensor(A)
    np.testing.assert_array_equal(np.sin(x), np.sin(A))
    np.testing.assert_array_equal(np.asarray(x), A)
    np.testing.assert_array_equal(np.concatenate([x, A]), np.concatenate([A, A]))
    assert np.asarray(x) is x.numpy()
    assert np.array(x) is not x.numpy()
    assert np.asarray(x, np.float32).dtype == np.float32
    assert np.array(x, copy=True) is not x.numpy()
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype=np.float32, copy=False)


def test_numpy_is_refused_where_it_would_cut_a_gradient():
    x = leaf(1.0, 2.0)
    for convert in (x.numpy, lambda: np.asarray(x), lambda: np.sin(2 * x)):
        with pytest.raises(RuntimeError, match=r"cut the gradient.*\.detach\(\)\.numpy\(\)"):
            convert()
    assert x.detach().numpy().tolist() == [1.0, 2.0]
    assert x.tolist() == [1.0, 2.0]


# --- How tensors are shown ------------------------------------------------------------------------

GOLDENS = [
    (lambda: wg.tensor(1.0), "tensor(1.)"),
    (lambda: wg.tensor(3), "tensor(3)"),
    (lambda: wg.tensor(True), "tensor(True)"),
    (lambda: wg.tensor([1.5, 2.0]), "tensor([1.5, 2.0])"),
    (lambda: wg.tensor([1.0, 2.0]), "tensor([1., 2.])"),
    (lambda: wg.tensor([[1.0, 2.0], [3.0, 4.0]]), "tensor([[1., 2.],\n        [3., 4.]])"),
    (lambda: wg.tensor([1, -2]), "tensor([ 1, -2])"),
    (lambda: wg.tensor([1], dtype=wg.int32), "tensor([1], dtype=int32)"),
    (lambda: wg.tensor([True, False]), "tensor([ True, False])"),
    (lambda: wg.ones(1, dtype=wg.float64), "tensor([1.], dtype=float64)"),
    (lambda: wg.zeros((0, 3)), "tensor([], shape=(0, 3))"),
    (lambda: wg.zeros((0,), dtype=wg.int64), "tensor([], shape=(0,), dtype=int64)"),
    (lambda: wg.tensor(float("nan")), "tensor(nan)"),
    (lambda: wg.tensor([float("inf"), -1.0]), "tensor([inf, -1.])"),
    (lambda: wg.tensor(1 / 3), "tensor(0.3333)"),
    (lambda: wg.tensor([1e-8, 1e8]), "tensor([1.e-08, 1.e+08])"),
    (lambda: wg.tensor(1.0, requires_grad=True), "tensor(1., requires_grad=True)"),
    (lambda: leaf(1.0) * 2, "tensor([2.], dtype=float64, op=mul)"),
    (lambda: wg.max_with_index(wg.tensor([1.0], requires_grad=True))[0], "tensor(1., op=max_with"),
    (lambda: leaf(1.0).detach(), "tensor([1.], dtype=float64)"),
]


@pytest.mark.parametrize(("make", "shown"), GOLDENS, ids=[shown for _, shown in GOLDENS])
def test_shown_form(make, shown):
    found = repr(make())
    assert found == shown or (shown.endswith("max_with") and found.startswith(shown))
    assert str(make()) == found


def test_shown_form_of_many_elements_is_short():
    shown = repr(wg.zeros((1000, 1000)))
    assert "..." in shown
    assert len(shown) < 1000


def test_shown_form_does_not_depend_on_numpys_settings():
    with np.printoptions(precision=1, suppress=True):
        assert repr(wg.tensor(1 / 3)) == "tensor(0.3333)"


def test_shown_form_of_a_traced_tensor():
    shown = []
    wg.trace(lambda x: shown.append(repr(x * 2)) or x)(wg.ones(2))
    assert shown[0].startswith("tensor(traced f32[2], made by mul at test_tensor.py:")


def test_numbers_can_be_formatted():
    assert f"{wg.tensor(1.23456):.2f} {leaf(0.5):8.3f} {wg.tensor(7):03d}" == "1.23    0.500 007"
    assert f"{wg.ones(2)}" == "tensor([1., 1.])"
    with pytest.raises(ShapeError, match=r"one element, got shape \(2,\)"):
        f"{wg.ones(2):.2f}"


# --- Copies ---------------------------------------------------------------------------------------


def test_deepcopy_of_a_leaf_is_a_leaf_of_its_own():
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert (y.tolist(), y.requires_grad, y.is_leaf) == ([1.0, 2.0], True, True)
    with wg.no_grad():
        y.mul_(10.0)
    (3 * y).sum().backward()
    assert x.tolist() == [1.0, 2.0]
    assert x.grad.tolist() == [2.0, 4.0]
    assert y.grad is not x.grad
    assert y.grad.tolist() in ([3.0, 3.0], [5.0, 7.0])  # PyTorch copies .grad as well
    y.detach().numpy()[0] = -1.0
    assert x.tolist() == [1.0, 2.0]


def test_deepcopy_keeps_names_dtypes_and_identity():
    x = wg.tensor([1, 2], dtype=wg.int32)
    x.name = "x"
    first, second = copy.deepcopy([x, x])
    assert first is second
    assert (first.dtype, first.name) == (I32, "x")
    assert copy.copy(x).tolist() == [1, 2]


def test_deepcopy_of_a_result_keeps_no_graph():
    x = leaf(1.0, 2.0)
    h = x * 2
    try:
        copied = copy.deepcopy(h)
    except (RuntimeError, TypeError) as error:
        assert "detach" in str(error)  # noqa: PT017  (PyTorch refuses)
    else:
        assert copied.tolist() == [2.0, 4.0]
        assert copied._variable.op is None


@pytest.mark.parametrize("required", [False, True])
def test_pickle(required):
    x = wg.tensor([1.0, 2.0], requires_grad=required)
    y = pickle.loads(pickle.dumps(x))
    assert y.tolist() == [1.0, 2.0]
    assert y.requires_grad == required
    (2 * y).sum().backward() if required else None
    assert x.grad is None


def test_clone():
    x = leaf(1.0, 2.0)
    y = x.clone()
    assert not y.is_leaf
    y *= 3.0
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    plain = wg.ones(2)
    copied = plain.clone()
    plain.numpy()[0] = 5.0
    assert copied.tolist() == [1.0, 1.0]
