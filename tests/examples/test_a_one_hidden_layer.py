"""System A: the equations of section 5.3 of Dive into Deep Learning hold, and so do its bytes."""

from __future__ import annotations

import re

import a_one_hidden_layer as a
import numpy as np
import pytest

import wengert as wg

WIDTH = 32


def close(x, y):
    np.testing.assert_allclose(
        np.asarray(x.detach()), np.asarray(y.detach()), rtol=1e-12, atol=1e-12
    )


def test_equations_stand_in_the_order_of_the_text():
    # Nothing is used before it is there: each ∂ that an equation names is a key further up.
    seen: list[str] = []
    for name, equation in a.EQUATIONS.items():
        for needed in re.findall(r"∂J/∂\w+", equation):
            assert needed in seen, f"{name} needs {needed}"
        seen.append(name)
    assert seen[0] == "∂J/∂L"
    assert seen[-1] == "∂J/∂W1"


@pytest.mark.parametrize("phi", a.TRANSITIONS)
@pytest.mark.parametrize("loss", a.LOSSES)
@pytest.mark.parametrize("sizes", [(3, 4, 2), (1, 1, 1), (5, 2, 7)])
def test_each_equation_is_what_backpropagation_gives(phi, loss, sizes):
    arrays = a.problem(*sizes, seed=3)
    by_hand = a.backward_by_hand(*arrays, phi, loss)
    found = a.backward_by_wengert(*arrays, phi, loss)
    assert list(by_hand) == list(found) == list(a.EQUATIONS)
    for name, value in by_hand.items():
        assert value.shape == found[name].shape, name
        close(value, found[name])


@pytest.mark.parametrize("phi", a.TRANSITIONS)
@pytest.mark.parametrize("loss", a.LOSSES)
def test_gradients_are_finite_differences(phi, loss):
    x, y, W1, W2 = a.problem(seed=4)
    found = a.backward_by_wengert(x, y, W1, W2, phi, loss)
    step = 1e-6
    for name, at in (("∂J/∂W1", W1), ("∂J/∂W2", W2)):
        for index in np.ndindex(at.shape):
            values = []
            for sign in (1, -1):
                moved = at.numpy().copy()
                moved[index] += sign * step
                weights = (moved, W2) if at is W1 else (W1, moved)
                values.append(a.forward(x, y, *map(wg.tensor, weights), phi, loss)["J"].item())
            slope = (values[0] - values[1]) / (2 * step)
            assert found[name].numpy()[index] == pytest.approx(slope, abs=1e-8)


def test_weight_decay_alone_gives_lambda_times_the_weights():
    x, y, W1, W2 = a.problem()
    found = a.backward_by_wengert(x, y, W1, W2, "tanh", "squared")
    np.testing.assert_allclose(found["∂s/∂W1"].numpy(), 0.1 * W1.numpy(), rtol=1e-15)
    np.testing.assert_allclose(found["∂s/∂W2"].numpy(), 0.1 * W2.numpy(), rtol=1e-15)


def test_prod_is_the_chain_rule_for_arrays_of_any_shape():
    dZ_dY, dY_dX, product, direct = a.higher_rank_chain()
    assert (dZ_dY.shape, dY_dX.shape) == ((5, 4, 2), (4, 2, 2, 3))
    assert product.shape == (5, 2, 3)
    close(product, direct)


def test_prod_hides_the_transpose_of_the_outer_product():
    jacobian, product, outer = a.outer_product_as_prod()
    assert jacobian.shape == (2, 1, 2, 4)
    close(product, outer)


def test_graphs_carry_the_names_of_the_text():
    graph, backward = a.graphs()
    assert [v.name for v in graph.inputs] == ["x", "y", "W1", "W2"]
    text = str(graph)
    for name in ("z", "h", "o", "L", "s", "J"):
        assert f"\n  {name}: f64[" in text
    # ∂J/∂L and ∂J/∂s are one variable, the 1 that everything starts from.
    assert [v.name for v in backward.outputs] == ["∂L", "∂L", "∂o", "∂W2", "∂h", "∂z", "∂W1"]
    wg.verify(graph)
    wg.verify(backward)


@pytest.mark.parametrize("phi", a.TRANSITIONS)
@pytest.mark.parametrize("loss", a.LOSSES)
def test_backward_graph_gives_each_gradient(phi, loss):
    arrays = a.problem(seed=0)
    _, backward = a.graphs(phi, loss)
    by_hand = a.backward_by_hand(*arrays, phi, loss)
    wanted = [value for name, value in by_hand.items() if name.startswith("∂J")]
    for value, expected in zip(backward(*(x.numpy() for x in arrays)), wanted, strict=True):
        np.testing.assert_allclose(value, expected.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("layers", "batch"), [(1, 16), (4, 16), (8, 16), (8, 64)])
def test_training_keeps_layers_times_batch(layers, batch):
    assert a.memory(layers, batch)["kept"] == layers * batch * WIDTH * 8


def test_prediction_does_not_grow_with_depth():
    shallow, deep = (a.memory(layers, 64)["prediction"] for layers in (4, 64))
    assert shallow == deep == 2 * 64 * WIDTH * 8


def test_training_takes_more_than_prediction_and_checkpointing_trades_it():
    counted = a.memory(layers=16, batch=512)
    assert counted["training"] > 8 * counted["prediction"]
    assert counted["checkpointed"] < counted["training"] / 2
    # √L segments: the peak doubles with four times the layers (the weights' gradients aside).
    weights_gradients = WIDTH * WIDTH * 8
    small, large = (
        a.memory(layers, 512)["checkpointed"] - layers * weights_gradients for layers in (16, 64)
    )
    assert large < 2.1 * small


def test_checkpointing_changes_no_bit_of_the_gradient():
    weights, x = a.deep_problem(9, 16, 8)
    plain = wg.grad(a.deep_loss)(weights, x)
    thrifty = wg.grad(a.deep_loss)(weights, x, segments=3)
    for first, second in zip(plain, thrifty, strict=True):
        np.testing.assert_array_equal(first.numpy(), second.numpy())


def test_counted_bytes_are_held_by_an_eager_forward_pass():
    # The tape may hold z besides h; what Python itself needs is small beside 8 × 512 × 32 floats.
    kept = a.memory(8, 512)["kept"]
    held = a.measured_bytes(8, 512, grad=True)
    assert kept <= held <= 2.2 * kept
    assert a.measured_bytes(8, 512, grad=False) < kept / 100
