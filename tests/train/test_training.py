"""Training from data to result: what it learns, keeps, writes and refuses."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import wengert as wg
from wengert.compile.function import CompiledFunction
from wengert.data import UserError, dataset_from_arrays, load_digits
from wengert.data.split import split_rows
from wengert.train import Interrupted, fit, load_run, loop, minibatches
from wengert.train import result as result_module
from wengert.train.loop import Trainer
from wengert.train.progress import Reporter
from wengert.train.rundir import CONFIG, CURVE, METRICS, PREPROCESSING, WEIGHTS

FILES = sorted([CONFIG, CURVE, METRICS, PREPROCESSING, WEIGHTS])


def blobs(rows=120, seed=0):
    """Three clouds of points in the plane, in order of class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 3
    centres = np.array([[0.0, 4.0], [4.0, 0.0], [-4.0, -4.0]])
    return centres[labels] + rng.normal(size=(rows, 2)), np.array(["red", "green", "blue"])[labels]


def plane(rows=120, seed=0):
    """A linear function in large units, with a little noise."""
    x = np.random.default_rng(seed).normal(size=(rows, 2))
    return x, 1e6 + 5e4 * x[:, 0] - 2e4 * x[:, 1]


def quick(data, **choices):
    return fit(data, **{"hidden": (8,), "epochs": 4, "progress": False, **choices})


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_digits_are_learned_to_97_percent_with_the_defaults():
    result = fit("digits", progress=False)
    assert result.scores["test"].score >= 0.97
    assert result.scores["baseline"].score < 0.15


def test_classes_are_learned():
    result = quick(blobs(), epochs=30, lr=0.01)
    assert result.scores["test"].score > 0.95
    assert result.scores["baseline"].score == pytest.approx(1 / 3, abs=0.06)
    assert result.predict([[0.0, 4.0], [4.0, 0.0], [-4.0, -4.0]]).values.tolist() == [
        "red",
        "green",
        "blue",
    ]


def test_numbers_are_learned_and_reported_in_their_own_unit():
    result = quick(plane(), hidden=(), epochs=60, lr=0.05)
    assert result.scores["test"].score > 0.999
    values = result.predict([[0.0, 0.0], [1.0, 0.0]]).values
    np.testing.assert_allclose(values, [1e6, 1.05e6], rtol=1e-3)
    assert result.scores["test"].error < 3e3
    assert result.scores["baseline"].score <= 0.0


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_activation_and_optimiser_lowers_the_loss(activation, optimizer):
    choices = {"activation": activation, "optimizer": optimizer, "lr": 0.1, "dropout": 0.1}
    result = quick(blobs(), epochs=12, **choices)
    assert result.history[-1].train.loss < 0.8 * result.history[0].train.loss


def test_weight_decay_makes_weights_smaller():
    free, held = (quick(blobs(), epochs=20, lr=0.02, weight_decay=decay) for decay in (0.0, 0.5))
    sizes = [
        sum(float((value.numpy() ** 2).sum()) for value in result.model.state_dict().values())
        for result in (free, held)
    ]
    assert sizes[1] < 0.8 * sizes[0]


def test_dropout_is_on_in_every_step_and_off_in_every_measurement():
    free, dropped = (quick(blobs(), epochs=3, dropout=dropout) for dropout in (0.0, 0.5))
    assert free.history != dropped.history
    data = dataset_from_arrays(*blobs())
    truth = np.array([dropped.predictor.preprocessor.target.classes.index(t) for t in data.targets])
    split = split_rows(data.frame().target, 0.15, 0.15, seed=0)
    chances = dropped.predict(data).probabilities[np.arange(len(truth)), truth]
    for name, rows in (("train", split.train), ("test", split.test)):
        # The network answers in float32, in another order of summation than the scoring.
        np.testing.assert_allclose(
            dropped.scores[name].loss, -np.log(chances[rows]).mean(), rtol=1e-5
        )


def test_the_best_epoch_is_kept():
    # Labels drawn at random can only be learned by heart: the validation loss soon goes up.
    rng = np.random.default_rng(0)
    data = rng.normal(size=(120, 2)), rng.integers(0, 2, 120)
    result = quick(data, hidden=(64,), epochs=20, lr=0.05, dropout=0)
    losses = [each.validation.loss for each in result.history]
    best = int(np.argmin(losses))
    assert best + 1 == result.best_epoch < 20
    assert result.scores["validation"].loss == losses[best]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        quick(blobs(), dropout=0.2, seed=seed, out=tmp_path / name)
    for file in (WEIGHTS, METRICS, PREPROCESSING, CURVE):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert (tmp_path / "a" / WEIGHTS).read_bytes() != (tmp_path / "c" / WEIGHTS).read_bytes()


