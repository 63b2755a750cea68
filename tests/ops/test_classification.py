"""The loss of a classifier where logits are huge or infinite, and where there are no examples."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg

INF, NAN = np.inf, np.nan
ROWS = {  # logits, the loss against each class, the probabilities
    "impossible class": ([-INF, 0, 0], [INF, np.log(2), np.log(2)], [0, 0.5, 0.5]),
    "certain class": ([INF, 0, 0], [NAN, INF, INF], [NAN, 0, 0]),
    "two certain classes": ([INF, INF, 0], [NAN, NAN, INF], [NAN, NAN, 0]),
    "nothing possible": ([-INF, -INF, -INF], [NAN, NAN, NAN], [NAN, NAN, NAN]),
    "no number": ([NAN, 0, 0], [NAN, NAN, NAN], [NAN, NAN, NAN]),
    "huge": ([3e38, 0, -3e38], [0, 3e38, 6e38], [1, 0, 0]),
    "huge and equal": ([-3e38, -3e38, 0], [3e38, 3e38, 0], [0, 0, 1]),
}


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_losses_and_slopes_of_odd_logits(row, compiled, reduction):
    """An ordinary row beside the odd one keeps its loss and its slope."""
    logits, losses, probabilities = row
    x = wg.asarray(np.array([logits, [0.0, 0.0, -INF]]))
    count = {"none": 1, "sum": 1, "mean": 2}[reduction]
    for target, loss in enumerate(losses):
        t = np.array([target, 1])

        def f(x, t=t):
            return wg.cross_entropy(x, t, reduction=reduction)

        pair = np.array([loss, np.log(2)])
        gradient = wg.grad(lambda x: wg.sum(f(x)))
        value, slope = (wg.compile(g)(x) if compiled else g(x) for g in (f, gradient))
        wanted = pair if reduction == "none" else pair.sum() / count
        np.testing.assert_allclose(value.numpy(), wanted, rtol=1e-15)
        expected = np.array([probabilities, [0.5, 0.5, 0.0]])
        expected[[0, 1], t] -= 1
        np.testing.assert_allclose(slope.numpy(), expected / count, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_examples(dtype):
    x, t = wg.zeros((0, 3), dtype=dtype), np.zeros(0, int)
    for run in (wg.cross_entropy, wg.compile(wg.cross_entropy)):
        assert np.isnan(run(x, t).item())
        assert run(x, t, reduction="sum").item() == 0
        assert run(x, t).dtype == dtype
    assert wg.grad(wg.cross_entropy)(x, t).shape == (0, 3)
    lanes = wg.vmap(lambda x: wg.cross_entropy(x, t))(wg.zeros((2, 0, 3), dtype=dtype))
    assert np.isnan(lanes.numpy()).all()
