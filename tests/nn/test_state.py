"""Weights on their way out of a module and in."""

import numpy as np
import pytest

import wengert as wg
from wengert import nn


def net(width=3):
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))


def values(module):
    return {key: value.tolist() for key, value in module.state_dict().items()}


def test_round_trip():
    mine, theirs = net(), net()
    assert values(mine) != values(theirs)
    result = mine.load_state_dict(theirs.state_dict())
    assert values(mine) == values(theirs)
    assert result == ([], [])
    assert result.missing_keys == []


def test_keys_are_pytorchs():
    assert list(net().state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert next(iter(net().state_dict(prefix="m."))) == "m.0.weight"


def test_numpy_arrays_are_accepted_and_copied():
    module = net()
    arrays = {key: np.ones(t.shape, np.float32) for key, t in module.state_dict().items()}
    module.load_state_dict(arrays)
    arrays["0.bias"][:] = 5
    assert module[0].bias.tolist() == [1.0, 1.0, 1.0]


def test_loading_keeps_the_parameters_themselves():
    module = net()
    before = list(module.parameters())
    module.load_state_dict(net().state_dict())
    assert [a is b for a, b in zip(before, module.parameters(), strict=True)] == [True] * 4
    assert all(p.requires_grad and p.is_leaf for p in module.parameters())


def test_state_dict_is_a_snapshot():
    module = net()
    kept = module.state_dict()
    exported = kept["0.bias"].numpy()
    before = exported.tolist()
    with wg.no_grad():
        module[0].bias.fill_(9.0)
    assert kept["0.bias"].tolist() == before
    assert exported.tolist() == before
    assert not kept["0.bias"].requires_grad


def test_keep_vars_returns_the_parameters():
    module = net()
    assert module.state_dict(keep_vars=True)["0.weight"] is module[0].weight


def test_persistent_buffers_only():
    loss = nn.CrossEntropyLoss(weight=wg.ones(3))
    loss.register_buffer("scratch", wg.ones(1), persistent=False)
    assert list(loss.state_dict()) == ["weight"]
    assert list(nn.CrossEntropyLoss().state_dict()) == []


def test_missing_and_unexpected_keys_are_named():
    module, weights = net(), net().state_dict()
    weights["3.bias"] = weights.pop("2.bias")
    before = values(module)
    with pytest.raises(
        RuntimeError,
        match=r"do not fit Sequential: missing keys: 2\.bias; unexpected keys: 3\.bias\. strict=F",
    ):
        module.load_state_dict(weights)
    assert values(module) == before
    assert module.load_state_dict(weights, strict=False) == (["2.bias"], ["3.bias"])
    assert module[0].weight.tolist() == weights["0.weight"].tolist()


def test_shapes_are_named_and_nothing_is_loaded():
    module = net()
    before = values(module)
    with pytest.raises(
        RuntimeError, match=r"0\.weight has shape \(3, 4\) here and \(5, 4\) in the weights"
    ):
        module.load_state_dict(net(5).state_dict(), strict=False)
    assert values(module) == before


def test_long_lists_are_cut():
    with pytest.raises(RuntimeError, match=r"missing keys: (\d\.\w+, ){4}\d\.\w+ and 3 more"):
        nn.Sequential(*[nn.Linear(1, 1) for _ in range(4)]).load_state_dict({})


def test_nothing_is_narrowed_silently():
    wide = net().double().state_dict()
    with pytest.raises(
        RuntimeError,
        match=r"0\.weight is float32 here and float64 in the weights \(convert the module with "
        r"\.to\('float64'\), or the weights with \.astype\('float32'\)\)",
    ):
        net().load_state_dict(wide)
    module = net().double()
    module.load_state_dict(net().state_dict())
    assert module[0].weight.dtype == wg.float64
