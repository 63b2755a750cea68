"""The chain of functions of a net."""

import pytest

import wengert as wg
import wengert.nn.functional as F
from wengert import nn

LENET = (
    "input -> conv2d -> relu -> maxpool2d -> conv2d -> relu -> maxpool2d -> flatten -> linear -> "
    "relu -> linear -> relu -> linear -> MSELoss -> loss"
)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = wg.max_pool2d(wg.relu(self.conv2(x)), 2)
        x = self.fc1(wg.flatten(x, 1)).relu()
        return self.fc3(F.relu(self.fc2(x)))


def lenet_of_layers():
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU()),
        *(nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


@pytest.mark.parametrize("make", [LeNet, lenet_of_layers])
def test_lenet(make):
    net = make()
    assert sum(p.numel() for p in net.parameters()) == 61_706
    assert nn.forward_chain(net, wg.ones((1, 1, 32, 32)), loss=nn.MSELoss()) == LENET


def test_loss_by_function_or_name():
    net = nn.Linear(2, 1)
    x = wg.ones((1, 2))
    assert nn.forward_chain(net, x, loss=F.mse_loss) == "input -> linear -> mse_loss -> loss"
    assert nn.forward_chain(net, x, loss="NLL") == "input -> linear -> NLL -> loss"
    assert nn.forward_chain(net, x) == "input -> linear -> output"


def test_composites_operators_and_dropout():
    def model(x):
        y = F.softmax(F.dropout(F.gelu(x @ wg.ones((2, 2)), "tanh")), dim=1)
        return (x + y).mean(axis=1)

    assert nn.forward_chain(model, wg.ones((3, 2))) == (
        "input -> matmul -> gelu -> dropout -> softmax -> add -> mean -> output"
    )


def test_what_the_output_does_not_need_is_left_out():
    def model(x):
        wg.exp(x)
        return wg.tanh(x)

    assert nn.forward_chain(model, wg.ones(2)) == "input -> tanh -> output"


def test_the_net_is_left_as_it_was():
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    wg.manual_seed(0)
    before = wg.rand(1).item()
    wg.manual_seed(0)
    nn.forward_chain(net, wg.ones((1, 2)))
    assert wg.rand(1).item() == before
    assert net[0].weight.grad is None


def test_where_derivatives_end_is_no_function_of_the_chain():
    first, second = nn.Linear(3, 2), nn.Linear(2, 2)

    def frozen(x):
        with wg.no_grad():
            x = wg.relu(first(x))
        return second(x).detach()

    assert (
        nn.forward_chain(frozen, wg.ones((1, 3))) == "input -> linear -> relu -> linear -> output"
    )