def test_metrics_do_not_depend_on_what_was_drawn_before():
    first = quick(blobs(), dropout=0.2)
    wg.rand(7)
    np.random.default_rng(0).random(5)
    assert quick(blobs(), dropout=0.2).history == first.history


def test_the_run_directory_holds_what_was_trained(tmp_path):
    result = quick(blobs(), out=tmp_path / "run", seed=5)
    assert everything(tmp_path / "run") == FILES
    config = json.loads((tmp_path / "run" / CONFIG).read_text())
    assert config["options"]["seed"] == 5
    assert config["network"]["inputs"] == 2
    assert config["results"]["test"]["score"] == result.scores["test"].score
    lines = (tmp_path / "run" / METRICS).read_text().splitlines()
    assert len(lines) == 5
    assert float(lines[-1].split(",")[3]) == result.history[-1].validation.loss


def test_a_loaded_run_predicts_the_same_bits(tmp_path):
    data = blobs()
    result = quick(data, dropout=0.3, out=tmp_path / "run")
    here, there = result.predict(data[0]), load_run(tmp_path / "run").predict(data[0])
    assert np.array_equal(here.probabilities, there.probabilities)
    assert here.values.tolist() == there.values.tolist()


def test_a_data_set_is_scored_when_predicted():
    data = dataset_from_arrays(*blobs())
    result = quick(data, epochs=20, lr=0.01)
    again = result.predict(data)
    assert again.score.rows == 120
    assert again.score.score == (again.values == data.targets).mean()


def test_without_out_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick(blobs())
    assert everything(tmp_path) == []


def test_a_loss_that_stops_being_finite_ends_the_training_and_leaves_nothing(tmp_path):
    message = r"The loss became (nan|inf) in epoch \d+ of 4: .* try a smaller --lr than 1e\+30\."
    with pytest.raises(UserError, match=message):
        quick(plane(), optimizer="sgd", lr=1e30, out=tmp_path / "a" / "run")
    assert everything(tmp_path) == []


def test_a_failure_while_writing_leaves_nothing(tmp_path, monkeypatch):
    write = result_module.write_file

    def fail_late(path, content):
        if path.name == CURVE:
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(result_module, "write_file", fail_late)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        quick(blobs(), out=tmp_path / "run")
    assert everything(tmp_path) == []


def test_a_taken_place_is_refused_before_training(tmp_path, monkeypatch):
    (tmp_path / "run").write_text("mine")
    monkeypatch.setattr(Trainer, "run", lambda _: pytest.fail("it trained"))
    with pytest.raises(UserError, match=r"--out .*run is a file"):
        quick(blobs(), out=tmp_path / "run")


def interrupt_in_epoch(monkeypatch, number):
    """Let Ctrl-C come in the middle of an epoch."""

    def interrupt(self, epoch, rows_done, rows):
        if epoch == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(Reporter, "batch", interrupt)


def test_ctrl_c_keeps_the_whole_epochs_as_a_run(tmp_path, monkeypatch):
    whole = quick(blobs(), epochs=2, dropout=0.2)
    interrupt_in_epoch(monkeypatch, 3)
    message = r"Stopped by Ctrl-C after epoch 2 of 9; the run so far is in .*run\."
    with pytest.raises(Interrupted, match=message) as caught:
        quick(blobs(), epochs=9, dropout=0.2, out=tmp_path / "run")
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.result.history == whole.history
    assert everything(tmp_path / "run") == FILES
    assert json.loads((tmp_path / "run" / CONFIG).read_text())["interrupted"] is True
    again = load_run(tmp_path / "run").predict(blobs()[0])
    assert np.array_equal(again.probabilities, whole.predict(blobs()[0]).probabilities)


def test_ctrl_c_in_the_first_epoch_leaves_nothing(tmp_path, monkeypatch):
    interrupt_in_epoch(monkeypatch, 1)
    with pytest.raises(Interrupted, match="before the first epoch ended; nothing was w") as caught:
        quick(blobs(), out=tmp_path / "run")
    assert caught.value.result is None
    assert everything(tmp_path) == []


