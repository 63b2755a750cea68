"""What all tests share, those in docstrings included."""

from __future__ import annotations

import os

import hypothesis
import pytest

# The processes that run tests share the cores: threads of their own would only wait for each other.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Each test compiles for itself, and none meets the code that a user keeps on disk.
os.environ["WENGERT_CACHE"] = "0"
os.environ.pop("WENGERT_CACHE_DIR", None)

# The same examples in every run; how long one takes depends on who else uses the machine.
hypothesis.settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def _examples_run_in_an_empty_folder(request: pytest.FixtureRequest) -> None:
    """Let files that the example of a docstring writes fall outside the repository."""
    if isinstance(request.node, pytest.DoctestItem):
        folder = request.getfixturevalue("tmp_path")
        request.getfixturevalue("monkeypatch").chdir(folder)
