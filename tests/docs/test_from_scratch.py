"""docs/from_scratch.py against the real engine: values, derivatives, and the graphs in print.

Each program is written once, for the functions of either engine (`m`).
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import wengert as wg

FILE = Path(__file__).parents[2] / "docs" / "from_scratch.py"
MOST_LINES = 400


def load():
    spec = importlib.util.spec_from_file_location("from_scratch", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["from_scratch"] = module  # where dataclasses look up annotations
    spec.loader.exec_module(module)
    return module


scratch = load()


def applying(name):
    return lambda *xs: scratch.bind(name, *xs)


SCRATCH = SimpleNamespace(
    **{name: applying(name) for name in ("exp", "log", "sin", "cos", "tanh", "relu", "where")},
    greater=applying("greater"),
    sum=lambda x, axis: scratch.bind("sum", x, axes=axis),
    reshape=lambda x, shape: scratch.bind("reshape", x, shape=shape),
)

# --- Programs: the argument to differentiate by comes first --------------------------------------


def network(m, W, v, x):
    error = m.tanh(x @ W) @ v - 1
    return m.sum(error * error, (0, 1))


def broadcasting(m, a, b, c):
    return m.sum(a * b + b / c - (-a) / (b * c), (0, 1))


def exponentials(m, x):
    return m.sum(m.exp(x) * m.sin(x) - m.cos(x) / 2, (0,))


def logarithms(m, x):
    return m.sum(x * m.log(x), (0,))


def kinks(m, x, W):
    return m.sum(m.relu(x @ W) * m.relu(x @ W), (0, 1))


def not_taken(m, x):
    return m.sum(m.where(m.greater(x, 0), 1 / x, 2 * x), (0,))


def rows(m, x, y):
    return m.sum(m.sum(x * x, (1,)) * m.sum(y, (0,)) * m.reshape(y, (3,)), (0,))


def diamonds(m, x):
    for _ in range(30):  # a billion paths
        x = m.sin(x) + m.cos(x)
    return m.sum(x, (0,))


def unused(m, x, y):
    return m.sum(y * y, (0,))


rng = np.random.default_rng(0)


def normal(*shape):
    return rng.standard_normal(shape)


def away(*shape):
    return 1 + rng.random(shape)


PROGRAMS = {
    network: (normal(3, 4), normal(4, 1), normal(2, 3)),
    broadcasting: (away(3), away(2, 1), away(2, 3)),
    exponentials: (normal(5),),
    kinks: (normal(2, 3), normal(3, 4)),
    not_taken: (np.array([0.5, -0.5, 2.0, 0.0]),),
    rows: (normal(3, 2), normal(1, 3)),
    logarithms: (away(3),),
    diamonds: (normal(2),),
    unused: (normal(2), normal(3)),
}
every_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)

# Whose graphs differ, with the reason.
OTHER_GRAPHS = {logarithms: "the real slope of log is NaN below zero, where there is none"}


def of(m, program):
    """Return the program as a function of arrays alone, with its own names of arguments."""

    def function(*arrays):
        return program(m, *arrays)

    parameters = list(inspect.signature(program).parameters.values())[1:]
    function.__name__ = program.__name__
    function.__signature__ = inspect.Signature(parameters)
    return function


def at(program):
    """Return the program and its gradient in both engines, as functions of the first argument."""
    tensors = [wg.tensor(y) for y in PROGRAMS[program][1:]]
    rest = PROGRAMS[program][1:]
    f, g = of(SCRATCH, program), of(wg, program)
    return (
        lambda x: f(x, *rest),
        lambda x: scratch.grad(f)(x, *rest),
        lambda x: g(x, *tensors),
        lambda x: wg.grad(g)(x, *tensors),
    )


def total(m, y):
    return m.sum(y, tuple(range(len(y.shape))))


def same(ours, real):
    np.testing.assert_allclose(ours.value, real.numpy(), rtol=1e-13, atol=1e-13)


# --- Derivatives ----------------------------------------------------------------------------------


@every_program
def test_value_and_gradient(program):
    x = PROGRAMS[program][0]
    f, df, g, dg = at(program)
    same(f(scratch.variable(x)), g(wg.tensor(x)))
    same(df(x), dg(wg.tensor(x)))


@every_program
def test_second_order_by_each_nesting(program):
    x = PROGRAMS[program][0]
    f, df, g, _ = at(program)
    v = np.cos(np.arange(x.size)).reshape(x.shape)
    want = wg.hvp(g, wg.tensor(x), wg.tensor(v))
    same(scratch.jvp(df, x, v)[1], want)
    same(scratch.grad(lambda z: total(SCRATCH, df(z) * v))(x), want)
    same(scratch.grad(lambda z: scratch.jvp(f, z, v)[1])(x), want)
    third = scratch.grad(lambda z: total(SCRATCH, scratch.jvp(df, z, v)[1]))(x)
    wanted = wg.grad(lambda z: wg.sum(wg.hvp(g, z, wg.tensor(v))))(wg.tensor(x))
    np.testing.assert_allclose(third.value, wanted.numpy(), rtol=1e-12, atol=1e-12)


@every_program
def test_forward_mode(program):
    x = PROGRAMS[program][0]
    f, _, g, _ = at(program)
    tangent = np.sin(1 + np.arange(x.size)).reshape(x.shape)
    y, y_dot = scratch.jvp(f, x, tangent)
    want, want_dot = wg.jvp(g, (wg.tensor(x),), (wg.tensor(tangent),))
    same(y, want)
    same(y_dot, want_dot)


@every_program
def test_vmap_of_the_value_and_of_the_gradient(program):
    x = PROGRAMS[program][0]
    f, df, g, dg = at(program)
    batch = np.stack([x, 0.9 * x, 0.8 * x])
    same(scratch.vmap(f)(batch), wg.vmap(g)(wg.tensor(batch)))
    same(scratch.vmap(df)(batch), wg.vmap(dg)(wg.tensor(batch)))


def test_jacobian_is_the_batch_of_all_pullbacks():
    x, W = normal(3), normal(2, 3)

    def f(m, x):
        return m.sum(m.tanh(x * W), (1,))

    def jacobian(x):
        fresh = scratch.bind("alias", x)
        y = f(SCRATCH, fresh)
        return scratch.vmap(lambda bar: scratch.pull(y, bar, fresh))(np.eye(2))

    same(jacobian(x), wg.jacobian(lambda x: f(wg, x))(wg.tensor(x)))


def test_perturbations_are_not_confused():
    inner = scratch.grad(lambda x: x * scratch.grad(lambda y: x + y)(1.0))
    assert inner(1.0).value == 1.0
    shared = scratch.grad(lambda x: x * scratch.grad(lambda y: x * y)(x))
    assert shared(3.0).value == 6.0
    nested = scratch.jvp(lambda x: x * scratch.jvp(lambda y: x * y, 1.0, 1.0)[1], 3.0, 1.0)
    assert nested[1].value == 6.0
    mapped = scratch.grad(lambda a: total(SCRATCH, scratch.vmap(lambda t: t * a)(np.ones(4))))
    assert mapped(2.0).value == 4.0


def test_vmap_inside_vmap_and_of_what_does_not_depend_on_the_batch():
    outer = scratch.vmap(lambda x: scratch.vmap(lambda y: x * y)(np.arange(3.0)))
    np.testing.assert_array_equal(outer([1.0, 2.0]).value, [[0, 1, 2], [0, 2, 4]])
    constant = scratch.vmap(lambda x: scratch.bind("full", shape=(2,), value=7))
    np.testing.assert_array_equal(constant(np.ones(3)).value, np.full((3, 2), 7.0))


def test_branch_not_taken_does_not_poison_the_gradient():
    x = np.array([0.0, -1.0, 2.0])
    gradient = scratch.grad(of(SCRATCH, not_taken))(x).value
    np.testing.assert_array_equal(gradient, [2.0, 2.0, -0.25])
    assert scratch.bind("cotangent_mul", 0.0, np.inf).value == 0.0
    assert np.isnan(scratch.bind("mul", 0.0, np.inf).value)


def test_work_is_linear_in_the_length_of_a_chain():
    def chain(length):
        def f(x):
            for _ in range(length):
                x = x + x
            return x

        return scratch.show(scratch.grad(f), 1.0).count("\n")

    assert chain(400) - chain(200) == chain(300) - chain(100)


def test_nothing_is_computed_for_what_is_not_asked():
    before = next(scratch.serials)
    scratch.grad(lambda x, y: x * y)(2.0, 3.0)  # makes alias, mul, full and one cotangent_mul
    assert next(scratch.serials) - before - 1 == 4


# --- The graphs in print --------------------------------------------------------------------------


def plain(graph):
    """Return a printed graph of the real engine without comments, all dtypes being float64."""
    lines = [re.sub(r"\s+# .*", "", line) for line in str(graph).splitlines()]
    return "\n".join(lines).replace("dtype=float64, ", "").replace("bool[", "f64[")


@pytest.mark.parametrize(
    "program", [p for p in PROGRAMS if p not in OTHER_GRAPHS], ids=lambda p: p.__name__
)
def test_printed_graphs_are_alike(program):
    arrays = PROGRAMS[program]
    f, g = of(SCRATCH, program), of(wg, program)
    tensors = [wg.tensor(x) for x in arrays]
    assert scratch.show(f, *arrays) == plain(wg.trace(g)(*tensors))
    assert scratch.show(scratch.grad(f), *arrays) == plain(wg.trace(wg.grad(g))(*tensors))


def operations(text):
    return re.findall(r"= (\w+)\(", text)


def test_graph_of_the_second_derivative_has_the_same_operations():
    x = normal(3)
    f, g = of(SCRATCH, exponentials), of(wg, exponentials)
    ours = scratch.show(scratch.grad(lambda z: total(SCRATCH, scratch.grad(f)(z))), x)
    real = wg.trace(wg.grad(lambda z: wg.sum(wg.grad(g)(z))))(wg.tensor(x))
    # Where cotangent and slope both vary, the real engine asks in so many operations whether the
    # cotangent is zero; here the product itself does.
    asked = [op.primitive.name for op in real.operations]
    assert asked.count("equal") == asked.count("where") > 0
    assert operations(ours) == [name for name in asked if name not in {"equal", "where"}]


@pytest.mark.parametrize("size", [1, 7])
def test_graph_of_a_batch_has_the_same_operations_whatever_its_size(size):
    W, v, x = PROGRAMS[network]
    batch = np.stack([x] * size)
    ours = scratch.show(scratch.vmap(lambda x: network(SCRATCH, W, v, x)), batch)
    weights = wg.tensor(W), wg.tensor(v)
    real = wg.trace(wg.vmap(lambda x: network(wg, *weights, x)))(wg.tensor(batch))
    assert operations(ours) == [op.primitive.name for op in real.operations]


# --- The file itself ------------------------------------------------------------------------------


def test_file_is_short_and_stands_on_numpy_alone():
    text = FILE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    imported = set(re.findall(r"^(?:import|from) (\w+)", text, flags=re.MULTILINE))
    assert imported - sys.stdlib_module_names == {"numpy"}


def test_it_runs():
    done = subprocess.run([sys.executable, FILE], capture_output=True, text=True, check=True)
    assert "graph loss(W: f64[3, 4], v: f64[4, 1], x: f64[2, 3]) -> (%5: f64[]):" in done.stdout
    assert done.stdout.endswith("d/dx (x · d/dy (x + y)) = 1.0\n")
