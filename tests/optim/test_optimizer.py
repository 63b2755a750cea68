"""What optimisers share: groups, state, errors."""

import copy

import numpy as np
import pytest

import wengert as wg
from wengert import nn, optim

ALL = [optim.SGD, optim.Adam, optim.AdamW]


def param(*values):
    return nn.Parameter(np.array(values))


def descend(x, optimizer, steps=1):
    for _ in range(steps):
        optimizer.zero_grad()
        (x * x).sum().backward()
        optimizer.step()


def test_sgd_by_hand():
    x = param(1.0, -2.0)
    descend(x, optim.SGD([x], lr=0.25))
    assert x.tolist() == [0.5, -1.0]


def test_momentum_by_hand():
    x = param(1.0)
    optimizer = optim.SGD([x], lr=0.25, momentum=0.5, dampening=0.5)
    descend(x, optimizer)  # b = g = 2
    assert x.tolist() == [0.5]
    descend(x, optimizer)  # g = 1, b = 0.5 * 2 + 0.5 * 1
    assert x.tolist() == [0.125]


def test_weight_decay_and_ascent_by_hand():
    x = param(1.0)
    descend(x, optim.SGD([x], lr=0.25, weight_decay=2.0))  # 2 x + 2 x
    assert x.tolist() == [0.0]
    x = param(1.0)
    descend(x, optim.SGD([x], lr=0.25, maximize=True))
    assert x.tolist() == [1.5]


def test_first_step_of_adam_is_the_learning_rate():
    x = param(3.0, -1e-3)
    descend(x, optim.Adam([x], lr=0.1, eps=0.0))
    np.testing.assert_allclose(x.detach(), [2.9, 0.099], rtol=1e-12)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam_by_its_formula(amsgrad):
    x = param(1.0, -2.0, 3.0)
    optimizer = optim.Adam([x], 0.1, (0.8, 0.9), 0.5, weight_decay=0.1, amsgrad=amsgrad)
    value, m, v, top = np.array([1.0, -2.0, 3.0]), 0.0, 0.0, 0.0
    for t, factor in enumerate([1.0, -3.0, 0.1, 0.2], start=1):
        x.grad = wg.tensor(factor * value**2)
        optimizer.step()
        g = factor * value**2 + 0.1 * value
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
        top = np.maximum(top, v)
        size = np.sqrt((top if amsgrad else v) / (1 - 0.9**t)) + 0.5
        value = value - 0.1 * m / (1 - 0.8**t) / size
        np.testing.assert_allclose(x.detach(), value, rtol=1e-12)


def test_decoupled_decay_does_not_enter_the_running_means():
    x = param(2.0)
    x.grad = wg.zeros(1, dtype=wg.float64)
    optim.AdamW([x], lr=0.1, weight_decay=0.5).step()
    assert x.tolist() == [1.9]
    x.grad = wg.zeros(1, dtype=wg.float64)
    optim.Adam([x], lr=0.1, weight_decay=0.5, eps=0.0).step()
    assert x.tolist() == pytest.approx([1.8], rel=1e-12)


