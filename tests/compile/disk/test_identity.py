"""What makes the key of machine code another one, and what has no key."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from tests.compile.programs import F, graph_of, results_of, same_bits
from wengert.compile.disk import identity
from wengert.compile.disk.lines import Lines
from wengert.compile.emit import llvm
from wengert.graph.bind import bind
from wengert.graph.primitive import Primitive, registry
from wengert.graph.variable import Aval
from wengert.ops.batching import batch_elementwise

X = np.linspace(-1.0, 1.0, 12).reshape(3, 4)


def two_results(x):
    product = x * X
    return product, F.sum(product, axis=0)


Y = X.copy()
Y[1, 2] = np.nextafter(Y[1, 2], 2)
GRAPHS = {
    "one": (lambda x: F.sum(x * X, axis=0), {}),
    "a parameter": (lambda x: F.sum(x * X, axis=1), {}),
    "a flag": (lambda x: F.sum(x * X, axis=0, keepdims=True), {}),
    "a constant": (lambda x: F.sum(x * Y, axis=0), {}),
    "a number": (lambda x: F.sum(x * 3.0, axis=0), {}),
    "another number": (lambda x: F.sum(x * -0.0, axis=0), {}),
    "its sign": (lambda x: F.sum(x * 0.0, axis=0), {}),
    "a primitive": (lambda x: F.max(x * X, axis=0), {}),
    "an operand": (lambda x: F.sum(x * x, axis=0), {}),
    "an order": (lambda x: F.sum(x - X, axis=0), {}),
    "the other order": (lambda x: F.sum(X - x, axis=0), {}),
    "an axis": (lambda x: F.flip(x, axis=0), {}),
    "another axis": (lambda x: F.flip(x, axis=1), {}),
    "two outputs": (two_results, {}),
    "their order": (lambda x: two_results(x)[::-1], {}),
    "in place": (two_results, {0: 0}),
    "a cast": (lambda x: F.astype(F.sum(x * X, axis=0), np.float32), {}),
    "another cast": (lambda x: F.astype(F.sum(x * X, axis=0), np.int32), {}),
}


def key_of(graph, aliases=None, machine="machine"):
    return identity.code_key(graph, aliases or {}, Lines(graph), machine)


def test_every_part_of_a_graph_makes_another_key():
    keys = {what: key_of(graph_of(f, X), aliases) for what, (f, aliases) in GRAPHS.items()}
    again = {what: key_of(graph_of(f, X), aliases) for what, (f, aliases) in GRAPHS.items()}
    assert keys == again
    assert None not in keys.values()
    assert len(set(keys.values())) == len(keys)


def test_shapes_and_dtypes_make_other_keys():
    arrays = (X, X.T, X.reshape(4, 3), X.ravel(), X.astype(np.float32), X.astype(np.int64), X > 0)
    keys = [key_of(graph_of(F.sum, x)) for x in arrays]
    assert len(set(keys)) == len(arrays) - 1, "only those of one shape and dtype are one"
    assert keys[1] == keys[2]


@pytest.mark.parametrize(
    ("owner", "name", "change"),
    [(np, "__version__", "3.9.9"), (identity, "compiler_digest", lambda: "another")],
)
def test_versions_make_other_keys(monkeypatch, owner, name, change):
    graph = graph_of(two_results, X)
    before = key_of(graph)
    monkeypatch.setattr(owner, name, change)
    assert key_of(graph) not in {before, None}


def test_another_machine_makes_another_key(monkeypatch):
    graph = graph_of(two_results, X)
    binding, module = llvm.binding, llvm
    changes = [
        (module, "_host", lambda: llvm._Processor("i486", "", {})),
        (module, "_host", lambda: llvm._Processor("i486", "+sse2", {"sse2": True})),
        (binding, "llvm_version_info", (99, 0, 0)),
        (llvm.llvmlite, "__version__", "99"),
        (module, "_USUAL", 2),
    ]
    keys = {key_of(graph, machine=llvm.identity())}
    for owner, name, value in changes:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            keys.add(key_of(graph, machine=llvm.identity()))
    for name in llvm.processors():
        monkeypatch.setenv("WENGERT_CPU", name)
        keys.add(key_of(graph, machine=llvm.identity()))
    assert len(keys) == 1 + len(changes) + len(llvm.processors())


def test_a_changed_source_file_of_the_compiler_makes_another_digest(tmp_path, monkeypatch):
    for part in ("ops", "compile/inner"):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(identity, "__file__", str(tmp_path / "compile" / "disk" / "identity.py"))
    monkeypatch.setattr(identity, "IMPORTED", time.time() + 60)
    digest = identity._digest_now
    found = {digest()}
    (tmp_path / "ops" / "a.py").write_text("x = 12\n")
    found.add(digest())
    (tmp_path / "compile" / "inner" / "a.py").write_text("x = 123\n")
    found.add(digest())
    os.utime(tmp_path / "ops" / "a.py", (1000, 1000))
    found.add(digest())
    (tmp_path / "ops" / "a.py").rename(tmp_path / "ops" / "b.py")
    found.add(digest())
    assert len(found - {None}) == 5
    monkeypatch.setattr(identity, "IMPORTED", time.time() - 60)
    assert digest() is None, "what was changed since it was imported is not what runs"
    monkeypatch.setattr(
        identity, "__file__", str(tmp_path / "nowhere" / "compile" / "disk" / "identity.py")
    )
    assert digest() is None


def test_graphs_of_all_primitives_have_keys():
    import wengert.nn  # noqa: F401  (whatever registers primitives)

    rng = np.random.default_rng(0)
    missing = set()
    for name, primitive in registry.items():
        sample = next(iter(primitive.samples(rng, np.dtype(np.float64))), None)
        if sample is None:
            continue
        graph = graph_of(lambda *xs, s=sample, p=primitive: bind(p, xs, s.params), *sample.inputs)
        if key_of(graph) is None:
            missing.add(name)
    assert missing == set()


def test_a_primitive_from_elsewhere_has_no_key(folder, generated):
    double = Primitive(
        name="add",
        notation="",
        infer=lambda x: Aval(x.shape, x.dtype),
        evaluate=lambda x: x + x,
        derivative=None,
        batch=batch_elementwise,
        samples=lambda rng, dtype: (),
        lower=registry["neg"].lower,
    )
    for _ in range(2):
        same_bits(results_of(lambda x: bind(double, (x,)), X), [-X])
    assert len(generated) == 2
    assert not folder.exists()
