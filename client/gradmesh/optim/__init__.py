"""Optimizers: they change parameters along their gradients, and their state stays where the parameters are."""

from gradmesh.optim import lr_scheduler, swa_utils
from gradmesh.optim.adaptive import Adadelta, Adafactor, Adamax, NAdam, RAdam
from gradmesh.optim.directions import ASGD, Muon, Rprop
from gradmesh.optim.lbfgs import LBFGS
from gradmesh.optim.optimizer import Optimizer
from gradmesh.optim.rules import SGD, Adagrad, Adam, AdamW, RMSprop

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
    "swa_utils",
]
