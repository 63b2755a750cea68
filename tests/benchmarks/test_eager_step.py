"""What the eager-step benchmark checks before timing, and what it writes."""

import pytest

from benchmarks import eager_step
from benchmarks.harness import Rounds
from benchmarks.nets import NETS


def samples(*medians):
    return [{"median": m, "minimum": m, "calls": 1, "foreign": 0.0} for m in medians]


def measured(net, **seconds):
    names = {"wengert": "Wengert", "torch": "PyTorch", "hips": "HIPS autograd", "peak": "peak"}
    rounds = Rounds({names[key]: samples(value) for key, value in seconds.items()}, 0, True)
    return eager_step.Measured(NETS[net], rounds, amounts={"peak": 1e9})


def test_equal_losses_pass():
    eager_step.require_agreement("tiny", {"a": [2.0, 1.5], "b": [2.0, 1.50001]})


def test_different_losses_stop():
    with pytest.raises(SystemExit, match=r"tiny: b and a disagree by 6.7e-03 over 5 steps"):
        eager_step.require_agreement("tiny", {"a": [2.0, 1.5], "b": [2.0, 1.51]})


def test_nan_losses_stop():
    with pytest.raises(SystemExit, match="b and a disagree by nan"):
        eager_step.require_agreement("tiny", {"a": [2.0, 1.5], "b": [2.0, float("nan")]})


def test_losses_that_hardly_change_stop():
    with pytest.raises(SystemExit, match="the loss hardly changes"):
        eager_step.require_agreement("tiny", {"a": [2.0, 1.9999]})


def test_the_table_judges_each_ratio_by_its_target():
    rows = eager_step.ratio_table(
        [
            measured("tiny", wengert=1.1, torch=1.0, hips=2.0, peak=1.0),
            measured("wide", wengert=1.1, torch=1.0, hips=3.0, peak=1.0),
        ]
    ).splitlines()
    assert "target ≤ 1: missed" in rows[2]
    assert "target ≤ 0.5: missed" in rows[2]
    assert "target ≤ 1.25: met" in rows[3]
    assert "target ≤ 0.5: met" in rows[3]


def test_share_of_peak_is_arithmetic_over_time():
    one = measured("digits", wengert=2.0, peak=0.5)
    assert one.share_of_peak("Wengert") == pytest.approx(NETS["digits"].step_flops / 2.0 / 2e9)


def test_a_peer_absent_for_one_network_leaves_a_gap():
    table = eager_step.time_table(
        [
            measured("tiny", wengert=1.0, torch=1.0, peak=1.0),
            measured("wide", wengert=1.0, peak=1.0),
        ]
    )
    assert "| absent |" in table.splitlines()[3]


def test_disturbed_rounds_are_told():
    rounds = Rounds({"peak": samples(1.0)}, 4, False)
    text = eager_step.conditions([eager_step.Measured(NETS["tiny"], rounds, {"peak": 1e9})], 1)
    assert "4 rounds repeated" in text
    assert "Never undisturbed, kept all the same: 2-2-2 (1)." in text
