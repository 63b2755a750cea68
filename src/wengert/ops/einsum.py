"""Einstein's notation, in terms of contractions of two operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wengert.graph.errors import ShapeError
from wengert.graph.variable import Variable
from wengert.ops.contraction import LABELS, contract
from wengert.ops.convert import VariableLike, as_variable, promoted
from wengert.ops.derivatives import emit


class _Term(NamedTuple):
    """An operand, with one label for each axis."""

    labels: str
    value: Variable


def einsum(spec: str, *operands: VariableLike) -> Variable:
    """Return the contraction of `operands` in Einstein's notation, in the order given.

    Parameters
    ----------
    spec : str
        Such as ``"ij,jk->ik"``: a letter for each axis; those that the result does not name are
        summed over. A letter that stands twice in one operand means its diagonal. ``...`` stands
        for further axes, which broadcast. Without ``->``, the result has the axes of ``...`` and
        then, in alphabetical order, the letters that stand once.
    *operands : Tensor or array_like
        One for each group of labels.

    Raises
    ------
    ShapeError
        If labels and shapes do not fit.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.einsum("ij,ij->i", wg.ones((2, 3)), wg.ones((2, 3)))
    tensor([3., 3.])
    >>> wg.einsum("ii", wg.eye(3))
    tensor(3.)
    """
    if not isinstance(spec, str):
        raise TypeError(
            f"einsum: the first argument must be a text such as 'ij,jk->ik', got {spec!r}."
        )
    groups, arrow, named = spec.replace(" ", "").partition("->")
    values = [as_variable(operand) for operand in operands]
    given = groups.split(",")
    if len(given) != len(values):
        raise ShapeError(f"einsum: {spec!r} names {len(given)} operands, got {len(values)}")
    dots = _dot_labels(spec, given, values)
    labelled = [_labels(spec, group, v.ndim, dots) for group, v in zip(given, values, strict=True)]
    result = named.replace("...", dots, 1) if arrow else _implied(given, dots)
    _check_result(spec, result, labelled, dots)
    lengths = _lengths(spec, labelled, values)
    terms = [
        _broadcasting(_diagonal(labels, v), lengths)
        for labels, v in zip(labelled, values, strict=True)
    ]
    while len(terms) > 1:
        later = set(result).union(*(labels for labels, _ in terms[2:]))
        terms[:2] = [_pair(terms[0], terms[1], later)]
    labels, v = _sum_out(terms[0], set(result))
    order = tuple(labels.index(label) for label in result)
    return v if order == tuple(range(len(order))) else emit("permute", v, axes=order)


def _dot_labels(spec: str, groups: Sequence[str], values: Sequence[Variable]) -> str:
    """Return labels, which nobody else uses, for as many axes as ``...`` stands for."""
    count = 0
    for group, v in zip(groups, values, strict=True):
        if "..." in group:
            count = max(count, v.ndim - len(group.replace("...", "", 1)))
    free = [label for label in LABELS if label not in spec]
    return "".join(free[:count])


def _labels(spec: str, group: str, rank: int, dots: str) -> str:
    """Return one label for each of the axes of an operand."""
    letters = group.replace("...", "", 1)
    extra = rank - len(letters)
    if not all(label in LABELS for label in letters):
        raise ShapeError(f"einsum: {group!r} in {spec!r} must be letters, and '...' at most once")
    if extra < 0 or (extra and "..." not in group):
        raise ShapeError(
            f"einsum: {group!r} in {spec!r} names {len(letters)} axes of an operand that has {rank}"
        )
    return group.replace("...", dots[len(dots) - extra :], 1)


def _implied(groups: Sequence[str], dots: str) -> str:
    letters = "".join(groups).replace(".", "")
    return dots + "".join(sorted(label for label in set(letters) if letters.count(label) == 1))


def _check_result(spec: str, result: str, labelled: Sequence[str], dots: str) -> None:
    if not all(label in LABELS for label in result) or len(set(result)) != len(result):
        raise ShapeError(
            f"einsum: the result of {spec!r} must be letters, each at most once, and '...'"
        )
    if missing := set(result) - set("".join(labelled)):
        raise ShapeError(f"einsum: {spec!r} has no operand with {sorted(missing)}")
    if not set(dots) <= set(result):
        raise ShapeError(f"einsum: the result of {spec!r} must name the axes of '...' too")


def _lengths(spec: str, labelled: Sequence[str], values: Sequence[Variable]) -> dict[str, int]:
    """Return the length of each label: of the operands that do not have 1, which broadcasts."""
    lengths: dict[str, int] = {}
    for labels, v in zip(labelled, values, strict=True):
        for label, n in zip(labels, v.shape, strict=True):
            known = lengths.get(label, 1)
            if known != n and 1 not in {known, n}:
                shapes = " and ".join(str(value.shape) for value in values)
                raise ShapeError(
                    f"einsum: in {spec!r} the label {label!r} has length {known} in one place and "
                    f"{n} in another, got {shapes}"
                )
            lengths[label] = n if known == 1 else known
    return lengths


def _diagonal(labels: str, v: Variable) -> _Term:
    """Take the diagonal of axes that have one label, until each label stands once."""
    for label in dict.fromkeys(labels):
        axes = tuple(i for i, other in enumerate(labels) if other == label)
        if len(axes) > 1:
            index = Variable(np.arange(max(v.shape[axis] for axis in axes)))
            places = [index if v.shape[axis] > 1 else index * 0 for axis in axes]
            v = emit("gather", v, *places, axes=axes, batch_axes=())
            labels = label + labels.replace(label, "")
    return _Term(labels, v)


def _broadcasting(term: _Term, lengths: dict[str, int]) -> _Term:
    """Drop the axes of length 1 that other operands stretch: a missing label broadcasts."""
    labels, v = term
    kept = [i for i, label in enumerate(labels) if v.shape[i] == lengths[label]]
    if len(kept) == len(labels):
        return term
    shape = tuple(v.shape[i] for i in kept)
    return _Term("".join(labels[i] for i in kept), emit("reshape", v, shape=shape))


def _sum_out(term: _Term, keep: set[str]) -> _Term:
    labels, v = term
    axes = tuple(i for i, label in enumerate(labels) if label not in keep)
    if not axes:
        return term
    kept = "".join(label for label in labels if label in keep)
    return _Term(kept, emit("sum", v, axes=axes))


def _pair(first: _Term, second: _Term, later: set[str]) -> _Term:
    x, y = promoted(first.value, second.value)
    labels_x, x = _sum_out(_Term(first.labels, x), later | set(second.labels))
    labels_y, y = _sum_out(_Term(second.labels, y), later | set(first.labels))
    result = "".join(label for label in dict.fromkeys(labels_x + labels_y) if label in later)
    return _Term(result, contract(f"{labels_x},{labels_y}->{result}", x, y))
