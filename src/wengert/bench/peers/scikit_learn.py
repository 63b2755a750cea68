"""scikit-learn's `MLPClassifier.partial_fit`, one minibatch a call."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.bench.inputs import make_inputs
from wengert.bench.peers import Unsupported
from wengert.bench.task import Task
from wengert.bench.workload import RATES, Workload

TWO = 2
"""Classes that scikit-learn models by one output."""


def prepare(case: dict[str, Any]) -> Task:
    """Build the training step of a classifier."""
    import sklearn
    from sklearn.neural_network import MLPClassifier

    workload = Workload.of(case)
    _refuse(workload)
    inputs = make_inputs(workload)
    model = MLPClassifier(
        hidden_layer_sizes=workload.widths[1:-1],
        activation=workload.activation,
        solver="sgd",
        alpha=0.0,
        batch_size=workload.batch,
        learning_rate_init=RATES[workload.optimizer],
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=False,
        random_state=0,
    )
    model.partial_fit(inputs.x, inputs.target, classes=np.arange(workload.widths[-1]))
    model.coefs_[:] = inputs.weights
    model.intercepts_[:] = inputs.biases

    def step() -> float:
        model.partial_fit(inputs.x, inputs.target)
        return float(model.loss_)

    facts = {"version": sklearn.__version__, "dtype": str(model.coefs_[0].dtype)}
    return Task(step, lambda steps: [step() for _ in range(steps)], facts)


def _refuse(workload: Workload) -> None:
    """Refuse what `MLPClassifier` cannot express."""
    if not workload.plain or workload.loss != "cross_entropy" or workload.optimizer != "sgd":
        raise Unsupported("only a classifier's step with plain SGD is compared")
    if workload.activation == "gelu":
        raise Unsupported("MLPClassifier has no GELU")
    if workload.widths[-1] == TWO:
        raise Unsupported("MLPClassifier has one output for two classes")
