"""Peers that must agree, rounds near and far, first calls."""

import pytest

from wengert.bench import measure
from wengert.bench.harness import Peer, PeerError, Rounds
from wengert.bench.measure import DisagreementError, Measured, require_agreement
from wengert.bench.workload import Workload

TINY = Workload((2, 2, 2), 1)
SMALL = {
    "step": Workload((3, 4, 2), 5, activation="tanh", optimizer="adam"),
    "gradient": Workload((3, 1), 5, loss="binary", kind="gradient"),
}


def samples(*medians):
    return [{"median": m, "minimum": m, "calls": 1, "foreign": 0.0} for m in medians]


def test_equal_losses_pass():
    require_agreement(TINY, {"a": [2.0, 1.5], "b": [2.0, 1.50001]})


def test_different_losses_stop():
    with pytest.raises(DisagreementError, match=r"\(1\): b and a disagree by 6.7e-03 over 5 steps"):
        require_agreement(TINY, {"a": [2.0, 1.5], "b": [2.0, 1.51]})


def test_nan_losses_stop():
    with pytest.raises(DisagreementError, match="b and a disagree by nan"):
        require_agreement(TINY, {"a": [2.0, 1.5], "b": [2.0, float("nan")]})


def test_losses_that_hardly_change_stop():
    with pytest.raises(DisagreementError, match="the loss hardly changes"):
        require_agreement(TINY, {"a": [2.0, 1.9999], "b": [2.0, 1.9999]})


def test_one_peer_alone_has_nothing_to_agree_with():
    require_agreement(TINY, {"a": [2.0, 1.9999]})
    with pytest.raises(DisagreementError, match="a and a disagree by nan"):
        require_agreement(TINY, {"a": [2.0, float("nan")]})


def test_derivatives_need_not_change():
    require_agreement(SMALL["gradient"], {"a": [2.0, 2.0], "b": [2.0, 2.0]})


def test_with_dropout_losses_differ_and_are_finite():
    dropout = Workload((2, 2, 2), 1, dropout=0.5)
    require_agreement(dropout, {"a": [2.0, 1.5], "b": [3.0, 2.5]})
    with pytest.raises(DisagreementError, match="b and a disagree by nan"):
        require_agreement(dropout, {"a": [2.0, 1.5], "b": [3.0, float("nan")]})


def test_share_of_peak_is_arithmetic_over_time():
    rounds = Rounds({"Wengert": samples(2.0), "peak": samples(0.5)}, 0, True)
    one = Measured(TINY, rounds, {"peak": 1e9})
    assert one.share_of_peak("Wengert") == pytest.approx(TINY.step_flops / 2.0 / 2e9)
    assert one.peers == ["Wengert"]


def test_near_and_far_rounds_are_told_apart_by_the_hand_over():
    delays = samples(40e-9, 200e-9, 60e-9)
    delays[2]["median"] = 500e-9  # another program held one side up
    rounds = Rounds({"Wengert": samples(1.0, 2.0, 3.0), "hand-over": delays}, 0, True)
    groups = Measured(TINY, rounds, {"hand-over": 1.0}).groups()
    assert groups["near"].rounds.seconds("Wengert") == [1.0, 3.0]
    assert groups["far"].rounds.seconds("Wengert") == [2.0]


def test_one_thread_has_one_group():
    one = Measured(TINY, Rounds({"Wengert": samples(1.0)}, 0, True), {"peak": 1.0})
    assert one.groups() == {"": one}


@pytest.mark.parametrize("kind", SMALL)
def test_wengert_agrees_with_numpy_and_both_are_timed(kind):
    class Brief:
        seconds, rounds, seed = 0.002, 2, 0

    notes = []
    peers = measure.chosen_peers(["wengert", "numpy"], threads=1)
    found = list(measure.measured_in_rounds(peers, {"it": SMALL[kind]}, 1, Brief, notes.append))
    assert found[0].peers == ["Wengert", "NumPy by hand"]
    assert 0 < found[0].share_of_peak("Wengert") < 1
    assert len(notes) == 1


def test_a_workload_that_a_peer_cannot_express_is_skipped_with_the_reason():
    class Brief:
        seconds, rounds, seed = 0.001, 1, 0

    notes = []
    peers = measure.chosen_peers(["numpy"], threads=1)
    gelu = Workload((3, 4, 2), 5, activation="gelu")
    assert list(measure.measured_in_rounds(peers, {"it": gelu}, 1, Brief, notes.append)) == []
    assert notes == [
        "NumPy by hand skipped for 3-4-2 (5) gelu: NumPy has no error function",
        "3-4-2 (5) gelu: nothing is left to measure",
    ]


def test_first_calls_are_measured_in_two_processes_with_wengerts_memory():
    peer = measure.chosen_peers(["wengert"], threads=1)["Wengert"]
    call = measure.first_call(peer, SMALL["gradient"])
    assert call.cold > 0
    assert call.cached > 0
    # Three weights, one bias, five rows of three numbers, five targets; the loss, four slopes.
    assert call.memory["arguments"] == 4 * (3 + 1 + 15 + 5)
    assert call.memory["outputs"] == 4 * (1 + 4)


def test_a_first_call_that_fails_says_why():
    with pytest.raises(PeerError, match="NumPy has no error function"):
        measure.first_call(
            Peer("wengert.bench.peers.numpy_by_hand"), Workload((3, 4, 2), 5, activation="gelu")
        )
