"""Every layer and loss against PyTorch, with the same state_dict, in float64."""

import numpy as np
import pytest

import wengert as wg
from wengert import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

LAYERS = [
    ("Linear", (5, 3), {}, [(4, 5), (5,), (2, 3, 5)]),
    ("Linear", (5, 3), {"bias": False}, [(4, 5), (0, 5)]),
    ("Conv2d", (2, 3, 3), {}, [(2, 2, 6, 5), (2, 6, 5)]),
    ("Conv2d", (2, 4, (3, 2)), {"stride": (2, 1), "padding": (1, 2)}, [(2, 2, 6, 5)]),
    ("Conv2d", (4, 6, 3), {"dilation": 2, "groups": 2, "bias": False}, [(2, 4, 7, 8)]),
    ("Conv2d", (2, 3, (3, 4)), {"padding": "same"}, [(2, 2, 6, 5)]),
    ("Conv2d", (2, 3, 3), {"padding": "valid"}, [(2, 2, 6, 5)]),
    ("MaxPool2d", (2,), {}, [(2, 3, 6, 7), (3, 4, 4)]),
    ("MaxPool2d", (3,), {"stride": 1, "padding": 1}, [(2, 3, 6, 7)]),
    ("AvgPool2d", (2,), {}, [(2, 3, 6, 7), (3, 4, 4)]),
    ("AvgPool2d", ((3, 2),), {"stride": 2, "padding": 1}, [(2, 3, 6, 7)]),
    ("Flatten", (), {}, [(2, 3, 4), (2, 3)]),
    ("Flatten", (0, 1), {}, [(2, 3, 4)]),
    ("Unflatten", (1, (2, 3)), {}, [(4, 6)]),
    ("Identity", (), {}, [(3,)]),
    ("ReLU", (), {}, [(3, 4)]),
    ("Tanh", (), {}, [(3, 4)]),
    ("Sigmoid", (), {}, [(3, 4)]),
    ("GELU", (), {}, [(3, 4)]),
    ("GELU", ("tanh",), {}, [(3, 4)]),
    ("SiLU", (), {}, [(3, 4)]),
    ("LeakyReLU", (), {}, [(3, 4)]),
    ("LeakyReLU", (0.2,), {}, [(3, 4)]),
    ("Softmax", (), {"dim": 1}, [(3, 4), (2, 3, 4)]),
    ("Softmax", (0,), {}, [(3, 4)]),
    ("LogSoftmax", (), {"dim": -1}, [(3, 4)]),
]


def close(mine, theirs):
    mine, theirs = np.asarray(mine.detach()), theirs.detach().numpy()
    assert mine.shape == theirs.shape
    scale = max(1.0, np.abs(theirs).max(initial=0.0))
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-10 * scale)


def pair(name, args, options):
    theirs = getattr(torch.nn, name)(*args, **options).double()
    mine = getattr(nn, name)(*args, **options).double()
    move(theirs, mine)
    return mine, theirs


def move(theirs, mine):
    weights = {key: value.numpy() for key, value in theirs.state_dict().items()}
    assert list(mine.state_dict()) == list(weights)
    mine.load_state_dict(weights)


def ids(cases):
    return [f"{name}{args}{options or ''}" for name, args, options, *_ in cases]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(("name", "args", "options", "shapes"), LAYERS, ids=ids(LAYERS))
def test_layer(name, args, options, shapes):
    mine, theirs = pair(name, args, options)
    assert repr(mine) == repr(theirs)
    rng = np.random.default_rng(3)
    for shape in shapes:
        value = rng.standard_normal(shape)
        x, x_theirs = wg.tensor(value, requires_grad=True), torch.tensor(value, requires_grad=True)
        mine.zero_grad()
        theirs.zero_grad()
        y, y_theirs = mine(x), theirs(x_theirs)
        close(y, y_theirs)
        bar = rng.standard_normal(y.shape)
        y.backward(wg.tensor(bar))
        y_theirs.backward(torch.tensor(bar))
        close(x.grad, x_theirs.grad)
        for param, param_theirs in zip(mine.parameters(), theirs.parameters(), strict=True):
            close(param.grad, param_theirs.grad)


def test_layer_without_dim_of_softmax():
    value = np.random.default_rng(0).standard_normal((3, 4))
    close(nn.Softmax()(wg.tensor(value)), torch.softmax(torch.tensor(value), 1))


FLOATS = np.random.default_rng(4).standard_normal((3, 5))
CHANCES = np.random.default_rng(5).random((3, 5))
SHARES = CHANCES / CHANCES.sum(1, keepdims=True)
CLASSES = np.array([4, 0, 2])
FACTORS = np.array([0.5, 1.0, 2.0, 0.0, 3.0])

