"""General backpropagation, as in section 6.5 of Deep Learning, Goodfellow et al. (system B).

A graph whose nodes are variables and whose edges are operations; Algorithm 6.1 runs it forward,
Algorithm 6.2 fills `grad_table` in exactly the reverse order, once per node. The work is linear in
the edges, although the sum of equation 6.55 runs over exponentially many paths. The multilayer
perceptron of Algorithms 6.3 and 6.4 is in `b_multilayer_perceptron.py`.

Run it: ``python examples/b_general_backprop.py``.
"""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np
from _count import backward_operations, calls, kept_bytes
from _show import heading, short, table

import wengert as wg
from wengert.graph.source import describe
from wengert.graph.variable import Operation, Variable

# What Algorithm 6.2 needs of an operation u = f(x) or f(x, y): its partial derivatives.
PARTIALS: dict[str, Callable[..., tuple[float, ...]]] = {
    "add": lambda x, y: (1.0, 1.0),
    "sub": lambda x, y: (1.0, -1.0),
    "mul": lambda x, y: (y, x),
    "div": lambda x, y: (1 / y, -x / y**2),
    "exp": lambda x: (math.exp(x),),
    "log": lambda x: (1 / x,),
    "sin": lambda x: (math.cos(x),),
    "cos": lambda x: (-math.sin(x),),
    "tanh": lambda x: (1 - math.tanh(x) ** 2,),
}

Values = dict[Variable, float]

MOST_DIAMONDS_BY_PATHS = 12


def algorithm_6_1(graph: wg.Graph, inputs: Sequence[float]) -> Values:
    """Return the value u(i) of each node, computed in topological order."""
    u = dict(zip(graph.inputs, inputs, strict=True))
    u |= {v: float(v.concrete("a constant of a graph")) for v in graph.free}
    for op in graph.operations:  # the Wengert list is in topological order
        parents = [np.asarray(u[x]) for x in op.inputs]
        u[graph.results(op)[0]] = float(op.primitive.evaluate(*parents, **op.params))
    return u


def partials(op: Operation, u: Values) -> tuple[float, ...]:
    """Return ∂u(i)/∂u(j) for each parent j of the node that `op` makes."""
    return PARTIALS[op.primitive.name](*(u[x] for x in op.inputs))


def algorithm_6_2(graph: wg.Graph, u: Values) -> tuple[Values, int]:
    """Return `grad_table`, filled once per node in reverse order, and how many edges were used.

    ``grad_table[j] = Σ grad_table[i] ∂u(i)/∂u(j)`` over the nodes i that j is a parent of.
    """
    children = graph.consumers()
    nodes = [*graph.inputs, *(graph.results(op)[0] for op in graph.operations)]
    grad_table: Values = {}
    edges = 0
    for j in reversed(nodes):
        total = 1.0 if j is graph.outputs[0] else 0.0
        for op in children.get(j, ()):
            i = graph.results(op)[0]
            for parent, partial in zip(op.inputs, partials(op, u), strict=True):
                if parent is j:
                    total += grad_table[i] * partial
                    edges += 1
        grad_table[j] = total
    return grad_table, edges


def equation_6_55(graph: wg.Graph, u: Values, wrt: Variable) -> tuple[float, int, int]:
    """Return the same derivative as a sum over paths, with how many paths and products it took."""
    made = set(graph.operations)
    stack = [(graph.outputs[0], 1.0)]
    total, paths, products = 0.0, 0, 0
    while stack:
        v, product = stack.pop()
        if v is wrt:
            total += product
            paths += 1
        elif v.op in made:
            for parent, partial in zip(v.op.inputs, partials(v.op, u), strict=True):
                stack.append((parent, product * partial))
                products += 1
    return total, paths, products


def expression(x: wg.Tensor, y: wg.Tensor) -> wg.Tensor:
    """Return a number that depends on x and y through several paths."""
    a = x * y
    b = wg.sin(a) + wg.exp(x)
    return wg.tanh(b / y) * a


def diamonds(x: wg.Tensor, count: int) -> wg.Tensor:
    """Return x after a chain of diamonds: each doubles the number of paths."""
    for _ in range(count):
        x = wg.sin(x) + wg.cos(x)
    return x


def graph_of(function: Callable[..., wg.Tensor], *arguments: float) -> wg.TracedGraph:
    """Return 𝓖 of a function of numbers, in float64."""
    return wg.trace(function)(*(wg.tensor(x, dtype=wg.float64) for x in arguments))


# Only what is asked is computed.


