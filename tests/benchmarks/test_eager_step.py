"""What the eager-step benchmark writes."""

from benchmarks import eager_step
from benchmarks.nets import NETS
from benchmarks.tables import conditions, time_table
from wengert.bench.harness import Rounds
from wengert.bench.measure import Measured


def samples(*medians):
    return [{"median": m, "minimum": m, "calls": 1, "foreign": 0.0} for m in medians]


def measured(net, **seconds):
    names = {"wengert": "Wengert", "torch": "PyTorch", "hips": "HIPS autograd", "peak": "peak"}
    rounds = Rounds({names[key]: samples(value) for key, value in seconds.items()}, 0, True)
    return Measured(NETS[net], rounds, amounts={"peak": 1e9})


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


def test_a_peer_absent_for_one_network_leaves_a_gap():
    table = time_table(
        [
            measured("tiny", wengert=1.0, torch=1.0, peak=1.0),
            measured("wide", wengert=1.0, peak=1.0),
        ]
    )
    assert "| – |" in table.splitlines()[3]


def test_disturbed_rounds_are_told():
    rounds = Rounds({"peak": samples(1.0)}, 4, False)
    text = conditions([Measured(NETS["tiny"], rounds, {"peak": 1e9})], 1)
    assert "4 rounds repeated" in text
    assert text.startswith("1 thread, 1 rounds each.")
    assert "Never undisturbed, kept all the same: 2-2-2 (1)." in text


def test_wengert_runs_eager_beside_the_shared_peers():
    peers = eager_step.eager_peers(eager_step.SHORT, threads=2)
    assert list(peers) == ["Wengert", "PyTorch", "HIPS autograd", "JAX jit", "NumPy by hand"]
    assert peers["Wengert"].options == {"eager": True}
    assert {peer.threads for peer in peers.values()} == {2}
