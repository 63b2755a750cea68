"""What a module holds, how it is printed, copied, switched and walked."""

import copy

import numpy as np
import pytest

import wengert as wg
from wengert import nn
from wengert.graph.mode import THREAD
from wengert.tensor import pytree


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        self.head = nn.Linear(3, 2, bias=False)
        self.register_buffer("mean", wg.zeros(4))
        self.register_buffer("scratch", wg.ones(1), persistent=False)

    def forward(self, x):
        return self.head(self.body(x - self.mean))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


def test_parameters_are_listed_in_the_order_of_assignment():
    names = [name for name, _ in Net().named_parameters()]
    assert names == ["body.0.weight", "body.0.bias", "head.weight"]


def test_parameters_of_the_module_itself():
    net = Net()
    net.scale = nn.Parameter(wg.ones(1))
    assert [name for name, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert list(net.parameters(recurse=False)) == [net.scale]


def test_prefix_stands_before_each_name():
    names = [name for name, _ in Net().named_parameters(prefix="net")]
    assert names[0] == "net.body.0.weight"


def test_modules_and_children():
    net = Net()
    assert [name for name, _ in net.named_modules()] == ["", "body", "body.0", "body.1", "head"]
    assert [name for name, _ in net.named_children()] == ["body", "head"]
    assert list(net.children()) == [net.body, net.head]
    assert next(iter(net.modules())) is net


def test_buffers():
    assert [name for name, _ in Net().named_buffers()] == ["mean", "scratch"]
    assert len(list(Net().buffers())) == 2


def test_shared_module_is_listed_once():
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, layer)
    assert len(list(net.parameters())) == 2
    assert [name for name, _ in net.named_modules(remove_duplicate=False)] == ["", "0", "1"]


def test_tied_weight_is_listed_once_but_kept_under_both_keys():
    net = Tied()
    assert [name for name, _ in net.named_parameters()] == ["first.weight", "first.bias"]
    assert list(net.state_dict()) == ["first.weight", "first.bias", "second.weight"]


def test_gradients_of_a_tied_weight_add_up():
    net = Tied()
    net(wg.ones((1, 3))).sum().backward()
    twice = net.first.weight.grad
    apart = Tied()
    apart.load_state_dict(net.state_dict())
    apart.second.weight = nn.Parameter(apart.first.weight)
    apart(wg.ones((1, 3))).sum().backward()
    np.testing.assert_allclose(twice, apart.first.weight.grad + apart.second.weight.grad, 1e-6)


def test_operations_on_parameters_give_tensors():
    weight = nn.Parameter(wg.ones(2))
    for made in (weight + 1, weight.detach(), weight.clone(), weight[0], weight.reshape(1, 2)):
        assert type(made) is wg.Tensor
    assert weight.is_leaf
    assert weight.requires_grad


def test_parameter_copies_what_it_is_made_from():
    given = wg.ones(2)
    weight = nn.Parameter(given)
    given.fill_(5.0)
    assert weight.tolist() == [1.0, 1.0]


def test_parameter_filled_from_shared_memory_has_its_own():
    given, weight = np.ones(2, np.float32), nn.Parameter(wg.zeros(2))
    with wg.no_grad():
        weight.copy_(wg.asarray(given))
        weight.sub_(wg.ones(2))
    assert given.tolist() == [1.0, 1.0]
    assert weight.tolist() == [0.0, 0.0]


def test_parameter_can_be_frozen():
    assert not nn.Parameter(wg.ones(2), requires_grad=False).requires_grad
    net = Net().requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    assert net.requires_grad_().head.weight.requires_grad


def test_parameter_prints_like_pytorch():
    assert repr(nn.Parameter(wg.ones(1))) == (
        "Parameter containing:\ntensor([1.], requires_grad=True)"
    )


def test_integer_parameter_is_refused():
    with pytest.raises(wg.DTypeError, match="only floating-point tensors can require gradients"):
        nn.Parameter(wg.tensor([1, 2]))


