"""vmap: equal to a loop, in one batch, with the effects and random numbers of a loop."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import FUNCTIONS, Watch, X, array, close
from wengert import ShapeError, TracerError
from wengert.tensor.random import default_generator

BATCH = X + np.linspace(-0.05, 0.05, 5)[:, None]


def looped(f, *batches):
    return np.stack([array(f(*map(wg.tensor, lane))) for lane in zip(*batches, strict=True)])


@pytest.mark.parametrize("f", FUNCTIONS)
def test_equals_a_loop(f):
    close(wg.vmap(f)(BATCH), looped(f, BATCH), 1e-13)
    close(wg.vmap(wg.jacobian(f))(BATCH), looped(wg.jacobian(f), BATCH), 1e-13)


def shapes(x, y):
    wide = wg.concat([wg.reshape(x, (-1,)), wg.squeeze(wg.expand_dims(y, 0), 0) * x[0]])
    return wg.reshape(wide, (2, 4)).T @ wg.reshape(y, (2, 2)) + wg.broadcast_to(y[:2], (4, 2))


def losses(x, y):
    labels = wg.argmax(y, keepdims=True)
    return wg.cross_entropy(x[None], labels) + wg.mse_loss(x, y) + wg.cross_entropy(y[None], labels)


def picks(x, y):
    order = wg.argsort(x)
    return wg.take(y, order) + wg.where(y > x, x[wg.argmax(y)], y[-1])


def pools(x, y):
    image = wg.outer(x, y)[None, None]
    pooled = wg.max_pool2d(image, 2)
    return wg.flatten(wg.conv2d(pooled, wg.reshape(y, (1, 1, 2, 2)), wg.tensor([1.5]), padding=1))


def pieces(x, y):
    z = wg.zeros((4,), dtype=wg.float64)
    z[1:3] = x[:2] * y[0]
    z[-1] = wg.sum(y)
    z += x
    return wg.flip(wg.pad(z, 1))[::2] + wg.einsum("i,i->", x, y)


@pytest.mark.parametrize("f", [shapes, losses, picks, pools, pieces])
@pytest.mark.parametrize("shared", [None, 0, 1])
def test_two_arguments_of_which_one_may_be_shared(f, shared):
    x, y = BATCH, np.random.default_rng(0).standard_normal(BATCH.shape)
    in_axes = [0, 0]
    given = [x, y]
    if shared is not None:
        in_axes[shared] = None
        given[shared] = given[shared][0]
    lanes = [np.broadcast_to(a, x.shape).copy() for a in given]
    close(wg.vmap(f, in_axes=tuple(in_axes))(*given), looped(f, *lanes), 1e-12)
    gradient = wg.vmap(wg.grad(lambda x, y: wg.sum(f(x, y) ** 2)), in_axes=tuple(in_axes))(*given)
    close(gradient, looped(wg.grad(lambda x, y: wg.sum(f(x, y) ** 2)), *lanes), 1e-12)


@pytest.mark.parametrize("in_axis", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("out_axis", [0, 1, 2, -1, -2])
def test_axes(in_axis, out_axis):
    x = np.arange(24.0).reshape(2, 3, 4)
    found = wg.vmap(lambda x: 2 * x, in_axes=in_axis, out_axes=out_axis)(x)
    close(found, np.moveaxis(2 * x, in_axis, out_axis))


def test_axes_of_each_argument():
    x, y = np.arange(6.0).reshape(2, 3), np.arange(3.0)
    close(wg.vmap(lambda x, y: x * y, in_axes=[1, 0])(x, y), (x * y).T)
    close(wg.vmap(lambda x, y: x * y, in_axes=(1, None))(x, np.float64(2)), 2 * x.T)


def test_containers():
    def f(p, scale):
        return {"a": p["a"] * scale, "b": (p["b"][0], [wg.ones(2)])}

    p = {"a": np.arange(3.0), "b": [np.arange(6.0).reshape(3, 2)]}
    found = wg.vmap(f, in_axes=(0, None))(p, 2.0)
    close(found["a"], [0.0, 2.0, 4.0])
    close(found["b"][0], p["b"][0])
    assert found["b"][1][0].shape == (3, 2)


def test_axes_inside_containers():
    x, y = np.arange(6.0).reshape(2, 3), np.arange(2.0)

    def f(d, c):
        return {"sum": d["x"] + c, "rest": (d["y"][1], d["y"][0] * d["x"])}

    data = {"x": x, "y": (y, np.float64(2))}
    axes = ({"x": -1, "y": None}, 0)
    out_axes = {"sum": 1, "rest": (None, -1)}
    found = wg.vmap(f, axes, out_axes)(data, np.arange(3.0))
    close(found["sum"], x + np.arange(3.0))
    assert found["rest"][0].item() == 2
    one = wg.vmap(lambda d: d["x"] * d["y"][1], in_axes=({"x": 1, "y": (None, None)},))(data)
    close(one, 2 * x.T)
    gradient = wg.grad(lambda d: wg.sum(wg.vmap(f, axes, out_axes)(d, np.ones(3))["sum"]))
    assert gradient({"x": x, "y": (y, np.float64(2))})["x"].tolist() == np.ones((2, 3)).tolist()


@dataclasses.dataclass
class Pair:
    w: object
    b: object = None


def test_axes_of_dataclasses_and_of_what_is_none():
    def f(p):
        return Pair(p.w * 2, None if p.b is None else p.b)

    w = np.arange(6.0).reshape(2, 3)
    found = wg.vmap(f, in_axes=(Pair(1, None),), out_axes=Pair(1, None))(Pair(w, wg.ones(2)))
    close(found.w, 2 * w)
    assert found.b.shape == (2,)
    for axes in (1, Pair(1), Pair(1, 0)):  # no array stands where the second axis does
        found = wg.vmap(f, in_axes=(axes,), out_axes=1)(Pair(w))
        close(found.w, 2 * w)
        assert found.b is None


def test_results_that_do_not_depend_on_the_lane_are_repeated():
    assert wg.vmap(lambda x: wg.ones(2))(wg.ones(3)).tolist() == [[1.0, 1.0]] * 3
    assert wg.vmap(lambda x: 3.0)(wg.ones(3)).tolist() == [3.0] * 3
    inner = wg.vmap(lambda x: wg.grad(lambda y: y * y)(wg.tensor(2.0)))
    assert inner(wg.ones(3)).tolist() == [4.0] * 3


@pytest.mark.parametrize("f", FUNCTIONS)
def test_batches_of_none_and_of_one(f):
    assert wg.vmap(f)(BATCH[:0]).shape == (0, 4)
    assert wg.vmap(wg.jacobian(f))(BATCH[:0]).shape == (0, 4, 4)
    close(wg.vmap(f)(BATCH[:1]), looped(f, BATCH[:1]), 1e-13)


def test_nested():
    a, b = np.array([1.0, 10.0]), np.array([1.0, 2.0, 3.0])
    close(wg.vmap(lambda a: wg.vmap(lambda b: a * b + a)(b))(a), np.outer(a, b) + a[:, None])
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    close(wg.vmap(wg.vmap(wg.sin, in_axes=1), in_axes=2)(x), np.sin(x).transpose(2, 1, 0))
    pairs = wg.vmap(wg.vmap(lambda a, b: a - b, (None, 0)), (0, None))(a, b)
    close(pairs, a[:, None] - b)

    def plane(a):
        return wg.vmap(lambda b_: wg.vmap(lambda c: a * b_ + c)(b_ * wg.tensor(b)))(b)

    close(wg.vmap(plane)(a), a[:, None, None] * b[:, None] + np.outer(b, b))


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize("what", ["value", "gradient", "jacobian"])
def test_number_of_operations_does_not_depend_on_the_batch_size(f, what):
    g = {
        "value": f,
        "gradient": wg.grad(lambda x: wg.sum(f(x))),
        "jacobian": wg.jacobian(f, mode="reverse"),
    }[what]
    counts = {
        size: [op.primitive.name for op in wg.trace(wg.vmap(g))(wg.ones((size, 4))).operations]
        for size in (2, 3, 100)
    }
    assert counts[2] == counts[3] == counts[100]


def test_function_runs_once():
    calls = []
    wg.vmap(lambda x: calls.append(1) or x)(wg.ones(100))
    assert len(calls) == 1


def test_jacobian_runs_its_function_once():
    calls = []
    wg.jacobian(lambda x: calls.append(1) or wg.sin(x))(wg.ones(50))
    wg.jacobian(lambda x: calls.append(1) or wg.sin(x), mode="forward")(wg.ones(50))
    assert len(calls) == 2


# --- Errors ---------------------------------------------------------------------------------------


def test_batch_lengths_must_agree():
    listed = r"3 for argument 0 of shape \(3,\) along axis 0, argument 1\['x'\] of shape \(2, 3\) "
    listed += r"along axis 1; 2 for argument 1\['y'\] of shape \(2,\) along axis 0\. Mark shared"
    pair = {"x": wg.ones((2, 3)), "y": wg.ones(2)}
    with pytest.raises(ShapeError, match=f"must have one batch length, got {listed}"):
        wg.vmap(lambda a, b: a, (0, {"x": 1, "y": 0}))(wg.ones(3), pair)
    with pytest.raises(ShapeError, match="nothing is batched; give at least one argument an axis"):
        wg.vmap(lambda a: a, in_axes=None)(wg.ones(3))


def test_axes_must_fit():
    with pytest.raises(ShapeError, match=r"in_axes 0 does not fit argument 0 of shape \(\)"):
        wg.vmap(lambda a: a)(wg.tensor(1.0))
    with pytest.raises(ShapeError, match=r"in_axes -3 does not fit argument 0 of shape \(2, 2\)"):
        wg.vmap(lambda a: a, in_axes=-3)(wg.ones((2, 2)))
    with pytest.raises(ValueError, match=r"in_axes \(0,\) does not fit 2 arguments"):
        wg.vmap(lambda a, b: a, in_axes=(0,))(wg.ones(3), wg.ones(3))
    ones = {"x": wg.ones(3), "y": [wg.ones(3)]}
    for axes in ({"x": 0}, {"x": 0, "z": 0}, {"x": [0], "y": 0}, {"x": 0, "y": (0,)}, [0, 0]):
        with pytest.raises(
            ValueError, match=r"in_axes .* does not fit the structure of argument 1"
        ):
            wg.vmap(lambda a, b: a, in_axes=(0, axes))(wg.ones(3), ones)
    with pytest.raises(
        TypeError, match=r"must hold integers or None, got 'a' for argument 0\['y'\]\["
    ):
        wg.vmap(lambda a: a["x"], in_axes=({"x": 0, "y": "a"},))(ones)


def test_places_in_the_results_must_fit():
    f = lambda a: {"a": a, "b": (wg.ones(2), a)}  # noqa: E731
    with pytest.raises(
        ShapeError, match=r"out_axes 1 does not fit result\['a'\], which has 1 axes"
    ):
        wg.vmap(f, out_axes=1)(wg.ones(3))
    with pytest.raises(ValueError, match=r"out_axes is None for result\['b'\]\[1\], which differs"):
        wg.vmap(f, out_axes={"a": 0, "b": None})(wg.ones(3))
    with pytest.raises(
        ValueError, match=r"out_axes \(0, 1\) does not fit the structure of the result"
    ):
        wg.vmap(f, out_axes=(0, 1))(wg.ones(3))
    with pytest.raises(
        TypeError, match=r"out_axes 1\.5 must hold integers or None, got 1\.5 for resul"
    ):
        wg.vmap(f, out_axes=1.5)(wg.ones(3))


def test_values_cannot_be_asked_of_a_lane():
    with pytest.raises(TracerError, match=r"greater at test_vmap.py:\d+.*wg\.where"):
        wg.vmap(lambda x: x if x > 0 else -x)(wg.ones(3))
    with pytest.raises(TracerError, match=r"\.item\(\) needs the value"):
        wg.vmap(lambda x: x.item())(wg.ones(3))
    with pytest.raises(TracerError, match="boolean mask"):
        wg.vmap(lambda x: x[x > 0])(wg.ones((3, 2)))
    with pytest.raises(TracerError, match="needs the value"):
        wg.vmap(np.sin)(wg.ones(3))


def test_error_inside_names_the_shape_of_one_lane():
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(4,\).*test_vmap.py"):
        wg.vmap(lambda x: wg.ones((2, 3)) @ x)(wg.ones((5, 4)))


def test_lane_that_leaks_cannot_be_used():
    leaked = []
    wg.vmap(lambda x: leaked.append(2 * x) or x)(wg.ones(3))
    with pytest.raises(
        TracerError, match=r"made by mul at test_vmap.py:\d+\).*trace \(vmap\) had ended"
    ):
        leaked[0] + 1


# --- Effects --------------------------------------------------------------------------------------


def test_write_that_is_the_same_for_all_lanes_is_carried_out_once():
    counter, table = wg.zeros(2), wg.zeros(3)
    held = counter.detach()

    def f(x):
        counter.add_(1.0)
        table[1] = 5.0
        return x + counter[0]

    assert wg.vmap(f)(wg.ones(4)).tolist() == [2.0] * 4
    assert counter.tolist() == [1.0, 1.0]
    assert table.tolist() == [0.0, 5.0, 0.0]
    assert held.tolist() == [0.0, 0.0]


def test_write_that_differs_between_lanes_is_refused():
    total = wg.zeros(())
    with pytest.raises(
        RuntimeError, match=r"vmap: .*changed a tensor from outside \(f32\[\]\).*return"
    ):
        wg.vmap(total.add_)(wg.ones(4))
    assert total.item() == 0.0


def test_cells_made_inside_may_differ_between_lanes():
    def f(x):
        total = wg.zeros(())
        for i in range(3):
            total.add_(x[i] * i)
        return total

    assert wg.vmap(f)(wg.ones((2, 3))).tolist() == [3.0, 3.0]


def test_gradient_of_a_parameter_is_the_sum_over_lanes():
    w = wg.tensor([2.0], requires_grad=True)
    wg.sum(wg.vmap(lambda x: wg.sum(w * x))(wg.tensor([1.0, 2.0, 3.0]))).backward()
    assert w.grad.tolist() == [6.0]


def test_backward_inside_a_lane():
    def f(x):
        w = x.detach().requires_grad_()
        (w * w * x).backward()
        return w.grad

    assert f(wg.tensor(3.0)).item() == 18.0
    assert wg.vmap(f)(wg.tensor([3.0, 1.0])).tolist() == [18.0, 2.0]


def test_backward_inside_into_a_parameter_from_outside_is_refused():
    w = wg.tensor(2.0, requires_grad=True)

    def f(x):
        (w * x).backward()
        return x

    with pytest.raises(RuntimeError, match="vmap"):
        wg.vmap(f)(wg.ones(3))
    assert w.grad is None


def test_exception_restores_what_was_written():
    cell = wg.zeros(2)

    def f(x):
        cell.add_(1.0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wg.vmap(f)(wg.ones(3))
    assert cell.tolist() == [0.0, 0.0]
    assert (cell + 1).tolist() == [1.0, 1.0]


# --- Random numbers -------------------------------------------------------------------------------


def counter():
    return int(default_generator.state.tolist()[2])


def test_lanes_draw_numbers_of_their_own():
    drawn = wg.vmap(lambda x: x + wg.rand(8))(wg.zeros(4))
    assert len(np.unique(array(drawn))) == 32
    assert counter() == 4


def test_lanes_draw_numbers_of_their_own_each_time():
    def f(x):
        return wg.rand(8), wg.rand(8), wg.dropout(wg.ones(100), 0.5)

    first, second, masks = wg.vmap(f)(wg.zeros(4))
    assert len(np.unique(np.stack([array(first), array(second)]))) == 64
    assert len(np.unique(array(masks), axis=0)) == 4


def test_nested_lanes_draw_numbers_of_their_own():
    f = wg.vmap(wg.vmap(lambda x: x + wg.rand(8)))
    assert len(np.unique(array(f(wg.zeros((3, 5)))))) == 120
    assert counter() == 15


def test_lanes_with_generators_of_their_own_state():
    own = wg.Generator(5)
    drawn = wg.vmap(lambda x: x + wg.rand(4, generator=own))(wg.zeros(3))
    assert len(np.unique(array(drawn))) == 12
    assert counter() == 0


def test_draw_inside_is_the_same_traced_and_eager():
    f = wg.vmap(lambda x: x * wg.rand(3) + wg.randn(2)[0])
    x = wg.ones((4, 3))
    eager = f(x)
    wg.manual_seed(0)
    graph = wg.trace(f)(x)
    values = {"x": array(x), None: array(default_generator.state)}
    (traced, *_) = graph(*[values[v.name] for v in graph.inputs])
    np.testing.assert_array_equal(traced, array(eager))


# --- Memory ---------------------------------------------------------------------------------------


def test_nothing_is_kept(without_collector):
    watch = Watch()
    x = wg.ones((8, 4))
    for _ in range(3):
        x = watch(wg.vmap(wg.grad(lambda x: wg.sum(wg.exp(x))))(x) / 10)
    assert watch.alive() == 1
