"""System D: modules with a local product each, the 2-2-2 example to 9 digits, `backward()`."""

from __future__ import annotations

import d_layers_as_modules as d
import numpy as np
import pytest

import wengert as wg


def layers_and_inputs():
    rng = np.random.default_rng(0)
    W, b, x = (wg.tensor(rng.normal(size=shape)) for shape in ((3, 4), (3,), (4,)))
    return [(d.Affine(W, b), x), (d.Logistic(), x), (d.HalfSquaredError(b), x[:3])]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_product_with_the_transposed_local_jacobian(place):
    layer, x = layers_and_inputs()[place]
    jacobian = wg.jacobian(layer.h)(x)
    a_bar = wg.tensor(np.random.default_rng(1).normal(size=layer(x).shape))
    expected = wg.tensordot(a_bar, jacobian, axes=a_bar.ndim)
    np.testing.assert_allclose(layer.to_input(a_bar).numpy(), expected.numpy(), rtol=1e-12)


def test_product_for_the_weights():
    layer, x = layers_and_inputs()[0]
    a_bar = wg.tensor(np.random.default_rng(1).normal(size=layer(x).shape))

    def loss(W, b):
        return wg.sum(a_bar * d.Affine(W, b)(x))

    by_W, by_b = wg.grad(loss, argnums=(0, 1))(layer.weights["W"], layer.b)
    found = layer.to_weights(a_bar)
    np.testing.assert_allclose(found["W"].numpy(), by_W.numpy(), rtol=1e-12)
    np.testing.assert_allclose(found["b"].numpy(), by_b.numpy(), rtol=1e-12)


def test_modules_chained_are_backpropagation():
    layers, x = d.net_222(), wg.tensor(d.INPUT)
    d.forward(layers, x)
    to_x, *_ = d.backward(layers)

    def loss(W1, W2, x):
        h = wg.sigmoid(W1 @ x + wg.tensor(d.B_HIDDEN))
        o = wg.sigmoid(W2 @ h + wg.tensor(d.B_OUTPUT))
        return 0.5 * wg.sum((wg.tensor(d.TARGET) - o) * (wg.tensor(d.TARGET) - o))

    weights = [layers[place].weights["W"] for place in (0, 2)]
    by_W1, by_W2, by_x = wg.grad(loss, argnums=(0, 1, 2))(*weights, x)
    for found, expected in (
        (layers[0].gradients["W"], by_W1),
        (layers[2].gradients["W"], by_W2),
        (to_x, by_x),
    ):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)


@pytest.fixture(scope="module")
def numbers():
    return d.numbers_222()


@pytest.mark.parametrize("name", d.EXPECTED)
def test_number_of_the_worked_example(numbers, name):
    assert d.agrees(numbers[name], d.EXPECTED[name])


def test_texts_have_nine_digits_or_are_exact():
    for name, text in d.EXPECTED.items():
        digits = len(text.lstrip("-").lstrip("0.").replace(".", ""))
        exact = name in {"net_h1", "net_h2", "∂net_o1/∂out_h1", "∂net_h1/∂w1"}
        # The text drops zeros at the end, and counts decimals where a number is small.
        assert digits >= 8 or exact or len(text.partition(".")[2]) == 9, name


def test_agreement_is_to_the_last_digit():
    assert d.agrees(0.29837110876, "0.298371109")
    assert not d.agrees(0.298371110, "0.298371109")
    assert d.agrees(3.51018778e-05, "0.0000351018778")


@pytest.fixture(scope="module", params=["modules", "nn"])
def trained(request):
    return (d.train_222 if request.param == "modules" else d.train_222_by_nn)(10_000)


@pytest.mark.parametrize("updates", d.LOSSES)
def test_loss_after_updates(trained, updates):
    assert d.agrees(trained.losses[updates], d.LOSSES[updates])


def test_first_update_gives_what_the_rule_of_the_text_gives(trained):
    assert trained.losses[0] == pytest.approx(0.29837110876, abs=5e-12)
    assert trained.losses[1] == pytest.approx(0.291027773694, abs=1e-12)
    assert not d.agrees(trained.losses[1], d.LOSSES_IN_PLACE[1])


def test_outputs_and_weights_after_ten_thousand_updates(trained):
    assert all(map(d.agrees, trained.outputs, d.OUTPUTS))
    assert len(trained.weights) == len(d.WEIGHTS)
    assert all(map(d.agrees, trained.weights, d.WEIGHTS))


def test_old_script_gives_the_figures_that_the_text_kept():
    trained = d.train_222(10_000, in_place=True)
    for updates, text in d.LOSSES_IN_PLACE.items():
        assert d.agrees(trained.losses[updates], text)
    assert all(map(d.agrees, trained.outputs, d.OUTPUTS_IN_PLACE))


def test_eager_steps_are_those_of_the_compiled_training():
    layers, x = d.net_222(), wg.tensor(d.INPUT)
    losses = []
    for _ in range(20):
        losses.append(d.forward(layers, x).item())
        d.backward(layers)
        for layer in layers:
            layer.update(d.RATE)
    np.testing.assert_allclose(losses, d.train_222(20).losses[:20], rtol=1e-13)


def test_gradients_accumulate_until_zeroed():
    assert d.accumulation() == [[2.0, 4.0], [4.0, 8.0], [2.0, 4.0]]


def test_array_needs_an_incoming_gradient():
    said, found = d.incoming_gradient()
    assert "shape (3,) needs an incoming gradient" in said
    assert found == [2.0, 40.0, 600.0]


def test_graph_is_freed_unless_kept():
    said, found = d.freed_graph()
    assert "was freed by an earlier backward pass" in said
    assert "retain_graph=True" in said
    assert found == [4.0, 8.0]


@pytest.mark.parametrize(
    ("units", "first", "last"), [(2, "0.280471447", "2.4476e-06"), (1, "0.285750887", "4.3553e-06")]
)
def test_trained_biases_lead_elsewhere(units, first, last):
    # One bias for each unit, or one for a layer: the figures of the text are of neither.
    weights = [wg.tensor(W, requires_grad=True) for W in (d.W_HIDDEN, d.W_OUTPUT)]
    biases = [wg.tensor(b[:units], requires_grad=True) for b in (d.B_HIDDEN, d.B_OUTPUT)]
    optimizer = wg.optim.SGD([*weights, *biases], lr=d.RATE)

    @wg.compile
    def step():
        z = wg.tensor(d.INPUT)
        for W, b in zip(weights, biases, strict=True):
            z = wg.sigmoid(W @ z + b)
        loss = 0.5 * wg.sum((wg.tensor(d.TARGET) - z) * (wg.tensor(d.TARGET) - z))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step().item() for _ in range(10_001)]
    assert d.agrees(losses[1], first)
    assert f"{losses[10_000]:.4e}" == last