@pytest.mark.parametrize("kind", ALL)
def test_parameters_stay_leaves_and_recording_is_restored(kind):
    x = param(1.0)
    optimizer = kind([x], lr=0.1)
    descend(x, optimizer, 3)
    assert x.is_leaf
    assert x.requires_grad
    assert wg.is_grad_enabled()
    (x * x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("kind", ALL)
def test_float32_parameters_stay_float32(kind):
    x = nn.Parameter(wg.ones(3))
    optimizer = kind([x], lr=0.1, weight_decay=0.1)
    descend(x, optimizer, 2)
    assert x.dtype == wg.float32
    kept = {key: cell.dtype for key, cell in optimizer.state[x].items()}
    assert {dtype for key, dtype in kept.items() if key != "step"} <= {wg.float32}
    assert kept.get("step", wg.int64) == wg.int64


def test_update_is_written_into_the_buffer_of_the_parameter():
    x = param(1.0, 2.0)
    optimizer = optim.SGD([x], lr=0.1, momentum=0.9)
    buffer, moment = x._variable.value, optimizer.state[x]["momentum_buffer"]._variable.value
    places = id(buffer), id(moment)
    del buffer, moment
    descend(x, optimizer, 2)
    assert places == (
        id(x._variable.value),
        id(optimizer.state[x]["momentum_buffer"]._variable.value),
    )


def test_gradient_is_not_changed_by_a_step():
    x = param(1.0, 2.0)
    optimizer = optim.SGD([x], lr=0.1, momentum=0.9, weight_decay=0.1, maximize=True)
    descend(x, optimizer)
    before = x.grad.tolist()
    optimizer.step()
    assert x.grad.tolist() == before


def test_values_seen_before_a_step_stay():
    x = param(1.0, 2.0)
    kept, y = x.detach(), x * 1.0
    descend(x, optim.SGD([x], lr=0.1))
    assert kept.tolist() == [1.0, 2.0]
    assert y.tolist() == [1.0, 2.0]


def test_parameters_without_gradient_are_left_alone():
    x, y = param(1.0), param(2.0)
    optimizer = optim.Adam([x, y], lr=0.1)
    descend(x, optimizer)
    assert y.tolist() == [2.0]
    assert optimizer.state[y]["step"].item() == 0
    assert optimizer.state[x]["step"].item() == 1


def test_settings_are_read_at_each_step():
    x = param(1.0)
    optimizer = optim.SGD([x], lr=0.25)
    optimizer.param_groups[0]["lr"] = 0.5
    descend(x, optimizer)
    assert x.tolist() == [0.0]


def test_momentum_switched_on_later():
    x = param(1.0)
    optimizer = optim.SGD([x], lr=0.25)
    optimizer.param_groups[0]["momentum"] = 0.5
    optimizer.param_groups[0]["dampening"] = 0.5
    descend(x, optimizer, 2)
    assert x.tolist() == [0.125]


def test_all_state_is_there_from_the_start():
    x = param(1.0, 2.0)
    assert optim.SGD([x]).state[x] == {}
    assert list(optim.SGD([x], momentum=0.9).state[x]) == ["momentum_buffer"]
    assert list(optim.Adam([x]).state[x]) == ["step", "exp_avg", "exp_avg_sq"]
    state = optim.Adam([x], amsgrad=True).state[x]
    assert list(state) == ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
    assert state["exp_avg"].tolist() == [0.0, 0.0]


def test_zero_grad():
    x = param(1.0)
    optimizer = optim.SGD([x])
    optimizer.zero_grad(set_to_none=False)
    (x * x).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert x.grad.tolist() == [0.0]
    optimizer.zero_grad()
    assert x.grad is None


def test_closure_is_recorded_and_its_loss_returned():
    x = param(3.0)
    optimizer = optim.SGD([x], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    with wg.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert x.tolist() == [0.0]
    assert optimizer.step() is None


def test_groups():
    x, y, z = param(1.0), param(1.0), param(1.0)
    optimizer = optim.SGD([{"params": [x]}, {"params": iter([y]), "lr": 0.5}], lr=0.25)
    optimizer.add_param_group({"params": z, "lr": 0.0})
    for each in (x, y, z):
        (each * each).sum().backward()
    optimizer.step()
    assert [each.item() for each in (x, y, z)] == [0.5, 0.0, 1.0]
    assert optimizer.defaults["lr"] == 0.25


# State


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (optim.SGD, {"momentum": 0.9, "dampening": 0.1}),
        (optim.SGD, {}),
        (optim.Adam, {"amsgrad": True}),
    ],
)
def test_state_round_trip(kind, settings):
    x, y = param(1.0, 2.0), param(1.0, 2.0)
    first, second = kind([x], lr=0.1, **settings), kind([y], lr=0.9, **settings)
    descend(x, first, 3)
    with wg.no_grad():
        y.copy_(x)
    saved = copy.deepcopy(first.state_dict())
    descend(x, first, 2)
    second.load_state_dict(saved)
    assert second.param_groups[0]["lr"] == 0.1
    descend(y, second, 2)
    assert y.tolist() == x.tolist()


def test_state_has_pytorchs_layout_and_is_a_snapshot():
    x, y = param(1.0), param(2.0)
    optimizer = optim.Adam([{"params": [x]}, {"params": [y], "lr": 0.5}])
    descend(x, optimizer)
    saved = optimizer.state_dict()
    assert list(saved) == ["state", "param_groups"]
    assert list(saved["state"]) == [0, 1]
    assert [group["params"] for group in saved["param_groups"]] == [[0], [1]]
    assert saved["param_groups"][1]["lr"] == 0.5
    assert type(saved["param_groups"][0]) is dict
    descend(x, optimizer)
    assert saved["state"][0]["step"].item() == 1


def test_state_of_a_fresh_optimizer_starts_anew():
    x = param(1.0)
    optimizer = optim.Adam([x])
    descend(x, optimizer, 2)
    optimizer.load_state_dict({"state": {}, "param_groups": optimizer.state_dict()["param_groups"]})
    assert optimizer.state[x]["step"].item() == 0
    assert optimizer.state[x]["exp_avg"].tolist() == [0.0]


