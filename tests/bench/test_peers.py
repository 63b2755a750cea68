"""Every library computes the same for a small workload of each kind, or says what it lacks."""

import importlib

import pytest

from wengert.bench.inputs import make_inputs
from wengert.bench.measure import CHECK_STEPS, PEERS, require_agreement
from wengert.bench.peers import Unsupported, numpy_by_hand, scikit_learn, wengert_step
from wengert.bench.workload import Workload

NET = (6, 8, 5, 3)
SMALL = {
    "sgd": Workload(NET, 7),
    "momentum": Workload(NET, 7, optimizer="momentum"),
    "adam": Workload(NET, 7, optimizer="adam"),
    "tanh": Workload(NET, 7, activation="tanh"),
    "gelu": Workload(NET, 7, activation="gelu"),
    "mse": Workload(NET, 7, loss="mse"),
    "norm": Workload(NET, 7, norm=True),
    "dropout": Workload(NET, 7, dropout=0.3),
    "lenet": Workload((400, 12, 3), 2, convolutions=True),
    "logistic": Workload((6, 1), 7, loss="binary", kind="gradient"),
    "gelu-slopes": Workload(NET, 7, activation="gelu", kind="gradient"),
    "hvp": Workload(NET, 7, activation="tanh", kind="hvp"),
}


def values(module, workload, **options):
    """Return what a peer's program reports of its first steps."""
    task = module.prepare(workload.case(1, **options))
    assert task.facts["dtype"] == "float32"
    return task.check(CHECK_STEPS)


@pytest.mark.parametrize("name", SMALL)
def test_wengert_compiled_is_wengert_eager(name):
    workload = SMALL[name]
    found = {
        "eager": values(wengert_step, workload, eager=True),
        "compiled": values(wengert_step, workload),
    }
    if workload.kind == "step":
        found["lean"] = values(wengert_step, workload, lean=True)
    require_agreement(workload, found)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "tanh", "mse", "logistic"])
def test_numpy_by_hand_is_wengert(name):
    workload = SMALL[name]
    found = {
        "NumPy": values(numpy_by_hand, workload),
        "Wengert": values(wengert_step, workload, eager=True),
    }
    require_agreement(workload, found)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gelu", "NumPy has no error function"),
        ("hvp", "only plain networks and first derivatives"),
        ("lenet", "only plain networks and first derivatives"),
        ("norm", "only plain networks and first derivatives"),
        ("dropout", "only plain networks and first derivatives"),
    ],
)
def test_numpy_by_hand_says_what_it_lacks(name, reason):
    with pytest.raises(Unsupported, match=reason):
        numpy_by_hand.prepare(SMALL[name].case(1))


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # within torch.func.jvp
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("library", ["jax", "torch"])
def test_peers_agree_with_wengert(library, name):
    pytest.importorskip(library)
    module = importlib.import_module(PEERS[library][1].module)
    workload = SMALL[name]
    found = {
        library: values(module, workload),
        "Wengert": values(wengert_step, workload, eager=True),
    }
    require_agreement(workload, found)


@pytest.mark.peers
@pytest.mark.parametrize("name", ["sgd", "tanh"])
def test_scikit_learn_agrees_with_wengert(name):
    pytest.importorskip("sklearn")
    found = {
        "scikit-learn": values(scikit_learn, SMALL[name]),
        "Wengert": values(wengert_step, SMALL[name], eager=True),
    }
    require_agreement(SMALL[name], found)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("workload", "reason"),
    [
        (SMALL["adam"], "plain SGD"),
        (SMALL["hvp"], "plain SGD"),
        (SMALL["gelu"], "no GELU"),
        (Workload((2, 2, 2), 1), "one output for two classes"),
    ],
)
def test_scikit_learn_says_what_it_lacks(workload, reason):
    pytest.importorskip("sklearn")
    with pytest.raises(Unsupported, match=reason):
        scikit_learn.prepare(workload.case(1))


@pytest.mark.peers
def test_jax_accounts_for_its_memory():
    pytest.importorskip("jax")
    jax_jit = importlib.import_module(PEERS["jax"][1].module)
    workload = SMALL["sgd"]
    task = jax_jit.prepare(workload.case(1))
    task.run()
    inputs = make_inputs(workload)
    parameters = sum(array.nbytes for array in [*inputs.weights, *inputs.biases])
    memory = task.memory()
    # Labels are narrowed to 32 bits; the counter of steps takes 4 bytes.
    assert memory["arguments"] == parameters + inputs.x.nbytes + 4 * workload.batch + 4
    assert memory["outputs"] == 4 + 8 * 8  # the loss, and pointers to eight results


@pytest.mark.parametrize("lean", [False, True])
def test_wengert_accounts_for_its_memory(lean):
    workload = SMALL["sgd"]
    task = wengert_step.prepare(workload.case(1, lean=lean))
    task.run()
    inputs = make_inputs(workload)
    parameters = sum(array.nbytes for array in [*inputs.weights, *inputs.biases])
    memory = task.memory()
    assert memory["arguments"] >= parameters + inputs.x.nbytes + inputs.target.nbytes
    assert memory["temporaries"] > 0
    assert memory["outputs"] == 4 + (0 if lean else parameters)
