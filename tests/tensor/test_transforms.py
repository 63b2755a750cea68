"""grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp, stop_gradient: what they promise."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import FUNCTIONS, X, array, close, leaves, numeric_jacobian, scalar
from wengert import DTypeError, ShapeError

F64 = np.float64


def square_sum(x):
    return wg.sum(x * x)


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass
class Layer:
    weight: Any
    bias: Any


# --- Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
def test_jacobian_agrees_with_finite_differences(f, mode):
    expected = numeric_jacobian(lambda x: array(f(wg.tensor(x))), X)
    close(wg.jacobian(f, mode=mode)(wg.tensor(X)), expected, 1e-9, atol=1e-9)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_jacobian_is_the_same_in_all_ways(f):
    x = wg.tensor(X)
    _, pullback = wg.vjp(f, x)
    rows = wg.vmap(lambda unit: pullback(unit)[0])(wg.eye(4, dtype=wg.float64))
    columns = wg.vmap(lambda unit: wg.jvp(f, (x,), (unit,))[1])(wg.eye(4, dtype=wg.float64))
    expected = wg.jacobian(f, mode="reverse")(x)
    close(wg.jacobian(f, mode="forward")(x), expected, 1e-13)
    close(rows, expected, 1e-13)
    close(columns.T, expected, 1e-13)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_hessian_is_symmetric_and_agrees_with_hvp(f):
    x, v = wg.tensor(X), np.array([0.3, -1.0, 0.2, 0.7])
    hessian = wg.hessian(lambda x: wg.sum(f(x)))(x)
    close(hessian, array(hessian).T, 1e-12, atol=1e-13)
    close(wg.hvp(lambda x: wg.sum(f(x)), x, v), array(hessian) @ v, 1e-12, atol=1e-13)
    by_reverse = wg.jacobian(wg.grad(lambda x: wg.sum(f(x))), mode="reverse")(x)
    close(by_reverse, hessian, 1e-12, atol=1e-13)


def test_jacobian_shapes_of_outputs_and_arguments():
    def f(x, y):
        return {"p": x @ y, "s": wg.sum(x)}

    x = np.arange(6.0).reshape(2, 3)
    y = np.arange(12.0).reshape(3, 4)
    for mode in ("forward", "reverse", "auto"):
        found = wg.jacobian(f, argnums=(0, 1), mode=mode)(x, y)
        assert found["p"][0].shape == (2, 4, 2, 3)
        assert found["s"][1].shape == (3, 4)
        close(found["p"][0], np.einsum("ik,lj->ijkl", np.eye(2), y))
        close(found["p"][1], np.einsum("ik,jl->ijkl", x, np.eye(4)))
        close(found["s"][0], np.ones((2, 3)))
        close(found["s"][1], np.zeros((3, 4)))


@pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
@pytest.mark.parametrize("shape_in", [(), (3,), (0,), (2, 0), (2, 3)])
def test_jacobian_of_any_shape(mode, shape_in):
    x = wg.tensor(np.random.default_rng(0).standard_normal(shape_in))
    size = x.size
    found = wg.jacobian(wg.sin, mode=mode)(x)
    close(found, np.diag(np.cos(array(x)).ravel()).reshape(shape_in * 2))
    assert wg.jacobian(wg.sum, mode=mode)(x).shape == shape_in
    assert wg.jacobian(lambda x: wg.ones((5, 1)), mode=mode)(x).shape == (5, 1, *shape_in)
    empty = wg.jacobian(lambda x: wg.reshape(x, (size,))[:0], mode=mode)(x)
    assert empty.shape == (0, *shape_in)


def test_jacobian_auto_takes_the_cheaper_mode(monkeypatch):
    from wengert.tensor import vmap

    chosen = []
    for name in ("_forward", "_reverse"):
        kept = getattr(vmap, name)
        monkeypatch.setattr(
            vmap, name, lambda *a, kept=kept, name=name: (chosen.append(name), kept(*a))[1]
        )
    wg.jacobian(lambda x: wg.outer(x, x))(wg.ones(3))
    wg.jacobian(wg.sum)(wg.ones(3))
    assert chosen == ["_forward", "_reverse"]


def test_jacobian_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match=r"jacobian: mode must be .* got 'backward'"):
        wg.jacobian(wg.sin, mode="backward")


def test_the_branch_not_taken_does_not_poison_a_derivative():
    def f(x):
        return wg.sum(wg.where(x > 0, wg.log(x), -x) + wg.where(x > 0, wg.sqrt(x), 0.0))

    x = wg.tensor([0.0, 4.0, -1.0])
    np.testing.assert_allclose(array(wg.grad(f)(x)), [-1.0, 0.5, -1.0])
    np.testing.assert_allclose(array(wg.hessian(f)(x)), np.diag([0, -0.09375, 0]), atol=1e-7)
    tangent = wg.jvp(f, (x,), (wg.ones(3),))[1]
    assert tangent.item() == pytest.approx(-1.5)
    np.testing.assert_allclose(array(wg.vmap(wg.grad(f))(x[:, None])[:, 0]), [-1.0, 0.5, -1.0])


# --- Arguments and results ------------------------------------------------------------------------


def product(x, y, z=1.0):
    return wg.sum(x * y * z)


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [(0, 8.0), (1, 6.0), (-1, 6.0), ((0,), (8.0,)), ((1, 0), (6.0, 8.0)), ([0, -1], (8.0, 6.0))],
)
def test_argnums(argnums, expected):
    found = wg.grad(product, argnums=argnums)(wg.tensor(3.0), wg.tensor(4.0), z=2)
    assert isinstance(found, tuple) == isinstance(expected, tuple)
    np.testing.assert_array_equal(np.array(found), expected)


def test_argument_that_is_differentiated_twice_has_two_partial_derivatives():
    x = wg.tensor(3.0)
    assert wg.grad(product)(x, x).item() == 3.0
    assert wg.grad(lambda x: product(x, x))(x).item() == 6.0


@pytest.mark.parametrize(("argnums", "count"), [(2, 2), (-3, 2), ((0, 5), 2), (0, 0)])
def test_argnums_that_do_not_fit(argnums, count):
    with pytest.raises(ValueError, match=rf"argnums .* does not fit {count} arguments"):
        wg.grad(product, argnums=argnums)(*[wg.tensor(1.0)] * count)


def test_numbers_lists_and_arrays_are_accepted():
    assert wg.grad(lambda x: x * x)(3.0).item() == 6.0
    gradient = wg.grad(square_sum)(np.array([1.0, 2.0]))
    assert isinstance(gradient, wg.Tensor)
    assert gradient.dtype == F64
    first, second = wg.grad(lambda p: p[0] * p[1])([3.0, 4.0])
    assert (first.item(), second.item()) == (4.0, 3.0)


TREES = {
    "dict": {"w": np.array([1.0, 2.0]), "b": np.array(3.0)},
    "list": [np.array([1.0, 2.0]), np.array(3.0)],
    "tuple": (np.array([1.0, 2.0]), np.array(3.0)),
    "namedtuple": Pair(np.array([1.0, 2.0]), np.array(3.0)),
    "dataclass": Layer(np.array([1.0, 2.0]), np.array(3.0)),
    "nested": {"layers": [Layer(np.array([1.0, 2.0]), np.array(3.0)), (np.array([5.0]),)], "n": ()},
    "none": [None, np.array([1.0, 2.0]), None],
    "empty": [],
}


def skeleton(tree):
    if isinstance(tree, Layer):
        return ("Layer", skeleton(tree.weight), skeleton(tree.bias))
    if isinstance(tree, dict):
        return {key: skeleton(tree[key]) for key in tree}
    if isinstance(tree, list | tuple):
        return (type(tree).__name__, *map(skeleton, tree))
    return tree if tree is None else array(tree).shape


def tree_sum(tree):
    return sum((wg.sum(leaf**3) for leaf in leaves(tree)), wg.tensor(0.0, dtype=wg.float64))


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_containers_as_arguments(tree):
    gradient = wg.grad(tree_sum)(tree)
    assert skeleton(gradient) == skeleton(tree)
    for found, x in zip(leaves(gradient), leaves(tree), strict=True):
        close(found, 3 * x**2)
    tangent = wg.jvp(tree_sum, (tree,), (tree,))[1]
    assert tangent.item() == pytest.approx(sum((3 * x**3).sum() for x in leaves(tree)))
    product = wg.hvp(tree_sum, tree, tree)
    for found, x in zip(leaves(product), leaves(tree), strict=True):
        close(found, 6 * x**2)


def test_containers_as_results():
    def f(x):
        return Layer({"a": x * x}, (wg.sin(x), [x]))

    x = np.array([0.5, 2.0])
    value, pullback = wg.vjp(f, x)
    assert isinstance(value, Layer)
    (x_bar,) = pullback(Layer({"a": np.ones(2)}, (np.ones(2), [np.ones(2)])))
    close(x_bar, 2 * x + np.cos(x) + 1)
    _, tangent = wg.jvp(f, (x,), (np.ones(2),))
    close(tangent.weight["a"], 2 * x)
    close(tangent.bias[0], np.cos(x))
    jacobian = wg.jacobian(f)(x)
    close(jacobian.weight["a"], np.diag(2 * x))
    lanes = wg.vmap(f)(x)
    close(lanes.bias[1][0], x)


@dataclasses.dataclass(frozen=True)
class Frozen:
    w: Any
    scale: Any = dataclasses.field(init=False, default=5.0)

    def __post_init__(self):
        assert not isinstance(self.w, str)


def test_dataclass_keeps_all_its_fields():
    frozen = Frozen(np.array([1.0, 2.0]))
    object.__setattr__(frozen, "scale", scalar(7.0))
    gradient = wg.grad(lambda a: wg.sum(a.w * a.w * a.scale))(frozen)
    close(gradient.w, [14.0, 28.0])


def test_dictionary_keeps_its_order():
    gradient = wg.grad(lambda d: d["b"] * d["a"])({"b": 2.0, "a": 3.0})
    assert list(gradient) == ["b", "a"]
    assert wg.grad(lambda d: d[1] * d["a"])({1: 2.0, "a": 3.0})["a"].item() == 2.0


def test_what_is_no_number_in_an_argument_is_named_or_passed_through():
    layer = {"w": np.array([1.0, 2.0]), "activation": "relu"}

    def f(layer):
        assert layer["activation"] == "relu"
        return wg.sum(layer["w"] ** 2)

    try:
        gradient = wg.grad(f)(layer)
    except TypeError as error:
        assert str(error).startswith("grad: argument 0")  # noqa: PT017
    else:
        close(gradient["w"], [2.0, 4.0])


def test_hessian_of_a_container_is_a_container_of_containers():
    found = wg.hessian(lambda p: wg.sum(p["a"] * p["a"] * p["b"]))(
        {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])}
    )
    close(found["a"]["a"], np.diag([6.0, 8.0]))
    close(found["a"]["b"], np.diag([2.0, 4.0]))
    close(found["b"]["a"], np.diag([2.0, 4.0]))
    close(found["b"]["b"], np.zeros((2, 2)))


def test_aux_is_passed_through():
    def f(x):
        return square_sum(x), {"y": 2 * x, "text": "kept", "none": None, "n": 3}

    x = wg.tensor([1.0, 2.0])
    gradient, aux = wg.grad(f, has_aux=True)(x)
    assert gradient.tolist() == [2.0, 4.0]
    assert (aux["text"], aux["none"], aux["n"]) == ("kept", None, 3)
    assert aux["y"].tolist() == [2.0, 4.0]
    (value, aux), gradient = wg.value_and_grad(f, has_aux=True)(x)
    assert (value.item(), aux["n"], gradient.tolist()) == (5.0, 3, [2.0, 4.0])
    value, pullback, aux = wg.vjp(f, x, has_aux=True)
    assert (value.item(), aux["n"], pullback(1.0)[0].tolist()) == (5.0, 3, [2.0, 4.0])
    value, tangent, aux = wg.jvp(f, (x,), (x,), has_aux=True)
    assert (value.item(), tangent.item(), aux["n"]) == (5.0, 10.0, 3)
    jacobian, aux = wg.jacobian(f, has_aux=True)(x)
    assert (jacobian.tolist(), aux["n"]) == ([2.0, 4.0], 3)


@pytest.mark.parametrize("transform", [wg.grad, wg.value_and_grad, wg.jacobian])
def test_aux_must_be_returned(transform):
    with pytest.raises(TypeError, match=r"has_aux=True the function must return \(value, aux\)"):
        transform(wg.sum, has_aux=True)(wg.ones(2))


def test_value_and_grad_evaluates_once():
    calls = []

    def f(x):
        calls.append(1)
        return square_sum(x)

    value, gradient = wg.value_and_grad(f)(wg.tensor([3.0, 4.0]))
    assert (value.item(), gradient.tolist(), len(calls)) == (25.0, [6.0, 8.0], 1)


def test_pullback_may_be_called_several_times():
    value, pullback = wg.vjp(lambda x: wg.exp(x) * x, wg.tensor([0.5, 1.0], dtype=wg.float64))
    first = pullback(wg.tensor([1.0, 0.0], dtype=wg.float64))[0]
    second = pullback(wg.tensor([2.0, 1.0], dtype=wg.float64))[0]
    slopes = np.exp([0.5, 1.0]) * np.array([1.5, 2.0])
    close(first, slopes * [1, 0])
    close(second, slopes * [2, 1])
    close(value, np.exp([0.5, 1.0]) * [0.5, 1.0])


def test_pullback_checks_its_cotangent():
    _, pullback = wg.vjp(lambda x: (x, wg.sum(x)), wg.ones(2))
    with pytest.raises(ValueError, match="vjp: the cotangent must have the structure"):
        pullback(wg.ones(2))
    with pytest.raises(
        ShapeError, match=r"vjp: the cotangent must be f32\[2\] like its output, got f32\[3\]"
    ):
        pullback((wg.ones(3), 1.0))
    with pytest.raises(
        (ShapeError, DTypeError),
        match=r"vjp: the cotangent must be f32\[2\] like its output, got f64\[2\]",
    ):
        pullback((np.ones(2), 1.0))


def test_jvp_checks_its_tangents():
    x = wg.ones(2)
    with pytest.raises(
        ShapeError, match=r"jvp: the tangent must be f32\[2\] like its argument, got f32\[3\]"
    ):
        wg.jvp(wg.sin, (x,), (wg.ones(3),))
    with pytest.raises(TypeError, match="as tuples, one entry an argument"):
        wg.jvp(wg.sin, x, x)
    with pytest.raises(ValueError, match="1 primals but 2 tangents"):
        wg.jvp(wg.sin, (x,), (x, x))
    with pytest.raises(ValueError, match="a tangent has the structure"):
        wg.jvp(lambda p: p[0], ([x],), ([x, x],))


# --- Dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [wg.float32, wg.float64])
def test_gradient_has_the_dtype_of_its_primal(dtype):
    other = wg.float64 if dtype == wg.float32 else wg.float32
    x, y = wg.tensor([1.0, 2.0], dtype=dtype), wg.tensor([3.0, 4.0], dtype=other)

    def f(x, y):
        return wg.sum(x * x * y) + wg.sum(wg.astype(x, other))

    grads = wg.grad(f, argnums=(0, 1))(x, y)
    assert [g.dtype for g in grads] == [dtype, other]
    jacobians = wg.jacobian(f, argnums=(0, 1), mode="forward")(x, y)
    np.testing.assert_allclose(array(jacobians[0]), array(grads[0]))
    assert wg.hessian(f)(x, y).dtype in {dtype, np.dtype(F64)}
    value, tangent = wg.jvp(lambda x: x * x * 0.1 + 2, (x,), (x,))
    assert value.dtype == tangent.dtype == dtype
    assert wg.vmap(wg.grad(lambda x: x * x))(x).dtype == dtype


INTEGERS = [wg.tensor([1, 2]), wg.tensor([True, False]), np.arange(2), 3]


@pytest.mark.parametrize("x", INTEGERS, ids=str)
@pytest.mark.parametrize("transform", [wg.grad, wg.value_and_grad, wg.jacobian, wg.hessian])
def test_integers_have_no_derivative(transform, x):
    with pytest.raises(DTypeError, match=r"argument 0 has dtype (int64|bool), which has no deriv"):
        transform(lambda x: wg.sum(x * 1.0))(x)


def test_integers_among_the_arguments_are_passed_through():
    gradient = wg.grad(lambda x, i: x[i] * 2)(wg.tensor([1.0, 2.0]), wg.tensor(1))
    assert gradient.tolist() == [0.0, 2.0]
    with pytest.raises(DTypeError, match="jvp: argument 1 has dtype int64"):
        wg.jvp(lambda x, i: x[i], (wg.ones(2), wg.tensor(1)), (wg.ones(2), wg.tensor(0)))


@pytest.mark.parametrize("transform", [wg.grad, wg.jacobian])
def test_integer_results_have_no_derivative(transform):
    with pytest.raises(DTypeError, match=r"the function returned int64.*has_aux"):
        transform(wg.argmax)(wg.ones(3))


def test_result_must_be_one_number():
    with pytest.raises(ShapeError, match=r"must return one number .*got shape \(2,\).*jacobian"):
        wg.grad(lambda x: x)(wg.ones(2))
    with pytest.raises(ShapeError, match=r"got shape \(1,\)"):
        wg.grad(lambda x: x)(wg.ones(1))


@pytest.mark.parametrize("result", [None, (1.0, 2.0), "text"], ids=str)
def test_result_that_is_no_tensor_is_named(result):
    with pytest.raises(TypeError, match="grad: the function must return"):
        wg.grad(lambda x: result)(wg.ones(2))


def test_function_that_does_not_depend_on_its_argument():
    assert wg.grad(lambda x: wg.tensor(3.0))(wg.ones(2)).tolist() == [0.0, 0.0]
    assert wg.grad(lambda x: 3.0)(wg.ones(2)).tolist() == [0.0, 0.0]
    value, tangent = wg.jvp(lambda x: wg.tensor([3.0]), (wg.ones(2),), (wg.ones(2),))
    assert (value.tolist(), tangent.tolist()) == ([3.0], [0.0])
    assert wg.hessian(wg.sum)(wg.ones(2)).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert wg.grad(wg.grad(lambda x: 2 * x))(wg.tensor(1.0)).item() == 0.0


def test_identity():
    x = wg.tensor(2.0)
    assert wg.grad(lambda x: x)(x).item() == 1.0
    assert wg.jvp(lambda x: x, (x,), (wg.tensor(3.0),))[1].item() == 3.0
    assert wg.jacobian(lambda x: x)(wg.ones(2)).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    value, pullback = wg.vjp(lambda x, y: (y, x), x, wg.tensor(5.0))
    assert [v.item() for v in pullback((7.0, 8.0))] == [8.0, 7.0]
    assert [v.item() for v in value] == [5.0, 2.0]


# --- Effects --------------------------------------------------------------------------------------


def _through(transform):
    """Return how the cell ends that `transform` of a function writes to."""
    seen = wg.zeros(2)

    def f(x):
        seen.copy_(x * 3)
        return wg.sum(x * x)

    transform(f)
    return seen


EFFECTFUL = {
    "grad": lambda f: wg.grad(f)(wg.ones(2)),
    "vjp": lambda f: wg.vjp(f, wg.ones(2)),
    "jvp": lambda f: wg.jvp(f, (wg.ones(2),), (wg.ones(2),)),
    "jacobian": lambda f: wg.jacobian(f)(wg.ones(2)),
    "hessian": lambda f: wg.hessian(f)(wg.ones(2)),
    "checkpoint": lambda f: wg.checkpoint(f)(wg.ones(2)),
    "grad of checkpoint": lambda f: wg.grad(wg.checkpoint(f))(wg.ones(2)),
    "compile": lambda f: wg.compile(f)(wg.ones(2)),
    "compiled gradient": lambda f: wg.compile(wg.grad(f))(wg.ones(2)),
}


@pytest.mark.parametrize("name", EFFECTFUL)
def test_what_a_function_writes_is_carried_out_without_the_variables_of_the_transform(name):
    seen = _through(EFFECTFUL[name])
    assert seen.tolist() == [3.0, 3.0]
    assert not seen.requires_grad


def test_what_a_function_writes_stays_open_for_the_derivative_around():
    def outer(x):
        seen = wg.zeros(2)

        def f(z):
            seen.copy_(z * 3)
            return wg.sum(z * z)

        wg.grad(f)(x)
        return wg.sum(seen * seen)

    assert wg.grad(outer)(wg.tensor([1.0, 2.0])).tolist() == [18.0, 36.0]
