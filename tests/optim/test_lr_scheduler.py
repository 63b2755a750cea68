"""Schedules of the learning rate."""

import math

import pytest

import wengert as wg
from wengert import nn, optim
from wengert.optim import lr_scheduler


def optimizer(lr=1.0, groups=1):
    return optim.SGD([{"params": [nn.Parameter(wg.ones(1))]} for _ in range(groups)], lr=lr)


def rates(scheduler, epochs):
    found = []
    for _ in range(epochs):
        found += scheduler.get_last_lr()
        scheduler.step()
    return found


def test_step():
    scheduler = lr_scheduler.StepLR(optimizer(), step_size=2, gamma=0.5)
    assert rates(scheduler, 6) == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_exponential():
    assert rates(lr_scheduler.ExponentialLR(optimizer(), gamma=0.5), 3) == [1.0, 0.5, 0.25]


def test_cosine_goes_down_and_up_again():
    found = rates(lr_scheduler.CosineAnnealingLR(optimizer(), T_max=4, eta_min=0.2), 17)
    expected = [0.2 + 0.8 * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(17)]
    assert found == pytest.approx(expected, rel=1e-12)


def test_lambda_of_each_group():
    made = optimizer(groups=2)
    scheduler = lr_scheduler.LambdaLR(made, [lambda t: 1 / (1 + t), lambda t: t])
    scheduler.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [1 / 3, 2.0]
    assert made.param_groups[1]["initial_lr"] == 1.0


def test_two_schedules_multiply():
    made = optimizer()
    schedules = [lr_scheduler.ExponentialLR(made, 0.5), lr_scheduler.StepLR(made, 1, 0.1)]
    for scheduler in schedules:
        scheduler.step()
    assert made.param_groups[0]["lr"] == pytest.approx(0.05)


def test_state_round_trip():
    made = optimizer()
    scheduler = lr_scheduler.StepLR(made, step_size=2, gamma=0.5)
    scheduler.step()
    state = scheduler.state_dict()
    assert state["last_epoch"] == 1
    assert "optimizer" not in state
    other = lr_scheduler.StepLR(made, step_size=7)
    other.load_state_dict(state)
    other.step()
    assert made.param_groups[0]["lr"] == 0.5


def test_functions_are_not_part_of_the_state():
    state = lr_scheduler.LambdaLR(optimizer(), lambda t: 1.0).state_dict()
    assert sorted(state) == ["base_lrs", "last_epoch"]


def test_continued_schedule_needs_the_initial_rate():
    with pytest.raises(
        KeyError, match="group 0 has no 'initial_lr', so the schedule cannot be con"
    ):
        lr_scheduler.ExponentialLR(optimizer(), 0.5, last_epoch=3)
    made = optimizer()
    lr_scheduler.ExponentialLR(made, 0.5)
    assert lr_scheduler.ExponentialLR(made, 0.5, last_epoch=3).last_epoch == 4


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: lr_scheduler.StepLR(optimizer(), 0),
            ValueError,
            "StepLR: step_size must be at le",
        ),
        (
            lambda: lr_scheduler.CosineAnnealingLR(optimizer(), 0),
            ValueError,
            "CosineAnnealingLR: T_max must be at least 1 epoch, got 0",
        ),
        (
            lambda: lr_scheduler.LambdaLR(optimizer(), []),
            ValueError,
            "the optimizer has 1 groups of parameters, got 0 functions",
        ),
        (lambda: lr_scheduler.ExponentialLR(3, 0.5), TypeError, "needs an optimizer, got int"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
