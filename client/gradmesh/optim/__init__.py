"""Optimizers: they change parameters along their gradients, and their state stays where the parameters are."""

from gradmesh.optim import lr_scheduler
from gradmesh.optim.lbfgs import LBFGS
from gradmesh.optim.optimizer import Optimizer
from gradmesh.optim.rules import SGD, Adagrad, Adam, AdamW, RMSprop

__all__ = ["LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
