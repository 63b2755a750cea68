"""Shapes, defaults, printed forms and errors of the layers, without PyTorch."""

import math

import numpy as np
import pytest

import wengert as wg
import wengert.nn.functional as F
from wengert import nn


def test_linear_is_an_affine_map():
    layer = nn.Linear(3, 2)
    x = wg.randn(5, 3)
    expected = x.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("lead", [(), (4,), (2, 4), (0,), (2, 3, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_takes_any_leading_axes(lead, bias):
    layer = nn.Linear(3, 2, bias=bias)
    x = wg.randn(*lead, 3)
    made = layer(x)
    assert made.shape == (*lead, 2)
    flat = layer(x.reshape(math.prod(lead), 3)).reshape(*lead, 2)
    np.testing.assert_allclose(made.detach().numpy(), flat.detach().numpy(), rtol=1e-6)


def test_linear_is_one_operation():
    assert len(wg.trace(nn.Linear(3, 2))(wg.ones((1, 3))).operations) == 1


def test_numpy_arrays_are_accepted():
    assert nn.Linear(3, 2)(np.ones((1, 3), np.float32)).shape == (1, 2)
    assert nn.Conv2d(1, 2, 3)(np.ones((1, 1, 5, 5), np.float32)).shape == (1, 2, 3, 3)


def test_dtype_of_the_parameters():
    assert nn.Linear(2, 2, dtype=wg.float64).weight.dtype == wg.float64
    assert nn.Conv2d(1, 1, 2, dtype=wg.float64).bias.dtype == wg.float64
    assert nn.Linear(2, 2).weight.dtype == wg.float32


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.Linear(4, 2, bias=False), "Linear(in_features=4, out_features=2, bias=False)"),
        (
            nn.Conv2d(4, 2, (3, 5), stride=2, padding=1, dilation=2, groups=2, bias=False),
            "Conv2d(4, 2, kernel_size=(3, 5), stride=(2, 2), padding=(1, 1), dilation=(2, 2), "
            "groups=2, bias=False)",
        ),
        (
            nn.MaxPool2d(2),
            "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
        ),
        (nn.AvgPool2d(2, 1), "AvgPool2d(kernel_size=2, stride=1, padding=0)"),
        (nn.Flatten(), "Flatten(start_dim=1, end_dim=-1)"),
        (nn.Unflatten(1, (2, 2)), "Unflatten(dim=1, unflattened_size=(2, 2))"),
        (nn.ReLU(inplace=True), "ReLU(inplace=True)"),
        (nn.LeakyReLU(), "LeakyReLU(negative_slope=0.01)"),
        (nn.GELU(), "GELU(approximate='none')"),
        (nn.Softmax(dim=1), "Softmax(dim=1)"),
        (nn.LogSoftmax(dim=1), "LogSoftmax(dim=1)"),
        (nn.Dropout(0.2), "Dropout(p=0.2, inplace=False)"),
        (nn.MSELoss(), "MSELoss()"),
        (nn.Identity(3, unused=True), "Identity()"),
    ],
)
def test_printed_form(module, text):
    assert repr(module) == text


@pytest.mark.parametrize("padding", [0, 1, (1, 2), "valid", "same"])
def test_convolution_of_one_image_is_that_of_a_batch(padding):
    layer = nn.Conv2d(2, 3, (3, 2), padding=padding)
    x = wg.randn(2, 6, 7)
    np.testing.assert_allclose(
        layer(x).detach().numpy(), layer(x[None]).detach().numpy()[0], rtol=1e-6
    )


