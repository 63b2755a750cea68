"""JAX with `jit` over the whole training step: not eager, an outlook on what compiling gives."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.nets import LEARNING_RATE, NETS, make_inputs
from benchmarks.task import Task


def prepare(case: dict[str, Any]) -> Task:
    """Build the training step of one network."""
    net = NETS[case["net"]]
    inputs = make_inputs(net)
    pairs = zip(inputs.weights, inputs.biases, strict=True)
    state = [[(jnp.array(weight), jnp.array(bias)) for weight, bias in pairs]]
    x, labels = jnp.array(inputs.x), jnp.array(inputs.labels)

    def loss_of(parameters: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        h = x
        for weight, bias in parameters[:-1]:
            h = jax.nn.relu(h @ weight + bias)
        weight, bias = parameters[-1]
        log_probabilities = jax.nn.log_softmax(h @ weight + bias)
        return -jnp.mean(log_probabilities[jnp.arange(net.batch), labels])

    def update(parameters: Any, x: jax.Array, labels: jax.Array) -> tuple[jax.Array, Any]:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, labels)
        new = jax.tree.map(lambda p, g: p - LEARNING_RATE * g, parameters, gradients)
        return loss, new

    compiled = jax.jit(update, donate_argnums=0)

    def step() -> Any:
        loss, state[0] = compiled(state[0], x, labels)
        loss.block_until_ready()
        return loss

    facts = {"version": jax.__version__, "dtype": str(state[0][0][0].dtype)}
    return Task(step, lambda steps: [float(step()) for _ in range(steps)], facts)