LOSSES = [
    ("MSELoss", {}, FLOATS, CHANCES),
    ("L1Loss", {}, FLOATS, CHANCES),
    ("BCEWithLogitsLoss", {}, FLOATS, CHANCES),
    ("BCEWithLogitsLoss", {"weight": FACTORS, "pos_weight": FACTORS + 1}, FLOATS, CHANCES),
    ("CrossEntropyLoss", {}, FLOATS, CLASSES),
    ("CrossEntropyLoss", {"weight": FACTORS}, FLOATS, CLASSES),
    ("CrossEntropyLoss", {"label_smoothing": 0.1, "weight": FACTORS}, FLOATS, CLASSES),
    ("CrossEntropyLoss", {"ignore_index": 0}, FLOATS, CLASSES),
    ("CrossEntropyLoss", {}, FLOATS, SHARES),
    ("CrossEntropyLoss", {}, FLOATS.reshape(1, 5, 3), CLASSES[None]),
    ("NLLLoss", {}, FLOATS, CLASSES),
    ("NLLLoss", {"weight": FACTORS, "ignore_index": 2}, FLOATS, CLASSES),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("name", "options", "value", "target"), LOSSES, ids=[f"{n}-{list(o)}" for n, o, *_ in LOSSES]
)
def test_loss(name, options, value, target, reduction):
    def lifted(make):
        return {k: make(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}

    mine = getattr(nn, name)(**lifted(wg.tensor), reduction=reduction)
    theirs = getattr(torch.nn, name)(**lifted(torch.tensor), reduction=reduction)
    x, x_theirs = wg.tensor(value, requires_grad=True), torch.tensor(value, requires_grad=True)
    loss, loss_theirs = mine(x, wg.tensor(target)), theirs(x_theirs, torch.tensor(target))
    close(loss, loss_theirs)
    loss.sum().backward()
    loss_theirs.sum().backward()
    close(x.grad, x_theirs.grad)
    assert list(mine.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize("name", ["linear", "conv2d", "sigmoid", "tanh", "relu", "selu"])
def test_gains(name):
    assert nn.init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name), 1e-15)


@pytest.mark.parametrize("kind", [1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("largest", [0.5, 100.0])
def test_clipping(kind, largest):
    grads = [FLOATS, CHANCES[0]]
    mine = [nn.Parameter(np.zeros_like(grad)) for grad in grads]
    theirs = [torch.nn.Parameter(torch.zeros(grad.shape).double()) for grad in grads]
    for param, param_theirs, grad in zip(mine, theirs, grads, strict=True):
        param.grad, param_theirs.grad = wg.tensor(grad), torch.tensor(grad)
    total = nn.utils.clip_grad_norm_(mine, largest, kind)
    close(total, torch.nn.utils.clip_grad_norm_(theirs, largest, kind))
    nn.utils.clip_grad_value_(mine, 0.05)
    torch.nn.utils.clip_grad_value_(theirs, 0.05)
    for param, param_theirs in zip(mine, theirs, strict=True):
        close(param.grad, param_theirs.grad)


def test_tree_prints_and_names_alike():
    def net(lib):
        body = lib.Sequential(lib.Linear(4, 3), lib.ReLU(inplace=True), lib.Dropout(0.1))
        return lib.Sequential(body, lib.ModuleList([lib.Linear(3, 2)]), lib.LogSoftmax(1))

    mine, theirs = net(nn), net(torch.nn)
    assert repr(mine) == repr(theirs)
    for walk in ("named_parameters", "named_modules", "named_children", "named_buffers"):
        names = [[name for name, _ in getattr(each, walk)()] for each in (mine, theirs)]
        assert names[0] == names[1]


def test_lenet_over_several_steps():
    def net(lib):
        return lib.Sequential(
            *(lib.Conv2d(1, 6, 5), lib.ReLU(), lib.MaxPool2d(2)),
            *(lib.Conv2d(6, 16, 5), lib.ReLU(), lib.MaxPool2d(2)),
            *(lib.Flatten(), lib.Linear(400, 120), lib.ReLU()),
            *(lib.Linear(120, 84), lib.ReLU(), lib.Linear(84, 10)),
        ).double()

    mine, theirs = net(nn), net(torch.nn)
    move(theirs, mine)
    rng = np.random.default_rng(6)
    optimizer = wg.optim.SGD(mine.parameters(), lr=0.1)
    optimizer_theirs = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(3):
        x, target = rng.standard_normal((2, 1, 32, 32)), rng.standard_normal((2, 10))
        optimizer.zero_grad()
        optimizer_theirs.zero_grad()
        loss = nn.MSELoss()(mine(wg.tensor(x)), wg.tensor(target))
        loss_theirs = torch.nn.MSELoss()(theirs(torch.tensor(x)), torch.tensor(target))
        close(loss, loss_theirs)
        loss.backward()
        loss_theirs.backward()
        optimizer.step()
        optimizer_theirs.step()
    for param, param_theirs in zip(mine.parameters(), theirs.parameters(), strict=True):
        close(param, param_theirs)
