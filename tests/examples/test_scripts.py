"""Each example runs as its users run it, and prints what the course says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

KEY_LINES = {
    "a_one_hidden_layer.py": [
        "∂J/∂W1 = (∂J/∂z) xᵀ + λ W1",
        "∂Z/∂X (5, 2, 3)",
        "graph objective_backward(",
        "16 × 512",
    ],
    "b_general_backprop.py": [
        "u(1)    input x  0.500000000  2.079671757",
        "12       4,096    16,380     48        36        72",
        "equation 6.53           6           0",
        "kink of relu at 1 element",
    ],
    "b_multilayer_perceptron.py": [
        "3-5-5-5-5-2          W b",
        "∇_W2 J = Hᵀ G + 2λ W2",
        "50, 50    3,700      185,000   210,000",
        "never formed",
    ],
    "c_batched_layers.py": [
        "3-5-5-4-4-2 softmax cross-entropy yes",
        "layers (3, 4, 2): matmul: inner dimensions must agree, got (5, 2) @ (4, 3)",
        "layers (3, 3, 3): the shapes fit, and ∂L/∂W_1 is wrong by",
        "epoch 20 L = 0.0",
    ],
    "d_layers_as_modules.py": [
        "E 0.298371109 0.298371109",
        "E after 1 0.291027774 0.291027774 0.291027924",
        "E after 10,000 3.51018778e-05 3.51018778e-05 3.50847863e-05",
        "are 0.291027773694, and 0.015913620 and 0.984064274.",
        "gradients accumulate: [2.0, 4.0], then [4.0, 8.0]",
        "needs an incoming gradient",
        "was freed by an earlier backward pass",
    ],
    "d_lenet.py": [
        "10 arrays, 61,706 parameters",
        "input -> conv2d -> relu -> maxpool2d -> conv2d -> relu -> maxpool2d -> flatten -> linear "
        "-> relu -> linear -> relu -> linear -> MSELoss -> loss",
        "each parameter moved by −lr · gradient",
    ],
}


def test_every_example_is_listed():
    scripts = {path.name for path in (ROOT / "examples").glob("[!_]*.py")}
    assert scripts == set(KEY_LINES)


@pytest.mark.parametrize("name", KEY_LINES)
def test_example_runs(name, tmp_path):
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / name)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    printed = " ".join(done.stdout.split())  # the width of a column is no matter
    for line in KEY_LINES[name]:
        assert " ".join(line.split()) in printed
    assert list(tmp_path.iterdir()) == []  # it leaves nothing behind
