"""The workloads of the benchmarks, by name."""

from __future__ import annotations

from dataclasses import replace

from wengert.bench.nets import NETS
from wengert.bench.workload import Workload

__all__ = ["GROUPS", "NETS", "WORKLOADS"]


def _varied(suffix: str, **differences: object) -> dict[str, Workload]:
    """Return every network with something else."""
    return {f"{name}-{suffix}": replace(net, **differences) for name, net in NETS.items()}  # type: ignore[arg-type]


_OTHERS = {
    "odd": Workload((13, 97, 31, 7), 37),
    "regression": Workload((13, 64, 64, 1), 128, loss="mse"),
    "logistic": Workload((54, 1), 100_000, loss="binary", kind="gradient"),
    "lenet": Workload((400, 120, 84, 10), 64, convolutions=True),
    "layernorm": Workload((64, 256, 256, 10), 64, activation="gelu", norm=True),
    "dropout": Workload((64, 256, 256, 10), 64, dropout=0.3),
}
"""What the six networks do not have: odd sizes, other losses, layers and derivatives."""

GROUPS = {
    "sgd": NETS,
    "momentum": _varied("momentum", optimizer="momentum"),
    "adam": _varied("adam", optimizer="adam"),
    "tanh": _varied("tanh", activation="tanh"),
    "gelu": _varied("gelu", activation="gelu"),
    "other": _OTHERS,
    "hvp": _varied("hvp", activation="tanh", kind="hvp"),
}
"""Workloads that are asked for together."""

WORKLOADS = {name: one for group in GROUPS.values() for name, one in group.items()}
