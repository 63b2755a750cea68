"""Steps of optimisers in a trace: numbers are inputs, choices are guards, state is there."""

import numpy as np
import pytest

import wengert as wg
from wengert import nn, optim
from wengert.graph.graph import Graph

CASES = [
    (optim.SGD, {}),
    (optim.SGD, {"momentum": 0.9}),
    (optim.SGD, {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1}),
    (optim.SGD, {"momentum": 0.9, "nesterov": True, "maximize": True}),
    (optim.Adam, {}),
    (optim.Adam, {"amsgrad": True, "weight_decay": 0.1}),
    (optim.AdamW, {}),
]
IDS = [f"{kind.__name__}-{'-'.join(settings)}" for kind, settings in CASES]
X, Y = np.float32([[1.0, -2.0], [0.5, 1.0]]), np.float32([[1.0], [0.0]])


def build(kind, settings, dropout=0.0):
    wg.manual_seed(3)
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Dropout(dropout), nn.Linear(3, 1))
    optimizer = kind(net.parameters(), lr=0.125, **settings)
    criterion = nn.MSELoss()

    def step(x, y):
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return net, optimizer, step


def traced(step):
    """Return the graph of a step with its effects among the outputs, and its trace."""
    graph = wg.trace(step)(wg.tensor(X), wg.tensor(Y))
    changed = [w.after for w in graph.trace.writes if w.attribute == "_variable"]
    return Graph(graph.inputs, [*graph.outputs, *changed], "step"), graph.trace


@pytest.mark.parametrize(("kind", "settings"), CASES, ids=IDS)
def test_every_step_has_one_graph(kind, settings):
    _, _, step = build(kind, settings, dropout=0.25)
    graph, trace = traced(step)
    first = str(graph)
    assert str(traced(step)[0]) == first
    for _ in range(2):
        step(wg.tensor(X), wg.tensor(Y))
    again, later = traced(step)
    assert str(again) == first
    assert [g.what for g in later.guards] == [g.what for g in trace.guards]
    wg.verify(graph)


@pytest.mark.parametrize(("kind", "settings"), CASES, ids=IDS)
def test_a_trace_leaves_no_trace(kind, settings):
    net, optimizer, step = build(kind, settings)
    before = [p.tolist() for p in net.parameters()]
    traced(step)
    assert [p.tolist() for p in net.parameters()] == before
    for cells in optimizer.state.values():
        assert all(np.all(cell.numpy() == 0) for cell in cells.values())
    assert net[0].weight.grad is None


@pytest.mark.parametrize(("kind", "settings"), CASES, ids=IDS)
def test_numbers_are_inputs_that_are_read_afresh(kind, settings):
    _, optimizer, step = build(kind, settings)
    _, trace = traced(step)
    names = [variable.name for _, variable in trace.hyper_inputs]
    assert "lr" in names
    assert set(names) >= {key for key, value in settings.items() if isinstance(value, float)}
    assert all(variable.aval.weak for _, variable in trace.hyper_inputs)
    optimizer.param_groups[0]["lr"] = 0.7
    read = dict(zip(names, [read for read, _ in trace.hyper_inputs], strict=True))["lr"]
    assert read() == 0.7


def test_choices_are_guards():
    _, optimizer, step = build(optim.SGD, {})
    _, trace = traced(step)
    (guard,) = [g for g in trace.guards if "momentum" in g.what]
    assert (guard.what, guard.value) == ("whether momentum is zero or off", False)
    optimizer.param_groups[0]["momentum"] = 0.9
    assert guard.read() is True


def test_state_is_named_after_its_parameter():
    _, _, step = build(optim.Adam, {})
    names = [v.name for v in traced(step)[0].inputs]
    assert names[:2] == ["x", "y"]
    assert "0.weight.exp_avg" in names
    assert "3.bias.step" in names


def test_state_made_inside_a_trace_outlives_it():
    net, optimizer, step = build(optim.SGD, {})
    optimizer.param_groups[0]["momentum"] = 0.5
    graph, _ = traced(step)
    assert "0.weight.momentum_buffer" in [v.name for v in graph.inputs]
    buffer = optimizer.state[net[0].weight]["momentum_buffer"]
    assert buffer.tolist() == [[0.0, 0.0]] * 3
    step(wg.tensor(X), wg.tensor(Y))
    assert buffer.tolist() != [[0.0, 0.0]] * 3


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (optim.SGD, {"momentum": 0.9}),
        (optim.SGD, {"momentum": 0.9, "dampening": 0.5}),
        (optim.Adam, {"amsgrad": True}),
    ],
)
def test_settings_that_need_more_state_are_chosen_later(kind, settings):
    found = []
    for make in (lambda f: f, wg.compile):
        net, optimizer, step = build(kind, {})
        step = make(step)
        step(wg.tensor(X), wg.tensor(Y))
        optimizer.param_groups[0].update(settings)
        losses = [step(wg.tensor(X), wg.tensor(Y)).item() for _ in range(4)]
        found.append([*losses, *(p.sum().item() for p in net.parameters())])
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize(("kind", "settings"), CASES, ids=IDS)
def test_traced_steps_give_the_bits_of_eager_ones(kind, settings):
    eager, _, eager_step = build(kind, settings, dropout=0.25)
    losses = [eager_step(wg.tensor(X), wg.tensor(Y)).item() for _ in range(4)]
    net, _, step = build(kind, settings, dropout=0.25)
    compiled = wg.compile(step)
    with wg.disable_compile():
        assert [compiled(wg.tensor(X), wg.tensor(Y)).item() for _ in range(4)] == losses
    for mine, theirs in zip(net.parameters(), eager.parameters(), strict=True):
        assert mine.tolist() == theirs.tolist()


def test_changed_learning_rate_holds_in_the_next_call_of_a_compiled_step():
    x = nn.Parameter(wg.tensor([1.0]))
    optimizer = optim.SGD([x], lr=0.25)

    @wg.compile
    def step():
        optimizer.zero_grad()
        (x * x).sum().backward()
        optimizer.step()

    with wg.disable_compile():
        step()
        assert x.tolist() == [0.5]
        optimizer.param_groups[0]["lr"] = 0.5
        step()
    assert x.tolist() == [0.0]