def test_ctrl_c_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(result_module, "curve_svg", interrupt)
    with pytest.raises(KeyboardInterrupt):
        quick(blobs(), out=tmp_path / "run")
    assert everything(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "choices", "message"),
    [
        ("digit", {}, r"There is no file digit\. Did you mean 'digits'\?"),
        ("digits", {"target": "pixel_0_0"}, r"The target of digits is 'digit', not 'pixel_0_0'"),
        ("digits", {"task": "regression"}, r"targets of digits are for classification"),
        ("digits", {"task": "clustering"}, r"--task must be classification or regression"),
        ("digits", {"ignore": ["pixel_0_0"]}, r"are for the columns of a CSV file"),
        (([[0.0]] * 8, [0, 1] * 4), {}, r"8 rows with a target: at least 10 are needed"),
    ],
)
def test_data_that_cannot_be_used_is_refused(data, choices, message):
    with pytest.raises(UserError, match=message):
        quick(data, **choices)


def test_progress_and_table_are_shown(capfd):
    quick(blobs(), progress=True)
    out, err = capfd.readouterr()
    assert "Read arrays: 120 rows, 2 columns of numbers." in err
    assert "Split: 84 training, 18 validation and 18 test rows (seed 0)." in err
    assert re.search(r"Epoch 4/4: loss [\d.]+, accuracy [\d.]+ %; validation .* 0 s left", err)
    assert "The last epoch was the best: more --epochs may do better." in out
    for word in ("accuracy", "cross-entropy", "train", "validation", "test", "baseline: always"):
        assert word in out


def test_the_default_digits_training_says_what_it_does(capfd):
    digits = load_digits()
    quick(digits, epochs=1, progress=True)
    err = capfd.readouterr().err
    assert "Network: 64 → 8 → 10, relu, dropout 0.3: 610 parameters." in err


@pytest.mark.parametrize("data", [None, [np.ones((40, 2)), np.arange(40.0)]])
def test_data_of_another_type(data):
    with pytest.raises(UserError, match=r"a tuple \(features, targets\), got (NoneType|list)\."):
        fit(data)


def test_one_hidden_layer_by_its_width():
    data = np.arange(40.0)[:, None], np.arange(40.0)
    assert fit(data, hidden=3, epochs=1, progress=False).options.hidden == (3,)


@pytest.mark.parametrize("choice", [{"activation": None}, {"optimizer": ["adam"]}, {"task": 1}])
def test_choices_that_are_no_words(choice):
    with pytest.raises(UserError, match=r"must be \w+(, \w+)? or \w+, got"):
        fit("digits", **choice)


@pytest.mark.parametrize(("batch_size", "used"), [(32, 32), (1000, 84)])
def test_step_and_scoring_are_compiled_once_and_say_so(batch_size, used, capfd, monkeypatch):
    compiled = []
    monkeypatch.setattr(CompiledFunction, "_note", lambda _, reason: compiled.append(reason))
    quick(blobs(), batch_size=batch_size, progress=True)
    said = [line for line in capfd.readouterr().err.splitlines() if "Compiled" in line]
    assert len(said) == 2
    assert re.fullmatch(
        rf"Compiled the training step for batches of {used} rows: \d+ ms\.", said[0]
    )
    assert re.fullmatch(r"Compiled the scoring for batches of 84 rows: \d+ ms\.", said[1])
    assert compiled == ["first call", "first call"]


@pytest.mark.parametrize("data", [blobs(10), plane(10)], ids=["classes", "numbers"])
@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_a_handful_of_rows(data, batch_size):
    result = quick(data, batch_size=batch_size, dropout=0.2)
    assert [score.rows for score in result.scores.values()][1:] == [2, 2, 2]
    assert all(np.isfinite(each.train.loss) for each in result.history)
    assert quick(data, batch_size=batch_size, dropout=0.2).history == result.history


@pytest.mark.parametrize("data", [blobs(), plane()], ids=["classes", "numbers"])
def test_training_that_is_not_compiled_gives_the_same_up_to_rounding(data):
    compiled = quick(data, dropout=0.2)
    with wg.disable_compile():
        evaluated = quick(data, dropout=0.2)
    for mine, other in zip(compiled.history, evaluated.history, strict=True):
        # Rounding to float32, carried through a dozen steps that do not magnify it much.
        np.testing.assert_allclose(mine.train.loss, other.train.loss, rtol=1e-4)
        np.testing.assert_allclose(mine.validation.loss, other.validation.loss, rtol=1e-4)


def test_scores_of_more_rows_than_are_copied_or_watched_at_once(monkeypatch):
    whole = quick(blobs(), epochs=2)
    monkeypatch.setattr(loop, "MOST_ROWS_PER_EPOCH_SCORE", 20)
    monkeypatch.setattr(minibatches, "MOST_BYTES", 100)
    parts = quick(blobs(), epochs=2)
    assert parts.scores == whole.scores
    assert [each.train.rows for each in parts.history] == [20, 20]
    assert [each.validation for each in parts.history] == [e.validation for e in whole.history]
