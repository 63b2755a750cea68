"""Floor division, remainders and rounding: signs, zeros, dtypes, operators, in place."""

from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import close
from wengert.graph.primitive import registry
from wengert.graph.variable import Variable

NUMBERS = [7.5, -7.5, 6.0, -6.0, 0.0, -0.0, 0.3, 1e30, -1e-30, np.inf, -np.inf, np.nan, 0.1, 2.0]
PAIRS = np.array(list(itertools.product(NUMBERS, repeat=2))).T
OPERATORS = [operator.floordiv, operator.mod, operator.pow]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def ways(function, *arrays):
    """Return what `function` gives eagerly and compiled, as arrays."""
    tensors = [wg.asarray(a) for a in arrays]
    return function(*tensors).numpy(), wg.compile(function)(*tensors).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", OPERATORS[:2])
def test_floats_follow_numpy_to_the_bit(function, dtype):
    x, y = PAIRS.astype(dtype)
    with np.errstate(all="ignore"):
        wanted = function(x, y)
    for found in ways(function, x, y):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))


@pytest.mark.parametrize("function", OPERATORS[:2])
def test_floats_follow_python(function):
    for x, y in itertools.product([7.5, -7.5, 1.0, -1.0], [2.0, -2.0, 0.1, -0.1]):
        found = function(wg.asarray(np.float64(x)), y)
        assert found.item() == function(x, y)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("function", OPERATORS[:2])
def test_integers_of_every_sign_and_size(function, dtype):
    info = np.iinfo(dtype)
    numbers = np.array([info.min, info.max, info.max - 1, 0, 1, 2, 7, 100], dtype)
    numbers = np.concatenate([numbers, -numbers]) if info.min else numbers
    x, y = np.array(list(itertools.product(numbers, numbers[numbers != 0])), dtype).T
    with np.errstate(over="ignore"):
        wanted = function(x, y)
    for found in ways(function, x.copy(), y.copy()):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
@pytest.mark.parametrize(
    ("function", "name"), [(operator.floordiv, "floor_divide"), (operator.mod, "remainder")]
)
def test_an_integer_divided_by_zero_is_an_error(function, name, dtype):
    x, y = wg.tensor([1, 2, 3], dtype=dtype), wg.tensor([1, 0, 3], dtype=dtype)
    message = f"{name}: an integer was divided by zero; divide floats .* replace the zeros"
    for run in (function, wg.compile(function)):
        with pytest.raises(ZeroDivisionError, match=message):
            run(x, y)
        with pytest.raises(ZeroDivisionError, match=message):
            run(x, 0 * y)
        run(x, x)
    with pytest.raises(ZeroDivisionError, match=message):
        function(x, 0)
    with wg.disable_compile(), pytest.raises(ZeroDivisionError, match=message):
        wg.compile(function)(x, y)


@pytest.mark.parametrize("function", OPERATORS)
def test_numbers_on_either_side(function):
    x = np.array([3.5, 2.0, 1.0], np.float32)
    n = np.array([3, 2, 1], np.int32)
    for a, dtype in ((x, "float32"), (n, "int32")):
        for way in (lambda f, a: f(wg.asarray(a)), lambda f, a: wg.compile(f)(wg.asarray(a))):
            for found, wanted in (
                (way(lambda t: function(t, 2), a), function(a, 2)),
                (way(lambda t: function(7, t), a), function(7, a)),
            ):
                assert found.dtype == dtype
                np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)
    assert function(wg.asarray(n), 2.0).dtype == wg.float32
    assert [t.tolist() for t in divmod(wg.tensor([7, -7]), 4)] == [[1, -2], [3, 1]]
    assert [t.tolist() for t in divmod(7, wg.tensor([4, -4]))] == [[1, -2], [3, -1]]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [(operator.ifloordiv, [3, -4]), (operator.imod, [1, 1]), (operator.ipow, [49, 49])],
)
def test_in_place(change, wanted):
    for dtype in (wg.int64, wg.float32):
        x = other = wg.tensor([7, -7], dtype=dtype)
        x = change(x, 2)
        assert x is other
        assert x.tolist() == wanted
        assert x.dtype == dtype

    @wg.compile
    def step(x):
        change(x, 2)

    x = wg.tensor([7, -7])
    step(x)
    assert x.tolist() == wanted
    with pytest.raises(TypeError, match="an in-place operation cannot change int64 to float32"):
        change(x, 2.5)


