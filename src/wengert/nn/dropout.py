"""Dropout."""

from __future__ import annotations

from wengert.graph.mode import THREAD
from wengert.nn import functional
from wengert.nn.module import Module
from wengert.tensor.effects import guard, hyper
from wengert.tensor.tensor import Tensor


class Dropout(Module):
    """While training, sets each element to zero with probability `p` and scales the others.

    Changing `p` does not recompile a compiled function.

    Parameters
    ----------
    p : float
        The probability, from 0 to 1.
    inplace : bool
        Accepted for PyTorch's sake, without effect.

    Raises
    ------
    ValueError
        If `p` is no probability.

    Examples
    --------
    >>> import wengert as wg
    >>> layer = wg.nn.Dropout(0.5).eval()
    >>> layer(wg.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = p
        self.inplace = inplace
        self._probability()

    def _probability(self) -> float:
        if not 0 <= self.p <= 1:
            raise ValueError(f"Dropout: p must be a probability from 0 to 1, got {self.p}.")
        return float(self.p)

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, thinned out while training."""
        if not self.training:
            return input
        if THREAD.now.trace is None:
            return functional.dropout(input, self._probability())
        owner = self._owner("p")
        # With 0 and 1 no numbers are drawn: these are other graphs.
        if guard(f"{self._path or 'Dropout'}.p is 0 or 1", lambda: owner.p in (0, 1)):
            p = guard(f"{self._path or 'Dropout'}.p", owner._probability)
            return functional.dropout(input, p)
        return functional.dropout(input, hyper(owner, "p", owner._probability))

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}, inplace={self.inplace}"
