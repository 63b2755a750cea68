"""What the benchmark of training steps is about, and what it writes."""

import pytest

from benchmarks import first_calls, train_step
from benchmarks.nets import GROUPS, NETS, WORKLOADS
from wengert.bench.harness import Rounds
from wengert.bench.measure import FirstCall, Measured

NAMES = {"wengert": "Wengert", "jax": "JAX jit", "torch": "PyTorch", "peak": "peak"}


def samples(*medians):
    return [{"median": m, "minimum": m, "calls": 1, "foreign": 0.0} for m in medians]


def measured(net, delays=None, **seconds):
    found = {NAMES[key]: samples(*values) for key, values in seconds.items()}
    if delays:
        found["hand-over"] = samples(*delays)
    amounts = {"peak": 1e9, "hand-over": 1.0} if delays else {"peak": 1e9}
    return Measured(NETS[net], Rounds(found, 0, True), amounts)


def call(cold, **memory):
    return FirstCall(cold, cold / 10, 2000, memory)


def test_a_name_of_a_group_stands_for_all_of_it():
    assert train_step.chosen_workloads(["sgd"]) == NETS
    found = train_step.chosen_workloads(["tiny-adam", "tanh"])
    assert list(found)[:2] == ["tiny-adam", "tiny-tanh"]
    assert found["tiny-adam"].optimizer == "adam"


def test_no_name_stands_for_two_workloads():
    assert len(WORKLOADS) == sum(map(len, GROUPS.values())) == len(set(WORKLOADS.values()))
    assert not set(GROUPS) & set(WORKLOADS)


def test_speeds_are_judged_by_their_targets():
    one = measured("digits", wengert=[1.0], jax=[3.6], torch=[14.0], peak=[1.0])
    row = train_step.speed_table([one], "", 1).splitlines()[2]
    assert "**3.60** [3.60, 3.60], target ≥ 3.5: met" in row
    assert "**14.0** [14.0, 14.0], target ≥ 15: missed" in row
    assert "target ≥ 65: missed; fastest 0.1 %" in row  # 1.3 MFLOP at 1 GFLOP/s


def test_targets_depend_on_how_far_the_cores_are_apart():
    digits = NETS["digits"]
    goals = [train_step.target(digits, "JAX jit", group) for group in ("near", "far", "")]
    assert goals == [4, 2.7, 3.5]
    assert train_step.target(WORKLOADS["digits-adam"], "JAX jit", "near") == 1.2
    assert train_step.target(digits, "NumPy by hand", "near") is None


def test_near_and_far_rounds_get_tables_of_their_own():
    one = measured("tiny", [4e-8, 2e-7], wengert=[1.0, 2.0], jax=[30.0, 30.0], peak=[1.0, 1.0])
    text = "\n".join(train_step.sections([one], 2))
    near, far = text.index("Cores near."), text.index("Cores far.")
    assert near < far
    assert "**30.0** [30.0, 30.0], target ≥ 20: met" in text[near:far]
    assert "**15.0** [15.0, 15.0], target ≥ 20: missed" in text[far:]


def test_a_peer_that_was_not_measured_leaves_a_gap():
    tables = train_step.sections(
        [
            measured("tiny", wengert=[1.0], jax=[1.0], peak=[1.0]),
            measured("wide", wengert=[1.0], peak=[1.0]),
        ],
        1,
    )
    assert "| – |" in tables[1].splitlines()[3]


def test_first_calls_are_compared_with_half_of_jax():
    calls = {
        NETS["tiny"]: {
            "Wengert": call(0.1, arguments=100, temporaries=300, outputs=4),
            "JAX jit": call(0.3, arguments=100, temporaries=100, outputs=4),
            "PyTorch": call(0.1),
        }
    }
    _, times, _, sizes = first_calls.first_call_tables(calls)
    assert "100 ms, then 10.0" in times
    assert "0.333, target ≤ 0.5: met" in times
    # JAX's 204 bytes and 32 of weights are 1.16 times JAX's.
    assert "1.98, target ≤ 1.16: missed" in sizes
    assert "grew by 2.0 kB" in sizes


@pytest.mark.parametrize("arguments", [["--workloads", "nothing"], ["--threads", "0"]])
def test_wrong_options_are_refused(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        train_step.main(arguments)
    assert "error" in capsys.readouterr().err


def test_one_workload_is_measured_and_written(tmp_path, capsys):
    page = tmp_path / "page.md"
    peers = ["--peers", "wengert", "numpy", "--workloads", "tiny-tanh", "--threads", "1"]
    brief = ["--rounds", "2", "--seconds", "0.002", "--first-calls"]
    train_step.main([*peers, *brief, "--markdown", str(page), "--json", str(tmp_path / "all.json")])
    text = page.read_text(encoding="utf-8")
    assert "<!-- bench:train_step -->" in text
    assert "| 2-2-2 (1) tanh | **" in text
    assert "First calls, each in a new process" in text
    assert '"first calls"' in (tmp_path / "all.json").read_text(encoding="utf-8")
    assert "NumPy by hand" in capsys.readouterr().out