def net(W1: wg.Tensor, W2: wg.Tensor, W3: wg.Tensor, x: wg.Tensor, y: wg.Tensor) -> wg.Tensor:
    """Return the mean squared error of a net with two hidden layers."""
    error = wg.tanh(wg.tanh(x @ W1) @ W2) @ W3 - y
    return wg.mean(error * error)


def asked(*names: str) -> int:
    """Return how many operations 𝓑 has if only the gradients by `names` are asked for."""
    shapes = {"W1": (5, 4), "W2": (4, 4), "W3": (4, 2), "x": (8, 5), "y": (8, 2)}
    graph = wg.trace(net)(*(wg.zeros(shape) for shape in shapes.values()))
    return len(backward_operations(graph.backward(wrt=names)))


# Store or recompute.


def f3(w: wg.Tensor) -> wg.Tensor:
    """Return z = f(y), y = f(x), x = f(w), with f the sine."""
    return wg.sin(wg.sin(wg.sin(w)))


def equation_6_53(w: wg.Tensor) -> tuple[wg.Tensor, wg.Tensor]:
    """Return z and f′(f(f(w))) f′(f(w)) f′(w), every f computed where it stands."""
    return wg.sum(f3(w)), wg.cos(wg.sin(wg.sin(w))) * wg.cos(wg.sin(w)) * wg.cos(w)


def store_or_recompute(size: int = 1000) -> dict[str, tuple[int, int, wg.Tensor]]:
    """Return, for three ways to ∂z/∂w, how often f is computed, the bytes kept, the gradient."""
    w = wg.tensor(np.linspace(-1, 1, size))
    ways = {
        "stored": wg.value_and_grad(lambda w: wg.sum(f3(w))),
        "checkpointed": wg.value_and_grad(lambda w: wg.sum(wg.checkpoint(f3)(w))),
        "equation 6.53": equation_6_53,
    }
    graphs = {name: wg.trace(way)(w) for name, way in ways.items()}
    return {
        name: (calls(graph, "sin"), kept_bytes(graph), ways[name](w)[1])
        for name, graph in graphs.items()
    }


# The complications that an implementation meets.


def several_outputs() -> tuple[wg.Tensor, wg.Tensor, wg.Tensor, int]:
    """Return maxima and their indices, found in one pass, the gradient, and how many operations."""
    x = wg.tensor([[3.0, 9.0, 4.0], [8.0, 2.0, 7.0]])
    maxima, indices = wg.max_with_index(x, axis=1)
    gradient = wg.grad(lambda x: wg.sum(wg.max_with_index(x, axis=1)[0]))(x)
    graph = wg.trace(lambda x: wg.max_with_index(x, axis=1))(x)
    return maxima, indices, gradient, len(graph.operations)


def accumulation_bytes(uses: int, size: int = 100_000) -> float:
    """Return the peak of a backward pass where `uses` paths meet, in units of the gradient."""
    w = wg.tensor(np.ones(size), requires_grad=True)
    total = wg.sum(w * 0.0)
    for k in range(uses):
        total = total + wg.sum(w * float(k))
    tracemalloc.start()
    total.backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / w.nbytes


def data_types() -> dict[str, str]:
    """Return the dtype of the gradient for each dtype of the variable, or the refusal."""
    found = {}
    for dtype in (wg.float32, wg.float64, wg.int64):
        try:
            gradient = wg.grad(lambda x: wg.sum(x * x))(wg.ones(2, dtype=dtype))
            found[str(dtype)] = f"gradient in {gradient.dtype}"
        except wg.DTypeError as error:
            found[str(dtype)] = str(error)
    return found


def undefined_points(function: Callable[..., wg.Tensor], *arrays: np.ndarray) -> list[str]:
    """Return the operations of `function` that are not differentiable where they are applied.

    Each primitive states where its derivative is undefined; here every operation is asked.
    """
    graph = wg.trace(function)(*arrays)
    values = {v: Variable(v.value) for v in graph.free}
    values |= {v: Variable(x) for v, x in zip(graph.inputs, arrays, strict=True)}
    found = []
    for op in graph.operations:
        xs = [values[x] for x in op.inputs]
        with np.errstate(all="ignore"):
            result = op.primitive.evaluate(*(x.value for x in xs), **op.params)
        results = result if op.primitive.several else [result]
        ys = [Variable(np.asarray(y)) for y in results]
        values.update(zip(graph.results(op), ys, strict=True))
        for point in op.primitive.nonsmooth:
            hits = point.where(ys if op.primitive.several else ys[0], *xs, **op.params)
            if count := np.count_nonzero(hits.concrete("where it is undefined")):
                elements = "1 element" if count == 1 else f"{count} elements"
                found.append(
                    f"{point.kind} of {op.primitive.name} at {elements} ({describe(op.source)})"
                )
    return found