def test_same_padding_keeps_height_and_width():
    assert nn.Conv2d(1, 1, (4, 5), padding="same", dilation=2)(wg.ones((1, 9, 9))).shape == (
        1,
        9,
        9,
    )


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (7, 6)),
        ({"stride": 2}, (4, 3)),
        ({"stride": (3, 1), "padding": (1, 0)}, (3, 6)),
        ({"dilation": (2, 3)}, (5, 2)),
        ({"groups": 2}, (7, 6)),
    ],
)
def test_options_of_a_convolution(options, shape):
    layer = nn.Conv2d(2, 4, 3, **options)
    assert layer(wg.ones((1, 2, 9, 8))).shape == (1, 4, *shape)
    assert layer.weight.shape == (4, 2 // options.get("groups", 1), 3, 3)


def test_flatten_and_unflatten():
    x = wg.randn(2, 3, 4)
    flat = nn.Flatten()(x)
    assert flat.shape == (2, 12)
    assert nn.Unflatten(-1, (3, 4))(flat).tolist() == x.tolist()
    with pytest.raises(wg.ShapeError, match=r"there is no axis 2 in shape \(2, 12\)"):
        nn.Unflatten(2, (3, 4))(flat)


def test_softmax_of_matrices_is_along_rows():
    x = wg.randn(2, 3)
    assert nn.Softmax()(x).tolist() == nn.Softmax(dim=1)(x).tolist()
    with pytest.raises(ValueError, match=r"softmax: say along which axis, for example dim=-1; the"):
        nn.Softmax()(wg.ones((2, 3, 4)))
    with pytest.raises(ValueError, match="log_softmax: say along which axis"):
        nn.LogSoftmax()(wg.ones((2, 3, 4)))


# Dropout


def test_dropout_acts_while_training_only():
    layer = nn.Dropout(0.5)
    x = wg.ones(1000)
    wg.manual_seed(0)
    kept = layer(x).numpy()
    assert set(kept.tolist()) == {0.0, 2.0}
    assert 400 < np.count_nonzero(kept) < 600
    assert layer.eval()(x) is x


@pytest.mark.parametrize(("p", "left"), [(0.0, 1.0), (1.0, 0.0)])
def test_dropout_of_nothing_and_of_everything(p, left):
    layer = nn.Dropout(p)
    assert layer(wg.ones(3)).tolist() == [left] * 3
    graph = wg.trace(layer)(wg.ones(3))
    assert [guard.what for guard in graph.trace.guards] == [
        "Dropout.training",
        "Dropout.p is 0 or 1",
        "Dropout.p",
    ]


def test_probability_of_dropout_is_an_input_of_a_trace():
    layer = nn.Dropout(0.25)
    trace = wg.trace(layer)(wg.ones(3)).trace
    ((read, variable),) = trace.hyper_inputs
    assert variable.name == "p"
    layer.p = 0.75
    assert read() == 0.75
    assert len(wg.trace(layer)(wg.ones(3)).trace.hyper_inputs) == 1


def test_traced_dropout_stays_in_float32():
    graph = wg.trace(nn.Dropout(0.25))(wg.ones(3))
    assert graph.outputs[0].dtype == wg.float32


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_probability_out_of_range_is_refused(p):
    with pytest.raises(ValueError, match="Dropout: p must be a probability from 0 to 1, got"):
        nn.Dropout(p)
    layer = nn.Dropout(0.5)
    layer.p = p
    with pytest.raises(ValueError, match="Dropout: p must be a probability from 0 to 1, got"):
        layer(wg.ones(3))


# Losses


@pytest.mark.parametrize("loss", [nn.MSELoss, nn.L1Loss, nn.BCEWithLogitsLoss])
def test_reductions_of_elementwise_losses(loss):
    x, y = wg.randn(2, 3), wg.rand(2, 3)
    each = loss(reduction="none")(x, y).numpy()
    assert each.shape == (2, 3)
    np.testing.assert_allclose(loss()(x, y).numpy(), each.mean(), rtol=1e-5)
    np.testing.assert_allclose(loss(reduction="sum")(x, y).numpy(), each.sum(), rtol=1e-5)


def test_cross_entropy_is_the_negative_log_likelihood_of_the_log_softmax():
    x, y = wg.randn(4, 3), wg.tensor([0, 2, 1, 1])
    weight = wg.tensor([1.0, 2.0, 3.0])
    mine = nn.CrossEntropyLoss(weight)(x, y)
    theirs = nn.NLLLoss(weight)(nn.LogSoftmax(dim=1)(x), y)
    np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-6)
    each = nn.CrossEntropyLoss(reduction="none")(x, y)
    assert each.shape == (4,)


def test_ignored_examples_do_not_count():
    x, y = wg.randn(3, 3), wg.tensor([0, 7, 1])
    mine = nn.CrossEntropyLoss(ignore_index=7)(x, y)
    kept = wg.tensor(x.numpy()[[0, 2]])
    np.testing.assert_allclose(
        mine.numpy(), nn.CrossEntropyLoss()(kept, wg.tensor([0, 1])).numpy(), rtol=1e-6
    )


def test_weight_of_a_loss_is_converted_with_it():
    loss = nn.BCEWithLogitsLoss(wg.ones(2), pos_weight=wg.ones(2)).double()
    assert loss.weight.dtype == loss.pos_weight.dtype == wg.float64


def test_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="MSELoss: reduction must be 'mean', 'sum' or 'none', got"):
        nn.MSELoss(reduction="average")


