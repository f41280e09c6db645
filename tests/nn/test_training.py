"""Optimizers follow PyTorch's trajectories; a loop of many steps has few plans and one request a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmesh as gm

OPTIMIZERS = {
    "sgd": lambda o, p: o.SGD(p, 0.1),
    "momentum": lambda o, p: o.SGD(p, 0.1, momentum=0.9, dampening=0.2, weight_decay=0.01),
    "nesterov": lambda o, p: o.SGD(p, 0.1, momentum=0.9, nesterov=True, maximize=True),
    "adam": lambda o, p: o.Adam(p, 0.01, weight_decay=0.1),
    "amsgrad": lambda o, p: o.Adam(p, 0.01, betas=(0.5, 0.7), amsgrad=True),
    "adamw": lambda o, p: o.AdamW(p, 0.01, eps=1e-3),
    "rmsprop": lambda o, p: o.RMSprop(p, weight_decay=0.1),
    "rmsprop centered": lambda o, p: o.RMSprop(p, centered=True, momentum=0.9, eps=1e-3),
    "adagrad": lambda o, p: o.Adagrad(p, 0.1, lr_decay=0.1, initial_accumulator_value=0.1),
    "lbfgs": lambda o, p: o.LBFGS(p, 0.5, max_iter=4, history_size=3),
    "lbfgs wolfe": lambda o, p: o.LBFGS(p, max_iter=6, line_search_fn="strong_wolfe"),
}


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_trajectory_is_pytorchs(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    start, target = random.normal(size=(2, 3, 4)).astype(dtype)
    if dtype == "complex128":
        start, target = start + 1j * target, target - 0.5j
    ends = []
    for library in (torch, gm):
        weight = library.nn.Parameter(library.tensor(start))
        idle = library.nn.Parameter(library.tensor([1.0]))
        optimizer = OPTIMIZERS[name](library.optim, [weight, idle])
        goal = library.tensor(target)

        def closure(weight=weight, goal=goal, optimizer=optimizer) -> Any:
            optimizer.zero_grad()
            loss = ((weight - goal).abs() ** 3).sum() / 3
            loss.backward()
            return loss

        for _ in range(4):
            optimizer.step(closure)
        ends.append([weight.detach().numpy(), idle.detach().numpy()])
    for want, got in zip(*ends, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


SCHEDULED = [
    ("SGD", {"momentum": 0.9}, lambda s, o: s.OneCycleLR(o, 0.5, total_steps=20)),
    ("SGD", {}, lambda s, o: s.ExponentialLR(o, 0.9)),
    ("Adam", {}, lambda s, o: s.OneCycleLR(o, 0.5, total_steps=20)),
    ("AdamW", {"amsgrad": True}, lambda s, o: s.CosineAnnealingLR(o, 10)),
    ("RMSprop", {"momentum": 0.1, "centered": True}, lambda s, o: s.LinearLR(o, total_iters=20)),
    ("Adagrad", {"lr_decay": 0.1}, lambda s, o: s.StepLR(o, 2)),
]


@pytest.mark.parametrize(("kind", "options", "schedule"), SCHEDULED, ids=[row[0] for row in SCHEDULED])
def test_a_changing_rate_makes_no_plan(kind: str, options: dict[str, Any], schedule: Any) -> None:
    net = gm.nn.Sequential(
        gm.nn.Linear(3, 8), gm.nn.BatchNorm1d(8), gm.nn.ReLU(), gm.nn.Dropout(0.1), gm.nn.Linear(8, 2)
    )
    optimizer = getattr(gm.optim, kind)(net.parameters(), lr=0.1, **options)
    scheduler = schedule(gm.optim.lr_scheduler, optimizer)
    x, y = gm.tensor(np.ones((16, 3), np.float32)), gm.tensor(np.zeros(16, np.int64))
    gm.stats(reset=True)
    made = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = gm.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        gm.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        loss.item()
        made.append(sum(gm.stats().misses.values()))
    # The first step fills the parameters, and state is made and moved for the first time; then all are alike.
    assert gm.stats().requests == 8
    assert made[-1] == made[3] <= 4
    assert len(set(scheduler.get_last_lr())) == 1 and scheduler.get_last_lr() != [0.1]
