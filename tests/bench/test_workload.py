"""Workloads: titles, layers, arithmetic, data."""

from dataclasses import replace

import numpy as np
import pytest

from wengert.bench.inputs import lengths, make_inputs, rows_out
from wengert.bench.workload import Workload

NET = Workload((2, 3, 5), 7)
LENET = Workload((400, 120, 84, 10), 2, convolutions=True)


@pytest.mark.parametrize(
    ("workload", "title"),
    [
        (Workload((2, 2, 2), 1), "2-2-2 (1)"),
        (Workload((64,) * 21 + (10,), 64), "64x21-10 (64)"),
        (Workload((32, 256, 256, 256, 10), 256), "32-256-256-256-10 (256)"),
        (replace(NET, activation="tanh", optimizer="adam"), "2-3-5 (7) tanh adam"),
        (replace(NET, norm=True, dropout=0.25), "2-3-5 (7) layer-norm dropout 0.25"),
        (replace(NET, loss="mse", kind="hvp"), "2-3-5 (7) mse hvp"),
        (LENET, "LeNet 1x28x28 (2)"),
    ],
)
def test_titles(workload, title):
    assert workload.title == title


def test_flops_count_every_product_but_the_input_gradient():
    assert NET.forward_flops == 2 * 7 * (2 * 3 + 3 * 5)
    assert NET.step_flops == 3 * NET.forward_flops - 2 * 7 * 2 * 3


def test_flops_of_a_product_with_the_hessian_are_those_of_its_graph():
    # The first layer: xW, xV, and xᵀċ for the tangent ċ of its cotangent c. The second, with
    # h and its tangent ḣ: hW, hV, ḣW; cWᵀ, cVᵀ, ċWᵀ; ḣᵀc, hᵀċ.
    first, second = NET.products
    assert replace(NET, kind="hvp").step_flops == 3 * first + 8 * second


def test_convolutions_count_each_pixel_of_the_result():
    first, second = LENET.products[:2]
    assert first == 2 * 2 * 28 * 28 * 25 * 6
    assert second == 2 * 2 * 10 * 10 * 25 * 6 * 16


def test_layers_of_a_network_with_everything():
    kinds = [layer.kind for layer in replace(LENET, norm=True, dropout=0.5).layers]
    hidden = ["linear", "norm", "activation", "dropout"]
    assert kinds == [*["conv", "activation", "pool"] * 2, "flatten", *hidden * 2, "linear"]


def test_a_worker_is_sent_what_it_can_rebuild():
    case = replace(NET, kind="hvp").case(2, eager=True)
    assert Workload.of(case | {"workload": dict(case["workload"], widths=[2, 3, 5])}) == replace(
        NET, kind="hvp"
    )
    assert (case["threads"], case["eager"]) == (2, True)


def test_weights_alone_are_counted():
    assert replace(NET, norm=True).weight_bytes == 4 * (2 * 3 + 3 * 5)


def test_inputs_are_float32_and_the_same_each_time():
    first, second = make_inputs(NET), make_inputs(NET)
    assert [weight.shape for weight in first.weights] == [(2, 3), (3, 5)]
    assert all(array.dtype == np.float32 for array in [*first.weights, *first.biases, first.x])
    assert first.target.min() >= 0
    assert first.target.max() < 5
    for one, other in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first.x, second.x)


@pytest.mark.parametrize(("loss", "values"), [("mse", 35), ("binary", 2)])
def test_targets_of_other_losses_are_numbers(loss, values):
    target = make_inputs(replace(NET, loss=loss)).target
    assert (target.shape, target.dtype) == ((7, 5), np.float32)
    assert len(np.unique(target)) == values


def test_modules_hold_the_transpose_of_linear_weights_alone():
    inputs = make_inputs(LENET)
    turned = rows_out(LENET, inputs.parameters)
    np.testing.assert_array_equal(turned[0][0], inputs.weights[0])
    np.testing.assert_array_equal(turned[2][0], inputs.weights[2].T)


def test_lengths_do_not_depend_on_the_way_round():
    array = np.arange(6.0).reshape(2, 3)
    assert lengths([array]) == lengths([array.T]) == [pytest.approx(55**0.5)]
