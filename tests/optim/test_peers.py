"""Every optimiser and schedule against PyTorch over several steps, in float64."""

import numpy as np
import pytest

import wengert as wg
from wengert import nn, optim

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "amsgrad": True}),
    ("Adam", {"lr": 0.05, "maximize": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.2, "amsgrad": True}),
]
IDS = [f"{name}-{'-'.join(settings)}" for name, settings in OPTIMIZERS]

RNG = np.random.default_rng(0)
XS = RNG.standard_normal((6, 8, 4))
LABELS = RNG.integers(0, 3, (6, 8))


def nets():
    """Return one network of each library, with the same weights."""
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    theirs.double()
    mine = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    mine.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    return mine, theirs


def steps(net, optimizer, as_tensor, criterion, some=slice(None)):
    for x, labels in zip(XS[some], LABELS[some], strict=True):
        optimizer.zero_grad()
        criterion(net(as_tensor(x)), as_tensor(labels)).backward()
        optimizer.step()


def train(mine, theirs, my_optimizer, their_optimizer, some=slice(None)):
    steps(mine, my_optimizer, wg.tensor, nn.CrossEntropyLoss(), some)
    steps(theirs, their_optimizer, torch.tensor, torch.nn.CrossEntropyLoss(), some)


def assert_same(mine, theirs):
    for param, param_theirs in zip(mine.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(
            param.detach().numpy(), param_theirs.detach().numpy(), rtol=0, atol=1e-10
        )


@pytest.mark.parametrize(("name", "settings"), OPTIMIZERS, ids=IDS)
def test_several_steps(name, settings):
    mine, theirs = nets()
    before = mine[0].weight.tolist()
    my_optimizer = getattr(optim, name)(mine.parameters(), **settings)
    their_optimizer = getattr(torch.optim, name)(theirs.parameters(), **settings)
    train(mine, theirs, my_optimizer, their_optimizer)
    assert mine[0].weight.tolist() != before
    assert_same(mine, theirs)


@pytest.mark.parametrize(("name", "settings"), OPTIMIZERS, ids=IDS)
def test_compiled_steps_by_the_reference(name, settings):
    mine, theirs = nets()
    my_optimizer = getattr(optim, name)(mine.parameters(), **settings)
    their_optimizer = getattr(torch.optim, name)(theirs.parameters(), **settings)
    criterion = nn.CrossEntropyLoss()

    @wg.compile
    def step(x, labels):
        my_optimizer.zero_grad()
        criterion(mine(x), labels).backward()
        my_optimizer.step()

    with wg.disable_compile():
        for x, labels in zip(XS, LABELS, strict=True):
            step(wg.tensor(x), wg.tensor(labels))
    steps(theirs, their_optimizer, torch.tensor, torch.nn.CrossEntropyLoss())
    assert_same(mine, theirs)


@pytest.mark.parametrize(("name", "settings"), OPTIMIZERS, ids=IDS)
def test_state_of_pytorch_is_continued(name, settings):
    mine, theirs = nets()
    their_optimizer = getattr(torch.optim, name)(theirs.parameters(), **settings)
    steps(theirs, their_optimizer, torch.tensor, torch.nn.CrossEntropyLoss(), slice(3))
    mine.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    my_optimizer = getattr(optim, name)(mine.parameters(), **settings)
    saved = their_optimizer.state_dict()
    state = {
        number: {key: None if v is None else v.numpy() for key, v in cells.items()}
        for number, cells in saved["state"].items()
    }
    my_optimizer.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
    train(mine, theirs, my_optimizer, their_optimizer, slice(3, None))
    assert_same(mine, theirs)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_defaults_and_printed_form(name):
    mine, theirs = nets()
    my_group = getattr(optim, name)(mine.parameters()).param_groups[0]
    their_group = getattr(torch.optim, name)(theirs.parameters()).param_groups[0]
    for key in set(my_group) - {"params"}:
        assert my_group[key] == their_group[key]


def test_groups_with_settings_of_their_own():
    mine, theirs = nets()

    def groups(net):
        first, _, last = net
        return [{"params": first.parameters()}, {"params": [last.weight], "lr": 0.5}]

    my_optimizer = optim.SGD(groups(mine), lr=0.1, momentum=0.9)
    their_optimizer = torch.optim.SGD(groups(theirs), lr=0.1, momentum=0.9)
    my_optimizer.add_param_group({"params": mine[2].bias, "weight_decay": 0.1})
    their_optimizer.add_param_group({"params": theirs[2].bias, "weight_decay": 0.1})
    train(mine, theirs, my_optimizer, their_optimizer)
    assert_same(mine, theirs)


def test_parameters_without_gradient_in_some_steps():
    values = RNG.standard_normal((2, 3))
    mine = [nn.Parameter(v) for v in values]
    theirs = [torch.nn.Parameter(torch.tensor(v)) for v in values]
    settings = {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}
    pairs = [(mine, optim.SGD(mine, **settings)), (theirs, torch.optim.SGD(theirs, **settings))]
    for params, optimizer in pairs:
        for number in range(4):
            optimizer.zero_grad()
            loss = (params[0] ** 2).sum()
            if number > 1:
                loss = loss + (params[1] ** 2).sum()
            loss.backward()
            optimizer.step()
    for param, param_theirs in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(param.detach(), param_theirs.detach().numpy(), rtol=1e-13)


SCHEDULES = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("StepLR", {"step_size": 1}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", {"T_max": 4, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 1}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.95**epoch}),
]


def rates(lib, scheduler, params, names, epochs=13):
    optimizer = lib.SGD([{"params": params[:1]}, {"params": params[1:], "lr": 0.3}], lr=1.0)
    made = [getattr(scheduler, name)(optimizer, **settings) for name, settings in names]
    found = []
    for _ in range(epochs):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        for each in made:
            each.step()
    assert made[-1].get_last_lr() == [group["lr"] for group in optimizer.param_groups]
    return found


@pytest.mark.parametrize(
    "names",
    [*([each] for each in SCHEDULES), [SCHEDULES[2], SCHEDULES[0]], [SCHEDULES[2], SCHEDULES[3]]],
    ids=lambda names: "+".join(name for name, _ in names),
)
def test_schedule(names):
    mine = rates(optim, optim.lr_scheduler, [nn.Parameter(np.ones(1)) for _ in range(2)], names)
    params = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    theirs = rates(torch.optim, torch.optim.lr_scheduler, params, names)
    np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-15)
