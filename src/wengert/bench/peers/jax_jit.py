"""JAX with `jit` over the whole work; parameters and optimiser state are donated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.bench.inputs import Inputs, lengths, make_inputs
from wengert.bench.task import Task
from wengert.bench.workload import ADAM, MOMENTUM, RATES, Layer, Workload


def prepare(case: dict[str, Any]) -> Task:
    """Build the program of one workload."""
    import jax

    workload = Workload.of(case)
    # Arrays that are bound to a device spare each call the decision where to put them.
    place = lambda tree: jax.device_put(tree, jax.devices()[0])  # noqa: E731
    inputs = make_inputs(workload)
    if workload.kind == "step":
        return _step(workload, inputs, place)
    return _derivative(workload, inputs, place)


def _step(workload: Workload, inputs: Inputs, place: Callable[[Any], Any]) -> Task:
    """Build a training step: state in, state and loss out."""
    import jax
    import jax.numpy as jnp

    loss_of, update = _loss(workload), _update(workload)
    arrays = {"sgd": 0, "momentum": 1, "adam": 2}[workload.optimizer]
    memory = [jax.tree.map(jnp.zeros_like, inputs.parameters) for _ in range(arrays)]
    key = jax.random.key(0) if workload.dropout else None
    state = [place((inputs.parameters, memory, jnp.zeros((), jnp.int32), key))]
    x, target = place((inputs.x, inputs.target))

    def advance(state: Any, x: Any, target: Any) -> Any:
        parameters, memory, count, key = state
        now = None
        if key is not None:
            key, now = jax.random.split(key)
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, target, now)
        parameters, memory, count = update(parameters, gradients, memory, count)
        return loss, (parameters, memory, count, key)

    compiled = jax.jit(advance, donate_argnums=0)

    def step() -> Any:
        loss, state[0] = compiled(state[0], x, target)
        jax.block_until_ready((loss, state[0]))
        return loss

    def check(steps: int) -> list[float]:
        return [float(step()) for _ in range(steps)]

    facts = _facts(state[0][0])
    return Task(step, check, facts, lambda: _memory(compiled.lower(state[0], x, target)))


def _derivative(workload: Workload, inputs: Inputs, place: Callable[[Any], Any]) -> Task:
    """Build a value with its gradient, or a product of the Hessian with a vector."""
    import jax

    loss_of = _loss(workload)

    def product(parameters: Any, direction: Any, x: Any, target: Any) -> Any:
        gradient = jax.grad(lambda parameters: loss_of(parameters, x, target))
        return jax.jvp(gradient, (parameters,), (direction,))[1]

    if workload.kind == "gradient":
        compiled = jax.jit(jax.value_and_grad(loss_of))
        arguments = place((inputs.parameters, inputs.x, inputs.target))
    else:
        compiled = jax.jit(product)
        arguments = place((inputs.parameters, inputs.direction, inputs.x, inputs.target))

    def run() -> Any:
        return jax.block_until_ready(compiled(*arguments))

    def check(_steps: int) -> list[float]:
        return lengths(jax.tree.leaves(run()))

    facts = _facts(arguments[0])
    return Task(run, check, facts, lambda: _memory(compiled.lower(*arguments)))


def _facts(parameters: Any) -> dict[str, Any]:
    import jax

    return {"version": jax.__version__, "dtype": str(parameters[0][0].dtype)}


def _memory(lowered: Any) -> dict[str, int]:
    """Return XLA's own account of its memory; what is donated is counted once."""
    plan = lowered.compile().memory_analysis()
    return {
        "arguments": plan.argument_size_in_bytes,
        "temporaries": plan.temp_size_in_bytes,
        "outputs": plan.output_size_in_bytes - plan.alias_size_in_bytes,
    }


def _loss(workload: Workload) -> Callable[..., Any]:
    """Return the loss as a function of parameters, data and perhaps a random key."""
    import jax
    import jax.numpy as jnp

    layers = workload.layers
    keys = sum(layer.kind == "dropout" for layer in layers)

    def loss(parameters: Any, x: Any, target: Any, key: Any = None) -> Any:
        rest = iter(parameters)
        draws = iter(()) if key is None else iter(jax.random.split(key, keys))
        for layer in layers:
            own = next(rest) if layer.weight else ()
            draw = next(draws) if layer.kind == "dropout" else None
            x = _apply(workload, layer, x, own, draw)
        if workload.loss == "mse":
            return jnp.mean((x - target) ** 2)
        if workload.loss == "binary":
            return jnp.mean(jax.nn.softplus(x) - target * x)
        log_probabilities = jax.nn.log_softmax(x)
        return -jnp.mean(log_probabilities[jnp.arange(workload.batch), target])

    return loss


def _apply(workload: Workload, layer: Layer, x: Any, own: Any, draw: Any) -> Any:
    """Apply one layer."""
    import jax
    import jax.numpy as jnp

    if layer.kind == "linear":
        x = x @ own[0] + own[1]
    elif layer.kind == "activation":
        x = _activate(workload.activation, x)
    elif layer.kind == "norm":
        centred = x - jnp.mean(x, -1, keepdims=True)
        variance = jnp.mean(centred * centred, -1, keepdims=True)
        x = centred * jax.lax.rsqrt(variance + 1e-5) * own[0] + own[1]
    elif layer.kind == "dropout":
        kept = jax.random.bernoulli(draw, 1 - workload.dropout, x.shape)
        x = jnp.where(kept, x / (1 - workload.dropout), 0)
    elif layer.kind == "conv":
        padding = [(layer.padding, layer.padding)] * 2
        images = ("NCHW", "OIHW", "NCHW")
        x = jax.lax.conv_general_dilated(x, own[0], (1, 1), padding, dimension_numbers=images)
        x = x + own[1][:, None, None]
    elif layer.kind == "pool":
        window = (1, 1, 2, 2)
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
    else:
        x = x.reshape(len(x), -1)
    return x


def _activate(name: str, x: Any) -> Any:
    """Apply an activation function."""
    import jax
    import jax.numpy as jnp

    if name == "gelu":
        return jax.nn.gelu(x, approximate=False)
    return jax.nn.relu(x) if name == "relu" else jnp.tanh(x)


def _update(workload: Workload) -> Callable[..., Any]:
    """Return the optimiser's update of parameters, its memory and its counter."""
    import jax
    import jax.numpy as jnp

    rate, each = RATES[workload.optimizer], jax.tree.map
    first, second, epsilon = ADAM

    def sgd(p: Any, g: Any, memory: Any, count: Any) -> Any:
        return each(lambda p, g: p - rate * g, p, g), memory, count

    def momentum(p: Any, g: Any, memory: Any, count: Any) -> Any:
        buffer = each(lambda b, g: MOMENTUM * b + g, memory[0], g)
        return each(lambda p, b: p - rate * b, p, buffer), [buffer], count

    def adam(p: Any, g: Any, memory: Any, count: Any) -> Any:
        count = count + 1
        mean = each(lambda m, g: first * m + (1 - first) * g, memory[0], g)
        square = each(lambda s, g: second * s + (1 - second) * g * g, memory[1], g)
        scale = rate / (1 - first**count)
        root = jnp.sqrt(1 - second**count)
        new = each(lambda p, m, s: p - scale * m / (jnp.sqrt(s) / root + epsilon), p, mean, square)
        return new, [mean, square], count

    return {"sgd": sgd, "momentum": momentum, "adam": adam}[workload.optimizer]
