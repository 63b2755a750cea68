"""Limits on gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

from wengert.graph.mode import recording
from wengert.tensor import functions
from wengert.tensor.creation import tensor
from wengert.tensor.tensor import Tensor

_EUCLIDEAN = 2.0
_TINY = 1e-6


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in given if p.grad is not None]


def _norm(grad: Tensor, kind: float) -> Tensor:
    if kind == _EUCLIDEAN:
        return functions.norm(grad)  # type: ignore[no-any-return]
    if kind == math.inf:
        return functions.max(functions.abs(grad))  # type: ignore[no-any-return]
    return functions.sum(functions.abs(grad) ** kind) ** (1.0 / kind)  # type: ignore[no-any-return]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale gradients so that the norm of all of them together is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Whose gradients; those without one are left out.
    max_norm : float
        The largest norm.
    norm_type : float
        Which p-norm; ``math.inf`` for the largest element.
    error_if_nonfinite : bool
        Whether to refuse a norm that is NaN or infinite.

    Returns
    -------
    Tensor
        The norm as it was, 0-d.

    Raises
    ------
    RuntimeError
        If the norm is not finite and that is refused.

    Examples
    --------
    >>> import wengert as wg
    >>> x = wg.tensor([3.0, 4.0], requires_grad=True)
    >>> (0.5 * x * x).sum().backward()
    >>> wg.nn.utils.clip_grad_norm_([x], 1.0)
    tensor(5.)
    >>> x.grad
    tensor([0.6000, 0.8000])
    """
    kind = float(norm_type)
    with recording(False):
        grads = _gradients(parameters)
        if not grads:
            return tensor(0.0)
        norms = functions.stack([_norm(grad, kind) for grad in grads])
        total = _norm(norms, kind)
        if error_if_nonfinite and not math.isfinite(total):
            raise RuntimeError(
                f"clip_grad_norm_: the norm of the gradients is {total.item()}; "
                "pass error_if_nonfinite=False to scale them by it all the same."
            )
        factor = functions.minimum(max_norm / (total + _TINY), 1.0)
        for grad in grads:
            grad.mul_(factor.astype(grad.dtype))
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit each element of the gradients to the range from ``-clip_value`` to ``clip_value``.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Whose gradients; those without one are left out.
    clip_value : float
        The largest size of an element.

    Examples
    --------
    >>> import wengert as wg
    >>> x = wg.tensor([3.0, 0.5], requires_grad=True)
    >>> (0.5 * x * x).sum().backward()
    >>> wg.nn.utils.clip_grad_value_([x], 1.0)
    >>> x.grad
    tensor([1.0000, 0.5000])
    """
    bound = float(clip_value)
    with recording(False):
        for grad in _gradients(parameters):
            grad.copy_(functions.clip(grad, -bound, bound))
