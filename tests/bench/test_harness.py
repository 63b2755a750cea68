"""Worker processes and rounds, with NumPy as the only peer."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wengert.bench import harness
from wengert.bench.harness import Peer, PeerError, Rounds, Worker, race, started
from wengert.bench.worker import Server, time_calls
from wengert.bench.workload import Workload

NUMPY = Peer("wengert.bench.peers.numpy_by_hand")
CASE = Workload((2, 2, 2), 1).case(1)


class Stub:
    """Stands for a worker: replies with times given beforehand."""

    def __init__(self, log, name, replies):
        self.log, self.name, self.replies = log, name, iter(replies)

    def ask(self, **request):
        self.log.append((self.name, request["do"]))
        return next(self.replies)


def sample(median, foreign=0.0):
    return {"median": median, "minimum": median / 2, "calls": 1, "foreign": foreign}


def test_two_processes_agree_and_are_timed_in_turn():
    notes = []
    with started({"a": NUMPY, "b": NUMPY}, notes.append) as workers:
        losses = []
        for worker in workers.values():
            worker.ask(do="prepare", case=CASE)
            losses.append(worker.ask(do="check", steps=3)["values"])
        rounds = race(workers, seconds=0.002, rounds=2)
    assert notes == []
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 3
    assert rounds.summary("a").median > 0
    assert rounds.ratio("a", "b").rounds == 2


def test_an_absent_library_is_skipped_with_its_reason():
    notes = []
    with started(
        {"x": Peer("wengert.bench.peers.no_such_peer"), "numpy": NUMPY}, notes.append
    ) as left:
        assert list(left) == ["numpy"]
    assert notes == [
        "x skipped: ModuleNotFoundError: No module named 'wengert.bench.peers.no_such_peer'"
    ]


def test_an_error_in_a_peer_is_reported_and_the_peer_lives_on():
    worker = Worker(NUMPY)
    try:
        with pytest.raises(PeerError, match="RuntimeError: time: no task yet"):
            worker.ask(do="time", seconds=0.001)
        assert worker.ask(do="prepare", case=CASE)["dtype"] == "float32"
    finally:
        worker.close()


def test_a_peer_that_took_too_long_is_ended_and_revived():
    worker = Worker(NUMPY)
    try:
        with pytest.raises(PeerError, match="no answer to 'prepare' in 0 s"):
            worker.ask(do="prepare", case=CASE, within=0.0)
        worker.revive()
        assert worker.ask(do="prepare", case=CASE)["dtype"] == "float32"
    finally:
        worker.close()


KILLED = """
import os, signal
from wengert.bench.harness import Peer, Worker
worker = Worker(Peer("wengert.bench.peers.numpy_by_hand"))
worker.ask(do="load")
print(worker._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_sleeping_worker_ends_with_a_parent_that_is_killed():
    done = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, check=False
    )
    worker = Path("/proc", done.stdout.strip(), "stat")
    for _ in range(500):
        if not worker.exists() or worker.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.01)
    pytest.fail("the worker still lives")


def test_workers_find_no_module_of_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    worker = Worker(NUMPY)
    try:
        assert worker.ask(do="prepare", case=CASE)["dtype"] == "float32"
    finally:
        worker.close()


def test_workers_keep_compiled_code_in_a_folder_of_their_own(tmp_path):
    variables = harness.caches_in(tmp_path)
    assert variables["WENGERT_CACHE_DIR"].startswith(str(tmp_path))


def test_every_round_measures_every_worker_once_in_a_fixed_random_order():
    orders = []
    for _ in range(2):
        log = []
        race({name: Stub(log, name, [sample(1.0)] * 5) for name in "abc"}, 0.1, 5, seed=3)
        orders.append([name for name, _ in log])
    assert orders[0] == orders[1]
    turns = [orders[0][i : i + 3] for i in range(0, 15, 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1


def test_disturbed_rounds_are_measured_again():
    replies = [sample(9.0, foreign=0.8), sample(1.0), sample(2.0)]
    rounds = race({"a": Stub([], "a", replies)}, 0.1, 2)
    assert rounds.seconds("a") == [1.0, 2.0]
    assert (rounds.disturbed, rounds.quiet) == (1, True)
    assert rounds.summary("a", scale=10.0).minimum == 5.0


def test_a_busy_machine_keeps_the_least_disturbed_rounds_and_says_so():
    replies = [sample(float(i), foreign=0.9 - 0.1 * i) for i in range(6)]
    rounds = race({"a": Stub([], "a", replies)}, 0.1, 2)
    assert sorted(rounds.seconds("a")) == [4.0, 5.0]
    assert not rounds.quiet


def test_ratio_per_element():
    rounds = Rounds({"big": [sample(30.0)], "small": [sample(1.0)]}, 0, True)
    assert rounds.ratio("big", "small", 1 / 10).median == 3.0


def test_more_threads_than_processors_are_refused():
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system cannot bind processes to processors")
    with pytest.raises(ValueError, match=r"--threads 9999: only \d+ processors"):
        harness.cores_for(9999)


def test_all_thread_pools_are_pinned_alike():
    environment = harness.pinned_environment(2)
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "2"
    assert environment["WENGERT_THREADS"] == "auto"
    assert harness.pinned_environment(1)["WENGERT_THREADS"] == "1"
    assert environment["XLA_FLAGS"].endswith("=true")
    assert harness.pinned_environment(1)["XLA_FLAGS"].endswith("=false")


def test_long_work_is_done_once():
    calls = []
    result = time_calls(lambda: calls.append(1), seconds=0.0)
    assert len(calls) == result["calls"] == 1
    assert result["minimum"] == result["median"] > 0


def test_short_work_is_warmed_up_and_repeated():
    calls = []
    result = time_calls(lambda: calls.append(1), seconds=0.005)
    assert 1 < result["calls"] < len(calls)
    assert 0 < result["minimum"] <= result["median"]


def test_a_task_must_be_prepared_first():
    server = Server("wengert.bench.peers.numpy_by_hand")
    with pytest.raises(RuntimeError, match="check: no task yet"):
        server.answer({"do": "check", "steps": 1})
