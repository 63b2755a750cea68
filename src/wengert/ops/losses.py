"""Losses with PyTorch's meaning, composed of other operations.

Shapes never broadcast silently: a loss between ``(32, 1)`` and ``(32,)`` is an error.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import INT64
from wengert.graph.errors import DTypeError, ShapeError
from wengert.graph.variable import Variable
from wengert.ops import compare
from wengert.ops.activations import log_softmax, softplus
from wengert.ops.arithmetic import absolute, multiply
from wengert.ops.classification import class_loss_p
from wengert.ops.convert import VariableLike, as_variable, cast, floating, promoted
from wengert.ops.derivatives import emit
from wengert.ops.indexing import take, take_at
from wengert.ops.reduce import sum
from wengert.ops.shape import reshape
from wengert.ops.shapes import without_axes
from wengert.ops.statistics import mean

_UNSIGNED = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}
_REDUCTIONS = ("mean", "sum", "none")


def _check_reduction(name: str, reduction: str) -> None:
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}.")


def _reduced(loss: Variable, reduction: str) -> Variable:
    if reduction == "mean":
        return mean(loss)
    return sum(loss) if reduction == "sum" else loss


def _paired(
    name: str, x: VariableLike, target: VariableLike, reduction: str
) -> tuple[Variable, Variable]:
    """Return both as floats of one dtype, or raise ShapeError if their shapes differ."""
    _check_reduction(name, reduction)
    x, target = promoted(x, target)
    if x.shape != target.shape:
        same_size = math.prod(x.shape) == math.prod(target.shape)
        fix = f"Reshape the target to {x.shape}" if same_size else "Give them one shape"
        raise ShapeError(
            f"{name}: x has shape {x.shape} and the target {target.shape}; a loss does not "
            f"broadcast. {fix}"
        )
    return floating(x), floating(target)


def mse_loss(x: VariableLike, target: VariableLike, reduction: str = "mean") -> Variable:
    """Return the squared differences between `x` and `target`, averaged.

    Parameters
    ----------
    x, target : Tensor or array_like
        Predictions and what they should be, of one shape.
    reduction : {"mean", "sum", "none"}
        What is done with the losses of the elements.

    Raises
    ------
    ShapeError
        If the shapes differ, even if they broadcast.
    ValueError
        If `reduction` is something else.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.mse_loss(wg.tensor([1.0, 2.0]), wg.tensor([1.0, 4.0]))
    tensor(2.)
    """
    x, target = _paired("mse_loss", x, target, reduction)
    d = x - target
    return _reduced(d * d, reduction)


def l1_loss(x: VariableLike, target: VariableLike, reduction: str = "mean") -> Variable:
    """Return the absolute differences between `x` and `target`, averaged.

    Parameters and errors are those of `mse_loss`.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.l1_loss(wg.tensor([1.0, 2.0]), wg.tensor([1.0, 4.0]))
    tensor(1.)
    """
    x, target = _paired("l1_loss", x, target, reduction)
    return _reduced(absolute(x - target), reduction)


def binary_cross_entropy_with_logits(
    logits: VariableLike,
    target: VariableLike,
    weight: VariableLike | None = None,
    reduction: str = "mean",
    pos_weight: VariableLike | None = None,
) -> Variable:
    """Return the cross-entropy of yes-or-no targets, from unnormalised log odds.

    Parameters
    ----------
    logits : Tensor or array_like
        Log odds: the probability of yes is ``sigmoid(logits)``.
    target : Tensor or array_like
        Probabilities of yes, between 0 and 1, of the shape of `logits`.
    weight : Tensor or array_like, optional
        A factor for the loss of each element; its shape broadcasts to that of `logits`.
    reduction : {"mean", "sum", "none"}
        What is done with the losses of the elements.
    pos_weight : Tensor or array_like, optional
        A factor for the part of the loss that belongs to yes; broadcasts likewise.

    Raises
    ------
    ShapeError
        If the shapes of `logits` and `target` differ, even if they broadcast.
    ValueError
        If `reduction` is something else.

    Notes
    -----
    ``softplus(x) - t x``, which is ``-t log sigmoid(x) - (1 - t) log(1 - sigmoid(x))``.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.binary_cross_entropy_with_logits(wg.tensor([0.0]), wg.tensor([1.0]))
    tensor(0.6931)
    """
    x, t = _paired("binary_cross_entropy_with_logits", logits, target, reduction)
    if pos_weight is None:
        loss = softplus(x) - t * x
    else:
        yes = t * softplus(-x)
        loss = multiply(yes, pos_weight) + (1 - t) * softplus(x)
    if weight is not None:
        loss = multiply(loss, weight)
    return _reduced(loss, reduction)


class _Options(NamedTuple):
    """What a loss over classes does besides looking up the target class."""

    weight: Variable | None
    reduction: str
    ignore_index: int | None
    smoothing: float = 0.0


def _class_axis(name: str, x: Variable) -> int:
    if x.ndim == 0:
        raise ShapeError(f"{name}: needs an axis of classes, got shape ()")
    return min(x.ndim - 1, 1)


def _class_weights(name: str, weight: VariableLike | None, x: Variable) -> Variable | None:
    if weight is None:
        return None
    weight, classes = as_variable(weight, x.dtype), x.shape[_class_axis(name, x)]
    if weight.shape != (classes,):
        raise ShapeError(
            f"{name}: weight has shape {weight.shape}; give one number for each of the {classes} "
            f"classes of scores of shape {x.shape}"
        )
    return cast(weight, x.dtype)


def _check_classes(name: str, x: Variable, target: Variable, axis: int) -> None:
    if target.dtype.kind not in "iu":
        raise DTypeError(f"{name}: class indices must be integers, got {target.dtype}")
    wanted = without_axes(x.shape, (axis,))
    if target.shape == wanted:
        return
    if target.shape == x.shape:
        fix = "Cast it to a float if it holds probabilities"
    elif math.prod(target.shape) == math.prod(wanted):
        fix = f"Reshape it to {wanted}"
    else:
        fix = "Give one index for each example"
    raise ShapeError(
        f"{name}: class scores of shape {x.shape} need class indices of shape {wanted}, got "
        f"{target.shape}. {fix}"
    )


def _no_target_is_ignored(
    name: str, target: Variable, classes: int, ignore_index: int | None
) -> bool:
    """Tell whether each target is known to count; raise if one is neither a class nor ignored."""
    value = target.value
    if ignore_index is None and value is None:
        return True
    if value is None:
        return False
    # Read as unsigned numbers, negative ones are large: one comparison checks both ends.
    unsigned = value.view(_UNSIGNED[value.itemsize])
    if value.size == 0 or np.maximum.reduce(unsigned, axis=None) < classes:
        return ignore_index is None or not 0 <= ignore_index < classes
    wrong = (value < 0) | (value >= classes)
    if ignore_index is not None:
        wrong &= value != ignore_index
    if np.any(wrong):
        bad = value[wrong].flat[0]
        raise ValueError(
            f"{name}: target {bad} is no class: there are {classes}, numbered from 0. Renumber "
            f"the classes, or pass ignore_index={bad} to leave such examples out."
        )
    return False


def _smoothed(loss: Variable, x: Variable, axis: int, options: _Options) -> Variable:
    """Mix the loss with the mean of the losses against each class."""
    log_probs, classes = log_softmax(x, axis), x.shape[axis]
    if options.weight is not None:
        log_probs = log_probs * _along(options.weight, x, axis)
    against_all: Variable = emit("sum", log_probs, axes=(axis,))
    return (1 - options.smoothing) * loss - (options.smoothing / classes) * against_all


def _along(weight: Variable, x: Variable, axis: int) -> Variable:
    return reshape(weight, (*weight.shape, *(1,) * (x.ndim - axis - 1)))


def _index_loss(
    name: str, x: Variable, target: Variable, options: _Options, normalised: bool
) -> Variable:
    """Return minus the log probabilities of the target classes, reduced.

    `x` holds log probabilities if `normalised`, else they are `x` minus its logsumexp.
    """
    axis = _class_axis(name, x)
    _check_classes(name, x, target, axis)
    valid = factor = None
    if _no_target_is_ignored(name, target, x.shape[axis], options.ignore_index):
        if not (normalised or options.smoothing or options.weight is not None):
            return _plain_loss(x, target, axis, options.reduction)
    else:
        target = cast(target, INT64)
        valid = compare.not_equal(target, options.ignore_index)  # type: ignore[arg-type]
        target = compare.where(valid, target, 0)
    loss = -take_at(x, target, axis) if normalised else _plain_loss(x, target, axis, "none")
    if options.weight is not None:
        factor = take(options.weight, target)
        loss = loss * factor
    if options.smoothing:
        loss = _smoothed(loss, x, axis, options)
    return _averaged(loss, factor, valid, options.reduction)


def _plain_loss(x: Variable, target: Variable, axis: int, reduction: str) -> Variable:
    """Return the loss in which every example counts alike, reduced."""
    count = None if reduction == "none" else 1 if reduction == "sum" else math.prod(target.shape)
    return bind(class_loss_p, (x, target), {"axis": axis, "count": count})  # type: ignore[no-any-return]


def _averaged(
    loss: Variable, factor: Variable | None, valid: Variable | None, reduction: str
) -> Variable:
    """Reduce losses; a mean is over the examples that are valid, weighted by `factor`."""
    if valid is not None:
        loss = compare.where(valid, loss, 0.0)
        factor = cast(valid, loss.dtype) if factor is None else compare.where(valid, factor, 0.0)
    if factor is None or reduction != "mean":
        return _reduced(loss, reduction)
    count = sum(factor)  # first: the slopes of the losses wait for it, and not for their sum
    return sum(loss) / count


def _probability_loss(name: str, x: Variable, target: Variable, options: _Options) -> Variable:
    if target.shape != x.shape:
        raise ShapeError(
            f"{name}: class scores of shape {x.shape} need probabilities of that shape, got "
            f"{target.shape}. If the targets are class indices, cast them to an integer dtype"
        )
    axis = _class_axis(name, x)
    if options.smoothing:
        target = (1 - options.smoothing) * target + options.smoothing / x.shape[axis]
    terms = target * log_softmax(x, axis)
    if options.weight is not None:
        terms = terms * _along(options.weight, x, axis)
    return _reduced(-sum(terms, axis), options.reduction)


def cross_entropy(
    logits: VariableLike,
    target: VariableLike,
    weight: VariableLike | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    ignore_index: int | None = -100,
) -> Variable:
    """Return the cross-entropy of target classes, from unnormalised log probabilities.

    Parameters
    ----------
    logits : Tensor or array_like
        Class scores, of shape ``(C,)``, ``(N, C)`` or ``(N, C, d1, ...)``.
    target : Tensor or array_like
        Class indices (integers, of the shape of `logits` without the axis of classes), or class
        probabilities (floats, of the shape of `logits`).
    weight : Tensor or array_like, optional
        A factor for each class, of shape ``(C,)``. A mean over class indices is then weighted.
    reduction : {"mean", "sum", "none"}
        What is done with the losses of the examples.
    label_smoothing : float
        How much of each target, from 0 to 1, is spread evenly over all classes.
    ignore_index : int or None
        Examples with this class index do not count. With None, none is left out, and traced
        graphs, in which the indices are not known, need no masks.

    Returns
    -------
    Tensor
        0-d, or of the shape of the class indices if `reduction` is ``"none"``.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    ValueError
        If a target is no class, or an option is not one of those above.

    Notes
    -----
    ``logsumexp(x) - x[target]``; pullback ``softmax(x) - onehot(target)``.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.cross_entropy(wg.tensor([[0.0, 0.0], [9.0, 9.0]]), wg.tensor([0, 1]))
    tensor(0.6931)
    """
    name = "cross_entropy"
    x, t = floating(logits), as_variable(target)
    _check_reduction(name, reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing must be from 0 to 1, got {label_smoothing}.")
    options = _Options(_class_weights(name, weight, x), reduction, ignore_index, label_smoothing)
    if t.dtype.kind != "f":
        return _index_loss(name, x, t, options, normalised=False)
    x, t = promoted(x, t)
    return _probability_loss(name, x, t, options)


def nll_loss(
    log_probs: VariableLike,
    target: VariableLike,
    weight: VariableLike | None = None,
    reduction: str = "mean",
    ignore_index: int | None = -100,
) -> Variable:
    """Return minus the log probabilities of the target classes, averaged.

    ``nll_loss(log_softmax(x, 1), target)`` is ``cross_entropy(x, target)``.

    Parameters
    ----------
    log_probs : Tensor or array_like
        Log probabilities, of shape ``(C,)``, ``(N, C)`` or ``(N, C, d1, ...)``.
    target : Tensor or array_like
        Class indices, of the shape of `log_probs` without the axis of classes.
    weight, reduction, ignore_index
        As for `cross_entropy`.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    ValueError
        If a target is no class, or an option is not one of those above.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nll_loss(wg.tensor([[-1.0, -2.0]]), wg.tensor([1]))
    tensor(2.)
    """
    name = "nll_loss"
    x, t = floating(log_probs), as_variable(target)
    _check_reduction(name, reduction)
    options = _Options(_class_weights(name, weight, x), reduction, ignore_index)
    return _index_loss(name, x, t, options, normalised=True)
