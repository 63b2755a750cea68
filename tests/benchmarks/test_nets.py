"""The networks' sizes, arithmetic and data."""

import numpy as np
import pytest

from benchmarks.nets import NETS, Net, make_inputs


@pytest.mark.parametrize(
    ("name", "title"),
    [("tiny", "2-2-2 (1)"), ("deep", "64x21-10 (64)"), ("table", "32-256-256-256-10 (256)")],
)
def test_titles(name, title):
    assert NETS[name].title == title


def test_flops_count_every_product_but_the_input_gradient():
    net = Net((2, 3, 5), batch=7)
    assert net.forward_flops == 2 * 7 * (2 * 3 + 3 * 5)
    assert net.step_flops == 3 * net.forward_flops - 2 * 7 * 2 * 3


def test_inputs_are_float32_and_the_same_each_time():
    first, second = make_inputs(NETS["digits"]), make_inputs(NETS["digits"])
    assert [weight.shape for weight in first.weights] == [(64, 128), (128, 10)]
    assert all(array.dtype == np.float32 for array in [*first.weights, *first.biases, first.x])
    assert first.labels.min() >= 0
    assert first.labels.max() < 10
    for one, other in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first.x, second.x)
