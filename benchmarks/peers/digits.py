"""Trainings on the digits, timed in a process of their own: ``python -m benchmarks.peers.digits``.

Arguments: the system, the share of dropout, how many trainings, the processors. It prints one line
of JSON: the seconds of the imports and of each training, those that processors worked on it, and
the accuracy on the test rows.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

Fit = Callable[[int], float]
"""Trains with a seed; returns the accuracy."""


def wengert(dropout: float, count: int) -> Fit:
    """Return what trains with `wengert.train.fit`: data and scores are its own work."""
    from wengert.train import fit

    return lambda seed: (
        fit("digits", dropout=dropout, seed=seed, progress=False).scores["test"].score
    )


def scikit_learn(dropout: float, count: int) -> Fit:
    """Return what trains `MLPClassifier` on the rows that `wengert.train.fit` makes of the data.

    It has no dropout, and none is asked for. Of what `fit` does it has only the training itself:
    the rows are there and encoded, and neither they nor others are scored after an epoch.
    """
    from sklearn.neural_network import MLPClassifier

    def fitted(seed: int) -> float:
        model = MLPClassifier(
            (256,),
            learning_rate_init=0.001,
            batch_size=32,
            max_iter=40,
            alpha=0.0,
            tol=0.0,
            n_iter_no_change=40,
            random_state=seed,
        )
        model.fit(*parts[seed][0])
        return float(model.score(*parts[seed][1]))

    parts = [_rows(seed) for seed in range(count)]
    return fitted


def _rows(seed: int) -> list[Any]:
    """Return features and classes of the training rows, and of the test rows."""
    from wengert.train import Options
    from wengert.train.training import load_source, plan_training

    plan = plan_training(load_source("digits"), Options(seed=seed))
    features = plan.preprocessor.encode(plan.frame.columns)
    classes = plan.frame.target.values
    return [(features[rows], classes[rows]) for rows in (plan.split.train, plan.split.test)]


SYSTEMS = {"wengert": wengert, "scikit-learn": scikit_learn}


def main(system: str, dropout: str, count: str, processors: str) -> None:
    """Train, and print the times."""
    if processors:
        os.sched_setaffinity(0, map(int, processors.split(",")))
    warnings.simplefilter("ignore")  # scikit-learn's, at the last epoch that was asked for
    begun = time.perf_counter()
    fit = SYSTEMS[system](float(dropout), int(count))
    times = [time.perf_counter() - begun]
    accuracies, worked = [], []
    for seed in range(int(count)):
        begun, before = time.perf_counter(), time.process_time()
        accuracies.append(fit(seed))
        times.append(time.perf_counter() - begun)
        worked.append(time.process_time() - before)
    answer = {"imports": times[0], "fits": times[1:], "worked": worked, "accuracies": accuracies}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