def undefined_gradients() -> list[tuple[str, str, list[str]]]:
    """Return functions where they have no derivative: the value chosen, and what is reported."""
    cases: list[tuple[str, Callable[..., wg.Tensor], list[float]]] = [
        ("relu at 0", wg.relu, [0.0]),
        ("abs at 0", wg.abs, [0.0]),
        ("max of 2 2 1", wg.max, [2.0, 2.0, 1.0]),
        ("sqrt at 0", wg.sqrt, [0.0]),
        ("log at −1", wg.log, [-1.0]),
        ("tanh at 0", wg.tanh, [0.0]),
    ]
    rows = []
    for name, function, at in cases:
        x = np.array(at)
        gradient = wg.grad(lambda x, function=function: wg.sum(function(x)))(x)
        rows.append((name, short(gradient), undefined_points(function, x)))
    return rows


def show_tables() -> None:
    """Print Algorithms 6.1 and 6.2 node by node, and the count of work against that of paths."""
    heading("Algorithms 6.1 and 6.2: tanh((sin(xy) + eˣ)/y) · xy at x = 0.5, y = 2")
    graph, at = graph_of(expression, 0.5, 2.0), (0.5, 2.0)
    u = algorithm_6_1(graph, at)
    grad_table, edges = algorithm_6_2(graph, u)
    made = [(op.primitive.name, graph.results(op)[0]) for op in graph.operations]
    nodes = [("input x", graph.inputs[0]), ("input y", graph.inputs[1]), *made]
    rows: list[tuple[object, ...]] = [
        (f"u({place})", name, f"{u[v]:.9f}", f"{grad_table[v]:.9f}")
        for place, (name, v) in enumerate(nodes, start=1)
    ]
    table(("node", "operation", "value", "grad_table"), rows)
    found = [f"{float(bar):.9f}" for bar in graph.backward()(*map(np.asarray, at))]
    print(f"\ngraph.backward() gives ∂/∂x = {found[0]} and ∂/∂y = {found[1]}.")
    print(f"{edges} products, one for each edge of 𝓖. 𝓑 is a graph like any other:\n")
    print(graph.backward())

    heading("A chain of k diamonds has 2ᵏ paths (equation 6.55) and costs O(k)")
    rows = []
    for count in (1, 2, 4, 8, 12, 1000):
        graph = graph_of(lambda x, count=count: diamonds(x, count), 0.3)
        u = algorithm_6_1(graph, [0.3])
        grad_table, edges = algorithm_6_2(graph, u)
        work = (edges, len(graph.operations), len(backward_operations(graph.backward())))
        if count > MOST_DIAMONDS_BY_PATHS:
            rows.append((count, f"2^{count}", "—", *work, "—"))
            continue
        by_paths, paths, products = equation_6_55(graph, u, graph.inputs[0])
        gap = f"{abs(by_paths - grad_table[graph.inputs[0]]):.0e}"
        rows.append((count, paths, products, *work, gap))
    table(("k", "paths", "products", "edges", "ops of 𝓖", "ops of 𝓑", "difference"), rows)


def show_complications() -> None:
    """Print what is computed, kept and refused."""
    heading("Only what is asked is computed: operations of 𝓑 for a net of three layers")
    for names in (("W3",), ("W2",), ("W1",), ("W1", "W2", "W3"), ("W1", "W2", "W3", "x")):
        print(f"  gradient by {', '.join(names):14} {asked(*names):3d} operations")

    heading("Store or recompute f(f(f(w))), equations 6.52 and 6.53")
    ways = store_or_recompute()
    rows: list[tuple[object, ...]] = [(name, *found[:2]) for name, found in ways.items()]
    table(("way", "f computed", "bytes kept"), rows)

    heading("Complications: several outputs")
    maxima, indices, gradient, count = several_outputs()
    print(f"maximum and index in {count} operation: {maxima.tolist()} at {indices.tolist()}")
    print(f"the gradient goes to the index: {gradient.tolist()}")

    heading("Complications: gradients are summed into one buffer, as they arrive")
    for uses in (10, 100):
        print(f"  {uses} paths meet: peak {accumulation_bytes(uses):.1f} × the gradient's size")

    heading("Complications: data types")
    for dtype, said in data_types().items():
        print(f"  {dtype:8} {said}")

    heading("Complications: operations whose gradient is undefined, and what is chosen there")
    for name, chosen, hits in undefined_gradients():
        print(f"  {name:13} gradient {chosen:10}  {'; '.join(hits) or 'differentiable'}")


def main() -> None:
    """Print the walk through section 6.5."""
    show_tables()
    show_complications()


if __name__ == "__main__":
    main()