def test_derivatives():
    x, y = wg.asarray(np.array([7.5, -7.5, 6.0])), wg.asarray(np.array([2.0, 2.0, -4.0]))
    by_x, by_y = wg.grad(lambda x, y: wg.sum(x % y * x), argnums=(0, 1))(x, y)
    close(by_x, x.numpy() % y.numpy() + x.numpy())
    close(by_y, -x.numpy() * (x.numpy() // y.numpy()))
    assert wg.grad(lambda x: wg.sum(x // y))(x).tolist() == [0, 0, 0]
    assert wg.grad(lambda x: wg.sum(wg.round(x) + wg.ceil(x)))(x).tolist() == [0, 0, 0]
    close(wg.vmap(operator.mod)(x, y), x.numpy() % y.numpy())


def test_a_quarter_turn_wraps_angles():
    """What remainders are often for: the derivative at a multiple is that of the smooth side."""
    angle = wg.tensor([0.0, 4.0, 9.0])
    assert wg.grad(lambda a: wg.sum(a % 4))(angle).tolist() == [1, 1, 1]


@pytest.mark.parametrize(("ours", "numpys"), [(wg.round, np.rint), (wg.ceil, np.ceil)])
def test_rounding(ours, numpys):
    x = np.array([0.5, 1.5, -0.5, -0.2, 2.5, -1.7, 1e20, np.inf, -np.inf, np.nan, -0.0, 0.0])
    for found in ways(ours, x):
        np.testing.assert_array_equal(found, numpys(x))
        np.testing.assert_array_equal(np.signbit(found), np.signbit(numpys(x)))
    assert ours(wg.tensor([1, 2])).dtype == wg.float32


def test_bools_count_where_results_are_no_bools():
    mask = np.array([True, False, True])
    for function in (
        lambda t: t**2,
        lambda t: t**1,
        lambda t: t**True,
        lambda t: t**t,
        lambda t: 2**t,
        lambda t: t // True,
        lambda t: t % 2,
        wg.square,
    ):
        for found in ways(function, mask):
            assert found.dtype == np.int64
            expected = function(wg.asarray(mask.astype(np.int64)))
            np.testing.assert_array_equal(found, expected.numpy())
    for function in (lambda t: t**2.0, lambda t: 2.0**t):
        assert {found.dtype for found in ways(function, mask)} == {np.dtype("float32")}
    assert {found.dtype for found in ways(abs, mask)} == {np.dtype(bool)}


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64"])
def test_integers_to_negative_powers(dtype):
    x = wg.tensor([1, 0, 1], dtype=dtype)
    message = "pow: integers to a negative power are not integers; cast the base to a float"
    for function in (lambda t: t**-1, lambda t: t**-2, lambda t: t ** wg.tensor(-1)):
        for run in (function, wg.compile(function)):
            with pytest.raises(wg.DTypeError, match=message):
                run(x)
    assert (wg.astype(x, wg.float32) ** -1).tolist() == [1, np.inf, 1]


def test_exclusive_or_and_what_is_finite():
    x, y = np.array([True, True, False, False]), np.array([True, False, True, False])
    for function in (operator.xor, wg.logical_xor):
        for found in ways(function, x, y):
            np.testing.assert_array_equal(found, x ^ y)
    assert (True ^ wg.asarray(x)).tolist() == (~x).tolist()
    with pytest.raises(wg.DTypeError, match=r"&, \|, \^ and ~ are for bool tensors, got int64"):
        wg.tensor([1]) ^ wg.tensor([1])
    numbers = np.array([1.0, np.inf, -np.inf, np.nan])
    for name in ("isnan", "isinf", "isfinite"):
        for a in (numbers, numbers.astype(np.float32), np.array([1, 2])):
            for found in ways(getattr(wg, name), a):
                np.testing.assert_array_equal(found, getattr(np, name)(a))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["floor_divide", "remainder"])
def test_jumps_are_told_from_what_is_only_near(name, dtype):
    jumps = registry[name].nonsmooth[0].where
    multiples = np.array([0, 0.3, 6, -4, 5e5, -0.0], dtype), np.array([2, 0.1, 3, 2, 1, -7], dtype)
    others = np.array([1e-20, -1e-20, 1e-3, 2.999, 4], dtype), np.array([1, 1, 7, 1, 3], dtype)
    for (x, y), jumping in ((multiples, True), (others, False)):
        found = jumps(None, Variable(x), Variable(y)).value
        assert (found == jumping).all(), (x[found != jumping], y[found != jumping])
