"""Layers, losses and initial weights, with PyTorch's names, defaults and keys."""

from wengert.nn import functional, init, utils
from wengert.nn.activation import GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Tanh
from wengert.nn.chain import forward_chain
from wengert.nn.containers import ModuleList, Sequential
from wengert.nn.conv import Conv2d
from wengert.nn.dropout import Dropout
from wengert.nn.flatten import Flatten, Unflatten
from wengert.nn.linear import Identity, Linear
from wengert.nn.loss import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from wengert.nn.module import Module
from wengert.nn.parameter import Parameter
from wengert.nn.pooling import AvgPool2d, MaxPool2d

__all__ = [
    "GELU",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "L1Loss",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Unflatten",
    "forward_chain",
    "functional",
    "init",
    "utils",
]