def test_repr_is_a_tree():
    assert repr(Net()) == (
        "Net(\n"
        "  (body): Sequential(\n"
        "    (0): Linear(in_features=4, out_features=3, bias=True)\n"
        "    (1): ReLU()\n"
        "  )\n"
        "  (head): Linear(in_features=3, out_features=2, bias=False)\n"
        ")"
    )


def test_assigning_something_else_to_a_parameter_is_refused():
    net = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"Linear\.weight is a parameter: assign a Parameter or N"):
        net.weight = wg.ones((2, 2))
    with pytest.raises(TypeError, match=r"Net\.body is a module: assign a Module or None, got int"):
        Net().body = 3
    with pytest.raises(TypeError, match=r"Net\.mean is a buffer: assign a Tensor or None, got str"):
        Net().mean = "x"


def test_buffer_can_be_assigned_and_plain_tensors_are_no_buffers():
    net = Net()
    net.mean = wg.ones(4)
    net.note = wg.ones(1)
    assert net.state_dict()["mean"].tolist() == [1.0] * 4
    assert "note" not in net.state_dict()


def test_parameter_set_to_none_is_left_out():
    net = nn.Linear(2, 2)
    net.bias = None
    assert list(net.state_dict()) == ["weight"]
    assert net(wg.ones((1, 2))).shape == (1, 2)


def test_deleted_module_is_gone():
    net = Net()
    del net.head
    assert not hasattr(net, "head")
    assert [name for name, _ in net.named_children()] == ["body"]


@pytest.mark.parametrize("name", ["a.b", ""])
def test_names_have_no_dots(name):
    with pytest.raises(KeyError, match="give it a name without dots"):
        nn.Module().add_module(name, nn.ReLU())


def test_name_of_a_method_is_refused():
    with pytest.raises(KeyError, match="has a 'forward' of its own; choose another name"):
        nn.Module().forward = nn.ReLU()


@pytest.mark.parametrize(
    ("register", "value"),
    [("register_parameter", 3), ("register_buffer", [1.0]), ("add_module", abs)],
)
def test_registering_something_else_is_refused(register, value):
    with pytest.raises(TypeError, match=f"{register}: 'x' must be a"):
        getattr(nn.Module(), register)("x", value)


def test_layers_may_be_assigned_before_the_constructor_of_the_base():
    class Early(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(2, 2)
            super().__init__()

    assert len(list(Early().parameters())) == 2


def test_module_without_forward():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no forward method"):
        Empty()(wg.ones(1))


def test_train_and_eval_reach_the_whole_tree():
    net = Net()
    assert net.training
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    net.train()
    assert all(module.training for module in net.modules())
    net.head.training = False
    assert net.training
    assert not net.head.training


def test_training_is_a_guard_of_a_trace():
    net = nn.Sequential(nn.Dropout(0.5))
    guards = wg.trace(net)(wg.ones(3)).trace.guards
    assert (guards[0].what, guards[0].value) == ("0.training", True)
    net.eval()
    assert guards[0].read() is False


def test_apply_visits_children_first():
    seen = []
    Net().apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Linear", "ReLU", "Sequential", "Linear", "Net"]


def test_zero_grad():
    net = Net()
    net(wg.ones((2, 4))).sum().backward()
    net.zero_grad(set_to_none=False)
    assert net.head.weight.grad.tolist() == [[0.0] * 3] * 2
    net.zero_grad()
    assert net.head.weight.grad is None
    net.zero_grad(set_to_none=False)
    assert net.head.weight.grad is None


def test_double_and_float_convert_parameters_buffers_and_gradients():
    net = Net()
    net(wg.ones((2, 4))).sum().backward()
    before = net.head.weight.tolist()
    assert net.double() is net
    held = [*net.parameters(), *net.buffers(), net.head.weight.grad]
    assert {t.dtype for t in held} == {wg.float64}
    assert net.head.weight.tolist() == before
    assert net.head.weight.name == "head.weight"
    net(wg.ones((2, 4), dtype=wg.float64)).sum().backward()
    assert net.float().head.weight.dtype == wg.float32


def test_deep_copy_is_apart():
    net = Net()
    twin = copy.deepcopy(net)
    with wg.no_grad():
        twin.head.weight.fill_(7.0)
    twin(wg.ones((1, 4))).sum().backward()
    assert net.head.weight.grad is None
    assert twin.head.weight.grad is not None
    assert net.state_dict()["head.weight"].tolist() != twin.state_dict()["head.weight"].tolist()
    assert [name for name, _ in twin.named_parameters()] == [n for n, _ in net.named_parameters()]


def test_deep_copy_keeps_ties():
    twin = copy.deepcopy(Tied())
    assert twin.first.weight is twin.second.weight


# Paths


def scopes(net, *inputs):
    return [op.scope for op in wg.trace(net)(*inputs).operations]


def test_operations_carry_the_path_of_their_layer():
    assert scopes(Net(), wg.ones((1, 4))) == ["", "body.0", "body.1", "head"]


def test_path_of_a_layer_in_a_list_and_of_one_called_by_itself():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 2)])
            self.layers.append(nn.Linear(2, 2))

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    net = Deep()
    assert scopes(net, wg.ones((1, 2))) == ["layers.0", "layers.1"]
    assert scopes(net.layers[1], wg.ones((1, 2))) == ["layers.1"]


