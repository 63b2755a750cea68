"""Modules in order."""

from collections import OrderedDict

import pytest

import wengert as wg
from wengert import nn


def three():
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))


def test_calls_one_after_another():
    net = three()
    x = wg.ones((4, 2))
    assert net(x).tolist() == net[2](wg.tanh(net[0](x))).tolist()


def test_empty_sequential_returns_its_input():
    x = wg.ones(2)
    assert nn.Sequential()(x) is x


def test_names_of_an_ordered_dict():
    net = nn.Sequential(OrderedDict(first=nn.Linear(2, 3), act=nn.ReLU()))
    assert list(net.state_dict()) == ["first.weight", "first.bias"]
    assert net.first is net[0]
    assert repr(net[1:]) == "Sequential(\n  (act): ReLU()\n)"


def test_indexing():
    net = three()
    assert net[-1] is net[2]
    assert list(net) == [net[0], net[1], net[2]]
    assert len(net) == 3
    part = net[1:]
    assert isinstance(part, nn.Sequential)
    assert list(part) == [net[1], net[2]]
    with pytest.raises(IndexError, match="Sequential holds 3 modules, there is no number 3"):
        net[3]


def test_replacing_and_deleting():
    net = three()
    net[1] = nn.ReLU()
    assert isinstance(net[1], nn.ReLU)
    del net[0]
    assert [name for name, _ in net.named_children()] == ["0", "1"]
    assert isinstance(net[0], nn.ReLU)
    del net[:2]
    assert len(net) == 0


def test_deleting_from_named_modules_keeps_the_names():
    net = nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh(), c=nn.ReLU()))
    del net[1]
    assert [name for name, _ in net.named_children()] == ["a", "c"]


def test_append_extend_insert():
    net = nn.Sequential(nn.ReLU()).append(nn.Tanh())
    net.extend([nn.Sigmoid()]).insert(1, nn.Linear(2, 2))
    assert [type(module).__name__ for module in net] == ["ReLU", "Linear", "Tanh", "Sigmoid"]
    assert [name for name, _ in net.named_parameters()] == ["1.weight", "1.bias"]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (wg.relu, "item 1 is no Module but function; wrap the function in a Module"),
        ([nn.ReLU()], r"item 1 is no Module but list; unpack the list with a star"),
        (3, "item 1 is no Module but int"),
    ],
)
def test_what_is_no_module_is_refused(item, message):
    with pytest.raises(TypeError, match=message):
        nn.Sequential(nn.ReLU(), item)


def test_module_list():
    layers = nn.ModuleList([nn.Linear(2, 2)])
    layers.append(nn.Linear(2, 2))
    assert [name for name, _ in layers.named_parameters()] == [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
    ]
    assert isinstance(layers[:1], nn.ModuleList)
    assert len(nn.ModuleList()) == 0
    with pytest.raises(NotImplementedError, match="ModuleList has no forward method"):
        layers(wg.ones(2))
