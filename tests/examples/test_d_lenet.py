"""System D: LeNet has the tutorial's shapes, parameters and chain, and takes one right step."""

from __future__ import annotations

import d_lenet as d
import numpy as np
import pytest

import wengert as wg


@pytest.fixture
def net():
    wg.manual_seed(0)
    return d.LeNet()


@pytest.mark.parametrize("images", [1, 3])
def test_shapes(net, images):
    assert [shape for _, shape in d.shapes(net, images)] == [
        (images, 1, 32, 32),
        (images, 6, 28, 28),
        (images, 6, 14, 14),
        (images, 16, 10, 10),
        (images, 16, 5, 5),
        (images, 400),
        (images, 120),
        (images, 84),
        (images, 10),
    ]


def test_parameters(net):
    rows = d.parameters(net)
    assert len(rows) == 10
    assert rows[0] == ("conv1.weight", (6, 1, 5, 5), 150)
    counts = [count for _, _, count in rows]
    layers = [weight + bias for weight, bias in zip(counts[::2], counts[1::2], strict=True)]
    assert layers == [156, 2416, 48_120, 10_164, 850]
    assert sum(counts) == 61_706


def test_chain_is_the_line_of_the_tutorial(net):
    assert d.chain(net) == (
        "input -> conv2d -> relu -> maxpool2d -> conv2d -> relu -> maxpool2d -> flatten "
        "-> linear -> relu -> linear -> relu -> linear -> MSELoss -> loss"
    )


def test_step_moves_each_parameter_against_its_gradient(net):
    x, target = d.example()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    (loss, after), off = d.step(net, x, target)
    assert len(off) == 10
    assert max(off.values()) == 0.0
    assert after < loss
    for name, p in net.named_parameters():
        assert np.any(p.detach().numpy() != before[name].numpy()), name


def test_gradient_is_that_of_finite_differences():
    wg.manual_seed(1)
    net = d.LeNet().double()
    x, target = (v.astype(wg.float64) for v in d.example())
    loss = wg.nn.MSELoss()
    loss(net(x), target).backward()
    rng, step = np.random.default_rng(0), 1e-6
    for name, p in net.named_parameters():
        direction = rng.normal(size=p.shape)
        values, at = [], p.detach().clone()
        with wg.no_grad():
            for sign in (1, -1):
                p.copy_(at + sign * step * direction)
                values.append(loss(net(x), target).item())
            p.copy_(at)
        slope = (values[0] - values[1]) / (2 * step)
        assert np.sum(p.grad.numpy() * direction) == pytest.approx(slope, rel=1e-5, abs=1e-8), name