def test_state_that_does_not_fit_is_refused_and_changes_nothing():
    x = param(1.0, 2.0)
    optimizer = optim.Adam([x], lr=0.1)
    fresh = optimizer.state_dict()

    def refused(message, state=None, **settings):
        groups = [{**fresh["param_groups"][0], "lr": 0.7, **settings}]
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict({"state": state or {}, "param_groups": groups})
        assert optimizer.param_groups[0]["lr"] == 0.1

    refused(r"the groups have \[1\] parameters here and \[2\] in the loaded state", params=[0, 1])
    refused("lr must be at least 0, got -1", lr=-1)
    refused(
        r"exp_avg of parameter 0 of shape \(2,\) has shape \(3,\) in the loaded state",
        {0: {"exp_avg": np.zeros(3)}},
    )
    refused("has 'momentum_buffer', which is that of another", {0: {"momentum_buffer": 1.0}})


def test_printed_form():
    assert repr(optim.SGD([param(1.0)], lr=0.1)) == (
        "SGD (\n"
        "Parameter Group 0\n"
        "    dampening: 0.0\n"
        "    lr: 0.1\n"
        "    maximize: False\n"
        "    momentum: 0.0\n"
        "    nesterov: False\n"
        "    weight_decay: 0.0\n"
        ")"
    )


# Errors


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([], ValueError, "SGD: there are no parameters to update; is this iterator used up"),
        (param(1.0), TypeError, r"SGD: params is one tensor; pass an iterable of them, such as mo"),
        (nn.Linear(1, 1), TypeError, r"SGD: params is a module; pass its parameters\(\)"),
        ({"params": []}, TypeError, "SGD: params is of type dict; pass an iterable"),
        (3, TypeError, "SGD: params is of type int"),
        ({param(1.0)}, TypeError, "SGD: params is a set, which has no order"),
        ([1.0], TypeError, "SGD: parameter 0 is no tensor but float"),
        (
            nn.Linear(1, 1).named_parameters(),
            TypeError,
            r"parameter 0 is no tensor but tuple; pass model\.parameters\(\)",
        ),
        ([param(1.0) * 2], ValueError, r"parameter 0 of shape \(1,\) was made by an operation"),
        ([wg.tensor([1])], wg.DTypeError, r"parameter 0 of shape \(1,\) is int64; only floating"),
        ([{"lr": 1.0}], TypeError, "a group of parameters must be a dict with the key 'params'"),
    ],
)
def test_wrong_parameters_are_refused(params, error, message):
    with pytest.raises(error, match=message):
        optim.SGD(params)


def test_parameter_given_twice_is_refused():
    layer = nn.Linear(2, 1)
    with pytest.raises(ValueError, match=r"parameter 1 \(weight\) of shape \(1, 2\) is given twic"):
        optim.SGD([layer.weight, layer.weight])
    optimizer = optim.SGD(layer.parameters())
    with pytest.raises(ValueError, match=r"parameter 0 \(bias\) of shape \(1,\) is given twice"):
        optimizer.add_param_group({"params": [layer.bias]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (optim.SGD, {"lr": -0.1}, r"SGD: lr must be at least 0, got -0\.1"),
        (optim.SGD, {"lr": float("nan")}, "SGD: lr must be at least 0, got nan"),
        (optim.SGD, {"momentum": -1}, "SGD: momentum must be at least 0, got -1"),
        (optim.SGD, {"weight_decay": -1}, "SGD: weight_decay must be at least 0, got -1"),
        (
            optim.SGD,
            {"nesterov": True},
            r"SGD: nesterov needs momentum above 0 and no dampening, got momentum 0\.0 and",
        ),
        (optim.Adam, {"eps": -1}, "Adam: eps must be at least 0, got -1"),
        (optim.AdamW, {"betas": (0.9, 1.0)}, r"AdamW: betas\[1\] must be at least 0 and below 1"),
    ],
)
def test_settings_out_of_range_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind([param(1.0)], **settings)
    with pytest.raises(ValueError, match=message):
        kind([{"params": [param(1.0)], **settings}])


def test_settings_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match=r"SGD: lr must be a number, got '0\.1'"):
        optim.SGD([param(1.0)], lr="0.1")


@pytest.mark.parametrize("value", [None, "0.1", (0.1,), np.ones(2), wg.ones(2)], ids=str)
def test_a_setting_stays_a_number(value):
    group = optim.SGD([param(1.0)], lr=0.5).param_groups[0]
    with pytest.raises(TypeError, match="'lr' of a group of parameters must be a number, got "):
        group["lr"] = value
    for number in (1, np.float32(0.25), wg.tensor(0.125), True):
        group["lr"] = number
    assert group["lr"] is True
