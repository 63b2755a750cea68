"""What a compiled step switches itself: training and evaluation, frozen parameters, rates."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import TracerError

pytest.importorskip("llvmlite")

X = np.array([[0.5, -1.0, 0.25], [2.0, 0.3, -0.5]], np.float32)


class Noisy(wg.nn.Module):
    """Doubles its input in training, and says in which mode it was called."""

    def forward(self, x):
        return x * 2 if self.training else x


def make_net():
    wg.manual_seed(0)
    return wg.nn.Sequential(wg.nn.Linear(3, 4), Noisy(), wg.nn.Linear(4, 1))


def test_modes_set_inside_are_set_at_each_call_and_do_not_compile_again():
    def run(make):
        net, seen = make_net(), []

        def training(x):
            net.train()
            return net(x)

        def evaluation(x):
            net.eval()
            return net(x)

        def both(x):
            net[1].train()
            y = net(x)
            net[1].eval()
            return y - net(x)

        steps = [make(step) for step in (training, evaluation, both)]
        for step in steps * 3:
            value = step(X).tolist()
            seen.append((value, net.training, net[1].training))
        return seen, steps

    (compiled, steps), (eager, _) = run(wg.compile), run(lambda f: f)
    assert [modes for _, *modes in compiled] == [modes for _, *modes in eager]
    for (one, *_), (other, *_) in zip(compiled, eager, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert [step.compilations for step in steps] == [["first call"]] * 3


def test_a_mode_read_before_it_is_set_is_a_guard():
    net = Noisy()

    def toggle(x):
        y = net(x)
        net.train(not net.training)
        return y

    compiled = wg.compile(toggle)
    assert [compiled(wg.ones(1)).item() for _ in range(4)] == [2, 1, 2, 1]
    assert compiled.compilations == ["first call", "changed: Noisy.training"]


def test_parameters_are_frozen_and_thawed_inside_a_step():
    def run(make):
        maker, judge = make_net(), make_net()
        maker[2] = wg.nn.Linear(4, 3)
        wg.nn.init.ones_(maker[2].weight)
        of_maker = wg.optim.SGD(maker.parameters(), lr=0.1, momentum=0.5)
        of_judge = wg.optim.SGD(judge.parameters(), lr=0.1)

        def step(x):
            made = maker(x)
            judge.requires_grad_(False)
            of_maker.zero_grad()
            loss = wg.mean(judge(made) ** 2)
            loss.backward()
            assert all(p.grad is None for p in judge.parameters())
            of_maker.step()
            judge.requires_grad_(True)
            of_judge.zero_grad()
            wg.mean((judge(made.detach()) - 1) ** 2).backward()
            of_judge.step()
            assert all(p.is_leaf and p.requires_grad for p in judge.parameters())
            for p in judge.parameters():
                p.grad = None
            return loss

        step = make(step)
        losses = [step(X).item() for _ in range(3)]
        values = [p.tolist() for net in (maker, judge) for p in net.parameters()]
        return losses, values, [p.requires_grad for p in judge.parameters()], step

    losses, values, required, step = run(wg.compile)
    expected = run(lambda f: f)
    np.testing.assert_allclose(losses, expected[0], rtol=1e-5)
    for one, other in zip(values, expected[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert required == expected[2]
    assert step.compilations == ["first call"]


def test_a_parameter_stays_frozen_after_the_call():
    w, v = (wg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))

    @wg.compile
    def step(x, v):
        w.requires_grad_(False)
        v.requires_grad_(False)
        w.add_(1.0)
        return w * v * x

    for count in (1, 2):
        assert step(wg.ones(2), v).tolist() == [1.0 + count, 4.0 + 2 * count]
        assert not w.requires_grad
        assert not v.requires_grad
        assert w.tolist() == [1.0 + count, 2.0 + count]


def test_a_frozen_parameter_keeps_its_name():
    weight = wg.nn.Linear(2, 1).weight
    weight.requires_grad_(False)
    assert weight.name == "weight"
    weight.requires_grad_(True)
    assert weight.name == "weight"


def test_a_leaf_stays_a_leaf_when_it_is_changed_in_a_trace():
    w = wg.tensor([1.0, 2.0], requires_grad=True)
    seen = []

    def step():
        with wg.no_grad():
            w.mul_(2.0)
        seen.append(w.is_leaf)

    wg.compile(step)()
    assert seen == [True]


@pytest.mark.parametrize("set_rate", ["scheduler", "entry"])
def test_a_rate_set_inside_is_refused(set_rate):
    w = wg.tensor([1.0], requires_grad=True)
    optimizer = wg.optim.SGD([w], lr=0.5)
    scheduler = wg.optim.lr_scheduler.StepLR(optimizer, 1)

    def step():
        optimizer.zero_grad()
        wg.sum(w * w).backward()
        optimizer.step()
        if set_rate == "scheduler":
            scheduler.step()
        else:
            optimizer.param_groups[0]["lr"] *= 0.5

    match = r"optimizer: 'lr' .* inside a traced function \(step\).*outside of it"
    with pytest.raises(TracerError, match=match):
        wg.compile(step)()
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert w.tolist() == [1.0]


class Settings:
    weight = wg.tensor([1.0])


def test_an_attribute_of_a_class_is_replaced(monkeypatch):
    compiled = wg.compile(lambda x: Settings.weight * x)
    assert compiled(wg.ones(1)).item() == 1.0
    monkeypatch.setattr(Settings, "weight", wg.tensor([3.0]))
    assert compiled(wg.ones(1)).item() == 3.0
    assert compiled.compilations == ["first call", "changed: Settings.weight is another object"]