def test_scope_is_restored_after_an_error():
    net = Net()
    with pytest.raises(wg.ShapeError, match=r"in layer body\.0"):
        net.body(wg.ones((1, 5)))
    assert THREAD.now.scope == ""


def test_part_of_a_net_keeps_its_paths():
    net = Net()
    assert scopes(net.body[:1], wg.ones((1, 4))) == ["body.0"]
    assert scopes(net, wg.ones((1, 4)))[1] == "body.0"


def test_parameters_are_named_in_graphs_also_after_updates_and_loading():
    net = Net()
    names = ["x", "mean", "body.0.weight", "body.0.bias", "head.weight"]

    def named():
        return [v.name or "mean" for v in wg.trace(net)(wg.ones((1, 4))).inputs]

    assert named() == names
    net.load_state_dict(Net().state_dict())
    with wg.no_grad():
        net.head.weight.copy_(wg.ones((2, 3)))
        net.body[0].weight.mul_(wg.ones((3, 4)))
    assert named() == names


def test_gradient_by_the_name_of_a_parameter():
    net = Net()
    graph = wg.trace(lambda x: net(x).sum())(wg.ones((1, 4)))
    assert graph.backward(wrt="head.weight").outputs[0].shape == (2, 3)


# Containers of parameters


def test_module_is_a_container_of_its_parameters():
    net = Net()
    leaves, spec = pytree.flatten(net)
    assert leaves == list(net.parameters())
    assert pytree.paths({"net": net})[0] == "['net']['body.0.weight']"
    twin = pytree.unflatten(spec, [p.detach() * 0 for p in leaves])
    assert twin(wg.ones((1, 4))).tolist() == [[0.0, 0.0]]
    assert pytree.flatten(twin)[1] == spec
    assert net(wg.ones((1, 4))).tolist() != [[0.0, 0.0]]


def test_gradient_by_a_module_is_a_module():
    net = Net()
    x = wg.ones((3, 4))
    by_transform = wg.grad(lambda model: model(x).sum())(net)
    net(x).sum().backward()
    assert isinstance(by_transform, Net)
    for mine, theirs in zip(by_transform.parameters(), net.parameters(), strict=True):
        assert mine.tolist() == theirs.grad.tolist()


def test_copy_with_tied_weights_stays_tied():
    leaves, spec = pytree.flatten(Tied())
    assert len(leaves) == 2
    twin = pytree.unflatten(spec, [wg.ones((3, 3)), wg.zeros(3)])
    assert twin.first.weight is twin.second.weight


def test_modules_of_different_origin_have_different_structures():
    assert pytree.flatten(Net())[1] != pytree.flatten(Net())[1]
