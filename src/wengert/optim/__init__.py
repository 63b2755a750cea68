"""Optimisers and schedules of the learning rate, with PyTorch's names, defaults and state."""

from wengert.optim import lr_scheduler
from wengert.optim.adam import Adam, AdamW
from wengert.optim.optimizer import Optimizer
from wengert.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]
