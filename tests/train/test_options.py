"""Every choice is checked, in one sentence that names it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wengert.data import UserError
from wengert.train.options import Options, parse_hidden


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"hidden": (8, 0)}, r"--hidden must list widths from 1 to 1,000,000, got 0\."),
        ({"hidden": (2.5,)}, r"--hidden must list widths .* got 2\.5\."),
        ({"activation": "rellu"}, r"--activation must be relu, tanh or sigmoid.*mean 'relu'\?"),
        ({"optimizer": "rmsprop"}, r"--optimizer must be adam or sgd, got 'rmsprop'\."),
        ({"lr": 0.0}, r"--lr must be a number above 0, got 0\.0\."),
        ({"lr": float("nan")}, r"--lr must be a number above 0, got nan\."),
        ({"lr": "fast"}, r"--lr must be a number above 0, got 'fast'\."),
        ({"batch_size": 0}, r"--batch-size must be a whole number at least 1, got 0\."),
        ({"epochs": True}, r"--epochs must be a whole number at least 1, got True\."),
        ({"epochs": 1.5}, r"--epochs must be a whole number at least 1, got 1\.5\."),
        ({"dropout": 1.0}, r"--dropout must be a number at least 0 and below 1, got 1\.0\."),
        ({"weight_decay": -0.1}, r"--weight-decay must be a number at least 0, got -0\.1\."),
        ({"validation": 0.0}, r"--validation must be a number above 0 and below 1, got 0\.0\."),
        ({"test": 1.0}, r"--test must be a number above 0 and below 1, got 1\.0\."),
        ({"validation": 0.5, "test": 0.5}, r"together leave no rows to train on\."),
        ({"seed": -1}, r"--seed must be a whole number from 0 to \d+, got -1\."),
        ({"seed": 2**63}, r"--seed must be a whole number from 0 to \d+, got"),
    ],
)
def test_wrong_choices_are_refused(choices, message):
    with pytest.raises(UserError, match=message):
        Options(**choices)


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 0.001), ("sgd", 0.05)])
def test_the_learning_rate_goes_with_the_optimiser(optimizer, lr):
    assert Options(optimizer=optimizer).rate == lr


def test_numbers_of_numpy_are_numbers_and_json_holds_them():
    options = Options(hidden=(np.int64(4),), lr=np.float32(0.5), epochs=np.int32(3))
    plain = json.loads(json.dumps(options.to_json()))
    assert (plain["hidden"], plain["lr"], plain["epochs"]) == ([4], 0.5, 3)


@pytest.mark.parametrize("text", ["", "a", "8,", "8;4", "8.0"])
def test_hidden_must_be_a_list_of_whole_numbers(text):
    with pytest.raises(UserError, match="--hidden must be whole numbers separated by commas"):
        parse_hidden(text)
