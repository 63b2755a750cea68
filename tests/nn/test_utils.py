"""Limits on gradients."""

import math

import numpy as np
import pytest

import wengert as wg
from wengert import nn


def params_with_gradients(*grads):
    made = []
    for grad in grads:
        param = nn.Parameter(wg.zeros(len(grad), dtype=wg.float64))
        param.grad = wg.tensor(np.array(grad))
        made.append(param)
    return made


@pytest.mark.parametrize(("kind", "norm"), [(2.0, 13.0), (1.0, 19.0), (math.inf, 12.0), (3, None)])
def test_norm_of_all_gradients_together(kind, norm):
    params = params_with_gradients([3.0, -4.0], [12.0])
    norm = norm or (27 + 64 + 1728) ** (1 / 3)
    total = nn.utils.clip_grad_norm_(params, 1.0, kind)
    assert total.item() == pytest.approx(norm, rel=1e-12)
    scaled = np.concatenate([p.grad.numpy() for p in params])
    np.testing.assert_allclose(scaled, np.array([3.0, -4.0, 12.0]) / norm, rtol=1e-5)


def test_small_gradients_are_left_alone():
    (param,) = params_with_gradients([0.3, 0.4])
    assert nn.utils.clip_grad_norm_(param, 1.0).item() == pytest.approx(0.5)
    assert param.grad.tolist() == [0.3, 0.4]


def test_parameters_without_gradient_are_left_out():
    param = nn.Parameter(wg.zeros(2))
    assert nn.utils.clip_grad_norm_([param], 1.0).item() == 0.0
    nn.utils.clip_grad_value_([param], 1.0)
    assert param.grad is None


def test_mixed_dtypes():
    wide, narrow = params_with_gradients([3.0])[0], nn.Parameter(wg.zeros(1))
    narrow.grad = wg.tensor([4.0])
    assert nn.utils.clip_grad_norm_([wide, narrow], 1.0).item() == pytest.approx(5.0)
    assert narrow.grad.dtype == wg.float32
    assert narrow.grad.item() == pytest.approx(0.8, rel=1e-5)


def test_norm_that_is_not_finite_can_be_refused():
    params = params_with_gradients([math.inf])
    with pytest.raises(RuntimeError, match="clip_grad_norm_: the norm of the gradients is inf"):
        nn.utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)


def test_values():
    (param,) = params_with_gradients([3.0, -0.5, -7.0])
    nn.utils.clip_grad_value_(param, 1.0)
    assert param.grad.tolist() == [1.0, -0.5, -1.0]


def test_clipping_can_be_traced():
    net = nn.Linear(2, 1)

    def step(x):
        net.zero_grad()
        net(x).sum().backward()
        return nn.utils.clip_grad_norm_(net.parameters(), 1.0)

    graph = wg.trace(step)(wg.ones((1, 2)))
    assert graph.outputs[0].shape == ()
    assert net.weight.grad is None
