"""Initial weights: their range and scale, and where they are drawn from."""

import math

import numpy as np
import pytest

import wengert as wg
from wengert import nn
from wengert.nn import init

WIDE = (200, 300)


def drawn(fill, shape=WIDE):
    wg.manual_seed(1)
    weight = wg.zeros(shape)
    assert fill(weight) is weight
    return weight.numpy()


def assert_uniform(values, bound):
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > 0.99 * bound
    assert abs(values.std() / (bound / math.sqrt(3)) - 1) < 0.02
    assert abs(values.mean()) < 0.02 * bound


def assert_normal(values, deviation):
    assert abs(values.std() / deviation - 1) < 0.02
    assert abs(values.mean()) < 0.02 * deviation
    assert abs((np.abs(values) < deviation).mean() - 0.6827) < 0.01


def test_kaiming():
    assert_uniform(drawn(init.kaiming_uniform_), math.sqrt(6 / 300))
    assert_normal(drawn(init.kaiming_normal_), math.sqrt(2 / 300))
    assert_uniform(
        drawn(lambda w: init.kaiming_uniform_(w, mode="fan_out", nonlinearity="tanh")),
        5 / 3 * math.sqrt(3 / 200),
    )
    assert_uniform(drawn(lambda w: init.kaiming_uniform_(w, a=math.sqrt(5))), 1 / math.sqrt(300))


def test_xavier():
    assert_uniform(drawn(init.xavier_uniform_), math.sqrt(6 / 500))
    assert_normal(drawn(lambda w: init.xavier_normal_(w, gain=2.0)), 2 * math.sqrt(2 / 500))


def test_fans_of_a_convolution_count_its_window():
    assert init.fans(wg.zeros((6, 2, 3, 5))) == (30, 90)
    assert_uniform(drawn(init.kaiming_uniform_, (60, 20, 3, 5)), math.sqrt(6 / 300))


def test_simple_fillings():
    assert drawn(lambda w: init.constant_(w, 3.0), (2,)).tolist() == [3.0, 3.0]
    assert drawn(init.ones_, (2,)).tolist() == [1.0, 1.0]
    assert init.zeros_(wg.ones(2)).tolist() == [0.0, 0.0]
    assert_normal(drawn(lambda w: init.normal_(w, std=0.1)), 0.1)
    values = drawn(lambda w: init.uniform_(w, 2.0, 4.0))
    assert values.min() >= 2
    assert values.max() < 4
    assert abs(values.mean() - 3) < 0.02


def test_defaults_of_linear_and_convolution():
    wg.manual_seed(0)
    linear = nn.Linear(100, 400)
    assert_uniform(linear.weight.detach().numpy(), 0.1)
    assert np.abs(linear.bias.detach().numpy()).max() <= 0.1
    assert np.ptp(linear.bias.detach().numpy()) > 0.15
    conv = nn.Conv2d(4, 500, 5)
    assert_uniform(conv.weight.detach().numpy(), 0.1)
    assert np.abs(conv.bias.detach().numpy()).max() <= 0.1


def test_same_seed_gives_the_same_weights():
    def weights(seed):
        wg.manual_seed(seed)
        return nn.Linear(3, 2).weight.tolist()

    assert weights(3) == weights(3)
    assert weights(3) != weights(4)


def test_another_generator():
    before = wg.rand(1)
    one = init.uniform_(wg.zeros(3), generator=wg.Generator(5)).tolist()
    two = init.uniform_(wg.zeros(3), generator=wg.Generator(5)).tolist()
    assert one == two
    assert before.tolist() != one[:1]


def test_parameters_stay_leaves_and_float64_is_drawn_in_float64():
    weight = nn.Parameter(wg.zeros((30, 30), dtype=wg.float64))
    init.kaiming_normal_(weight)
    assert weight.is_leaf
    assert weight.requires_grad
    values = weight.detach().numpy()
    assert values.dtype == np.float64
    assert np.any(values != values.astype(np.float32))


@pytest.mark.parametrize(
    ("name", "param", "gain"),
    [
        ("linear", None, 1.0),
        ("conv2d", None, 1.0),
        ("sigmoid", None, 1.0),
        ("tanh", None, 5 / 3),
        ("relu", None, math.sqrt(2)),
        ("selu", None, 0.75),
        ("leaky_relu", None, math.sqrt(2 / 1.0001)),
        ("leaky_relu", 2.0, math.sqrt(0.4)),
    ],
)
def test_gains(name, param, gain):
    assert init.calculate_gain(name, param) == pytest.approx(gain, rel=1e-15)


def test_errors():
    with pytest.raises(ValueError, match="unknown function 'swish'; there are linear, "):
        init.calculate_gain("swish")
    with pytest.raises(
        wg.ShapeError, match=r"need a weight of at least two axes, got shape \(3,\)"
    ):
        init.xavier_uniform_(wg.zeros(3))
    with pytest.raises(ValueError, match="mode must be 'fan_in' or 'fan_out', got 'fan'"):
        init.kaiming_uniform_(wg.zeros((2, 2)), mode="fan")
