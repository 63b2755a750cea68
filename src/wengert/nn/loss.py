"""Loss functions as modules."""

from __future__ import annotations

from wengert.nn import functional
from wengert.nn.module import Module
from wengert.tensor.tensor import Tensor


class _Loss(Module):
    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(
                f"{type(self).__name__}: reduction must be 'mean', 'sum' or 'none', got "
                f"{reduction!r}."
            )
        self.reduction = reduction


class MSELoss(_Loss):
    """The mean of the squared differences between input and target.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        What is done with the losses of the elements.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.MSELoss()(wg.tensor([1.0, 2.0]), wg.tensor([1.0, 4.0]))
    tensor(2.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return functional.mse_loss(input, target, self.reduction)  # type: ignore[no-any-return]


class L1Loss(_Loss):
    """The mean of the absolute differences between input and target.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        What is done with the losses of the elements.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.L1Loss()(wg.tensor([1.0, 2.0]), wg.tensor([1.0, 4.0]))
    tensor(1.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return functional.l1_loss(input, target, self.reduction)  # type: ignore[no-any-return]


class CrossEntropyLoss(_Loss):
    """The cross-entropy of target classes, from unnormalised log probabilities.

    Parameters
    ----------
    weight : Tensor, shape (C,), optional
        A factor for each class.
    ignore_index : int
        Examples with this class index do not count.
    reduction : {"mean", "sum", "none"}
        What is done with the losses of the examples.
    label_smoothing : float
        How much of each target, from 0 to 1, is spread evenly over all classes.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.CrossEntropyLoss()(wg.tensor([[0.0, 0.0]]), wg.tensor([1]))
    tensor(0.6931)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.weight: Tensor | None
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return functional.cross_entropy(  # type: ignore[no-any-return]
            input, target, self.weight, self.reduction, self.label_smoothing, self.ignore_index
        )


class NLLLoss(_Loss):
    """Minus the log probabilities of the target classes, averaged.

    Parameters
    ----------
    weight : Tensor, shape (C,), optional
        A factor for each class.
    ignore_index : int
        Examples with this class index do not count.
    reduction : {"mean", "sum", "none"}
        What is done with the losses of the examples.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.NLLLoss()(wg.tensor([[-1.0, -2.0]]), wg.tensor([1]))
    tensor(2.)
    """

    def __init__(
        self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.weight: Tensor | None
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return functional.nll_loss(  # type: ignore[no-any-return]
            input, target, self.weight, self.reduction, self.ignore_index
        )


class BCEWithLogitsLoss(_Loss):
    """The cross-entropy of yes-or-no targets, from unnormalised log odds.

    Parameters
    ----------
    weight : Tensor, optional
        A factor for the loss of each element.
    reduction : {"mean", "sum", "none"}
        What is done with the losses of the elements.
    pos_weight : Tensor, optional
        A factor for the part of the loss that belongs to yes.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.BCEWithLogitsLoss()(wg.tensor([0.0]), wg.tensor([1.0]))
    tensor(0.6931)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(reduction)
        self.weight: Tensor | None
        self.pos_weight: Tensor | None
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return functional.binary_cross_entropy_with_logits(  # type: ignore[no-any-return]
            input, target, self.weight, self.reduction, self.pos_weight
        )
