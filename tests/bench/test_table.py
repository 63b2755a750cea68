"""The table of `wengert bench`."""

import pytest

from wengert.bench import table
from wengert.bench.choices import Lengths
from wengert.bench.harness import Peer, Rounds
from wengert.bench.measure import SUBJECT, FirstCall, Measured
from wengert.bench.workload import Workload
from wengert.data.errors import UserError

NET = Workload((2, 3, 5), 7)


def samples(*medians):
    return [{"median": m, "minimum": m, "calls": 1, "foreign": 0.0} for m in medians]


def measured(quiet=True, **further):
    found = {"Wengert": samples(2e-3), "peak": samples(1e-3), **further}
    return Measured(NET, Rounds(found, 0, quiet), {"peak": 1e6, "hand-over": 1.0})


def test_a_line_says_what_one_step_is():
    call = FirstCall(0.25, 0.01, 0, {"arguments": 2_000, "temporaries": 3_500, "outputs": 4})
    found = table.line(measured(), "Wengert", call)
    assert found.step == "2.00 ms [2.00, 2.00] min 2.00"
    assert found.samples == "3,500"
    assert found.speed == "0.000399"  # 798 operations in 2 ms
    assert found.share == "0.0 %"
    assert found.first == "250 ms, then 10"
    assert found.memory == "2.0 + 3.5 + 0.0 kB"


def test_no_account_of_memory_leaves_a_gap():
    assert table.line(measured(), "Wengert", FirstCall(0.25, 0.01, 0, {})).memory == "–"


def test_comparison_says_less_or_more():
    found = table.comparison(measured(PyTorch=samples(6e-3), NumPy=samples(1e-3)))
    assert found == [
        "Wengert takes 3.00 times less time than PyTorch.",
        "Wengert takes 2.00 times more time than NumPy.",
    ]


def test_conditions_name_the_peak_the_hand_over_and_disturbances():
    one = measured(quiet=False, **{"hand-over": samples(5e-8)})
    assert table.conditions([one]) == [
        "Peak: multiply-adds in registers, 1.00 GFLOP/s.",
        "Hand-over between two cores: 50 to 50 ns.",
        "Other programs used the processors meanwhile: the times are too long.",
    ]


def test_without_wengert_there_is_no_table():
    peers = {SUBJECT: Peer("wengert.bench.peers.no_such_peer")}
    with pytest.raises(UserError, match="Wengert skipped: ModuleNotFoundError"):
        table.measure_and_print({"it": NET}, peers, Lengths(0.001, 1), quiet=True)
