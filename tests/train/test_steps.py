"""The compiled step and the compiled scoring, against eager ones without filled-up minibatches."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert.data.preprocess import TargetCoding
from wengert.train.loop import answer
from wengert.train.metrics import measure, score_of
from wengert.train.minibatches import Minibatches
from wengert.train.network import without_dropout
from wengert.train.steps import cross_entropy, scoring, squared_error, training_step

TARGETS = {
    "classes": TargetCoding("y", "classification", ("a", "b", "c")),
    "numbers": TargetCoding("y", "regression", (), mean=1.0, scale=3.0),
}
LOSSES = {"classes": cross_entropy, "numbers": squared_error}
CRITERIA = {"classes": wg.nn.CrossEntropyLoss(), "numbers": wg.nn.MSELoss()}
ROWS = 11
RTOL = 1e-5
"""A few dozen float32 operations in another order of summation."""


def data(kind):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(ROWS, 4)).astype(np.float32)
    if kind == "classes":
        return features, rng.integers(0, 3, ROWS)
    return features, rng.normal(size=(ROWS, 1)).astype(np.float32)


def network(kind, *more):
    wg.manual_seed(1)
    outputs = TARGETS[kind].width
    return wg.nn.Sequential(wg.nn.Linear(4, 6), wg.nn.Tanh(), *more, wg.nn.Linear(6, outputs))


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("size", [1, 4, ROWS, 16])
def test_steps_are_those_of_plain_minibatches(kind, size):
    features, expected = data(kind)
    plain, filled = network(kind), network(kind)
    plain_optimizer, filled_optimizer = (
        wg.optim.Adam(model.parameters(), lr=0.01) for model in (plain, filled)
    )
    step = wg.compile(training_step(filled, LOSSES[kind], filled_optimizer))
    batches = Minibatches(features, expected, size, ROWS).of(np.arange(ROWS))
    for start, batch in zip(range(0, ROWS, size), batches, strict=True):
        rows = slice(start, start + size)
        loss = CRITERIA[kind](plain(wg.tensor(features[rows])), wg.tensor(expected[rows]))
        loss.backward()
        plain_optimizer.step()
        plain_optimizer.zero_grad()
        assert step(*batch).item() == pytest.approx(loss.item(), rel=RTOL)
    assert step.compilations == ["first call"]
    for one, other in zip(plain.parameters(), filled.parameters(), strict=True):
        np.testing.assert_allclose(one.tolist(), other.tolist(), rtol=RTOL, atol=RTOL)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("size", [1, 4, ROWS, 16])
def test_sums_give_the_score_of_the_answers(kind, size):
    features, expected = data(kind)
    model = network(kind, wg.nn.Dropout(0.5))
    sums = wg.compile(scoring(without_dropout(model), LOSSES[kind], kind == "classes"))
    batches = Minibatches(features, expected, size, ROWS).of(np.arange(ROWS))
    with wg.no_grad():
        found = [tuple(value.item() for value in sums(*batch)) for batch in batches]
    loss, right = np.sum(found, axis=0)
    target = TARGETS[kind]
    score = score_of(ROWS, loss, right, float(np.var(expected.astype(np.float64))), target)
    wanted = measure(answer(model, features), expected, target)
    assert score.rows == wanted.rows
    assert score.score == pytest.approx(wanted.score, rel=RTOL)
    assert score.loss == pytest.approx(wanted.loss, rel=RTOL)
    assert (score.error or 0) == pytest.approx(wanted.error or 0, rel=RTOL)


@pytest.mark.parametrize("kind", TARGETS)
def test_weights_that_are_not_finite_show_in_loss_and_score(kind):
    features, expected = data(kind)
    model = network(kind)
    with wg.no_grad():
        next(model.parameters()).fill_(np.nan)
    optimizer = wg.optim.SGD(model.parameters(), lr=0.1)
    batch = next(Minibatches(features, expected, 16, ROWS).of(np.arange(ROWS)))
    with wg.no_grad():
        total, _ = wg.compile(scoring(model, LOSSES[kind], kind == "classes"))(*batch)
    assert np.isnan(total.item())
    assert np.isnan(wg.compile(training_step(model, LOSSES[kind], optimizer))(*batch).item())


def test_the_network_without_dropout_has_the_same_parameters():
    model = network("classes", wg.nn.Dropout(0.9))
    still = without_dropout(model)
    assert [id(p) for p in still.parameters()] == [id(p) for p in model.parameters()]
    x = wg.ones((2, 4))
    assert still(x).tolist() == model.eval()(x).tolist()
    assert model.train().training
    assert still(x).tolist() == still(x).tolist()