def test_targets_of_another_shape_are_refused():
    with pytest.raises(wg.ShapeError, match=r"\(2, 1\).*\(2,\)"):
        nn.MSELoss()(wg.ones((2, 1)), wg.ones(2))


# Errors


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))


def test_linear_names_layer_shapes_and_dimension():
    with pytest.raises(
        wg.ShapeError,
        match=r"linear: the input of shape \(5, 7\) has 7 in its last dimension, the weight of "
        r"shape \(4, 6\) needs 6 \(in layer 1, test_layers\.py:\d+\)\.",
    ):
        net()(wg.ones((5, 7)))


def test_linear_suggests_what_to_do():
    with pytest.raises(wg.ShapeError, match="Did you mean to put the axis of length 6 last"):
        nn.Linear(6, 2)(wg.ones((6, 3)))
    with pytest.raises(wg.ShapeError, match=r"Flatten the images first, with nn\.Flatten\(\)"):
        nn.Linear(75, 2)(wg.ones((1, 3, 5, 5)))
    with pytest.raises(wg.ShapeError, match=r"needs an axis of 6, got shape \(\)"):
        nn.Linear(6, 2)(wg.tensor(1.0))


@pytest.mark.parametrize("traced", [False, True])
def test_mixed_dtypes_are_refused(traced):
    x = wg.ones((5, 6), dtype=wg.float64)
    with pytest.raises(
        wg.DTypeError,
        match=r"linear: the input is float64, the weight float32\. Convert the input with "
        r"\.astype\('float32'\), or the module with \.to\('float64'\) \(in layer 1, test_layers",
    ):
        wg.trace(net())(x) if traced else net()(x)


def test_integers_are_refused():
    with pytest.raises(wg.DTypeError, match=r"the input is int64, the weight float32\. Convert"):
        nn.Linear(2, 2)(wg.tensor([[1, 2]]))
    with pytest.raises(wg.DTypeError, match=r"conv2d: the input is int64, the weight float32"):
        nn.Conv2d(1, 1, 1)(wg.tensor([[[1, 2]]]))


def test_mixed_parameters_are_refused():
    with pytest.raises(wg.DTypeError, match="linear: the bias is float64, the weight float32"):
        F.linear(wg.ones((1, 2)), wg.ones((2, 2)), wg.ones(2, dtype=wg.float64))


def test_convolution_names_layer_shapes_and_dimension():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with pytest.raises(
        wg.ShapeError,
        match=r"conv2d: the input of shape \(2, 1, 8, 8\) has 1 channels in dimension 1, the "
        r"weight of shape \(4, 3, 3, 3\) needs 3 \(in layer 0, test_layers\.py:\d+\)",
    ):
        net(wg.ones((2, 1, 8, 8)))
    with pytest.raises(wg.ShapeError, match=r"wg\.permute_dims\(x, \(0, 3, 1, 2\)\)"):
        net(wg.ones((2, 8, 8, 3)))
    with pytest.raises(wg.ShapeError, match=r"be \(N, 3, H, W\) or \(3, H, W\), got shape \(8,"):
        net(wg.ones((8, 8)))
    with pytest.raises(wg.ShapeError, match=r"in layer 0, test_layers"):
        net(wg.ones((2, 3, 2, 8)))


def test_pooling_names_its_layer():
    with pytest.raises(wg.ShapeError, match=r"in layer 0, test_layers"):
        nn.Sequential(nn.MaxPool2d(3))(wg.ones((1, 1, 2, 2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.Linear(0, 2),
            "Linear: in_features must be a whole number of at least 1, g",
        ),
        (lambda: nn.Linear(2, 1.5), "Linear: out_features must be a whole number of at least 1"),
        (lambda: nn.Conv2d(1, 1, (0, 3)), "Conv2d: kernel_height must be a whole number"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "Conv2d: groups=2 must divide in_channels=3"),
        (
            lambda: nn.Conv2d(1, 1, 3, padding_mode="reflect"),
            "Conv2d: padding_mode must be 'zeros', got 'reflect'",
        ),
        (
            lambda: nn.Conv2d(1, 1, 3, 2, "same")(wg.ones((1, 5, 5))),
            r"conv2d: padding='same' needs stride 1, got \(2, 2\)",
        ),
        (
            lambda: nn.Conv2d(1, 1, 3, padding="full")(wg.ones((1, 5, 5))),
            "conv2d: padding must be a number, 'valid' or 'same', got 'full'",
        ),
    ],
)
def test_sizes_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
