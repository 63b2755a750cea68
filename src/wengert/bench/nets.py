"""Networks that have a name: from one where calls are all the cost to one of arithmetic."""

from __future__ import annotations

from wengert.bench.workload import Workload

NETS = {
    "tiny": Workload((2, 2, 2), 1),
    "digits": Workload((64, 128, 10), 32),
    "mnist": Workload((784, 256, 128, 10), 128),
    "table": Workload((32, 256, 256, 256, 10), 256),
    "deep": Workload((64,) * 21 + (10,), 64),
    "wide": Workload((1024, 1024, 1024, 10), 256),
}
