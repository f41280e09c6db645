"""Optimizers follow PyTorch's trajectories; a loop of many steps has few plans and one request a step."""

from __future__ import annotations

import io
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
    "sgd decay, up": lambda o, p: o.SGD(p, 0.1, weight_decay=0.2, maximize=True),
    "adam decoupled": lambda o, p: o.Adam(p, 0.01, weight_decay=0.1, decoupled_weight_decay=True, maximize=True),
    "adadelta": lambda o, p: o.Adadelta(p),
    "adadelta options": lambda o, p: o.Adadelta(p, 0.5, rho=0.7, eps=1e-2, weight_decay=0.1, maximize=True),
    "adamax": lambda o, p: o.Adamax(p),
    "adamax options": lambda o, p: o.Adamax(p, 0.05, (0.5, 0.7), eps=1e-2, weight_decay=0.1, maximize=True),
    "nadam": lambda o, p: o.NAdam(p),
    "nadam options": lambda o, p: o.NAdam(p, 0.05, (0.5, 0.7), 1e-2, 0.1, momentum_decay=0.1, maximize=True),
    "nadam decoupled": lambda o, p: o.NAdam(p, 0.05, weight_decay=0.1, decoupled_weight_decay=True),
    "radam": lambda o, p: o.RAdam(p, 0.1),
    "radam options": lambda o, p: o.RAdam(p, 0.05, (0.5, 0.9), 1e-2, 0.1, maximize=True),
    "radam decoupled": lambda o, p: o.RAdam(p, 0.05, (0.5, 0.9), weight_decay=0.1, decoupled_weight_decay=True),
    "rprop": lambda o, p: o.Rprop(p, 0.5),
    "rprop options": lambda o, p: o.Rprop(p, 0.5, (0.3, 1.5), step_sizes=(0.1, 0.6), maximize=True),
    "asgd": lambda o, p: o.ASGD(p, 0.1, lambd=0.1),
    "asgd options": lambda o, p: o.ASGD(p, 0.1, 0.1, alpha=0.5, t0=2, weight_decay=0.1, maximize=True),
    "adafactor": lambda o, p: o.Adafactor(p),
    "adafactor options": lambda o, p: o.Adafactor(p, 0.1, -0.5, (1e-3, 0.1), 1.5, weight_decay=0.1, maximize=True),
    "lbfgs": lambda o, p: o.LBFGS(p, 0.5, max_iter=4, history_size=3),
    "lbfgs wolfe": lambda o, p: o.LBFGS(p, max_iter=6, line_search_fn="strong_wolfe"),
}


def taken_steps(library: Any, make: Any, start: np.ndarray, target: np.ndarray, steps: int, state: Any = None) -> Any:
    """An optimizer after some steps, its weight, and a parameter that had no gradient."""
    weight = library.nn.Parameter(library.tensor(start))
    idle = library.nn.Parameter(library.tensor([1.0]))
    optimizer = make(library.optim, [weight, idle])
    if state is not None:
        optimizer.load_state_dict(state)
    goal = library.tensor(target)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = ((weight - goal).abs() ** 3).sum() / 3
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return optimizer, weight.detach().numpy(), idle.detach().numpy()


def problem(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    start, target = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(dtype)
    return (start + 1j * target, target - 0.5j) if dtype == "complex128" else (start, target)


def of_complex(name: str) -> bool:
    return not name.startswith("adafactor")


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(n, d) for n in OPTIMIZERS for d in ("float64", "complex128") if of_complex(n) or d == "float64"],
)
def test_trajectory_is_pytorchs(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    ends = [taken_steps(library, OPTIMIZERS[name], *problem(dtype), 8) for library in (torch, gm)]
    for want, got in zip(ends[0][1:], ends[1][1:], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    if name.startswith("lbfgs"):
        return
    # The same options and the same state under the same names, but for hints of how a step is run.
    theirs, ours = (end[0].state_dict() for end in ends)
    hints = {"foreach", "capturable", "differentiable", "fused"}
    shown = [{k: v for k, v in d["param_groups"][0].items() if k not in hints} for d in (theirs, ours)]
    assert shown[0] == shown[1]
    kept = [state.get(0, {}) for state in (theirs["state"], ours["state"])]
    assert kept[0].keys() == kept[1].keys()
    for key, want in kept[0].items():
        got = kept[1][key]
        if hasattr(want, "numpy"):
            assert got.numpy().dtype == want.numpy().dtype, key
            np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-5, atol=1e-12, err_msg=key)
        else:
            assert got == want


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if of_complex(name) and not name.startswith("lbfgs")])
def test_a_state_goes_on_where_it_was(name: str, dtype: str) -> None:
    start, target = problem(dtype)
    whole = taken_steps(gm, OPTIMIZERS[name], start, target, 8)
    first = taken_steps(gm, OPTIMIZERS[name], start, target, 5)
    file = io.BytesIO()
    gm.save(first[0].state_dict(), file)
    file.seek(0)
    rest = taken_steps(gm, OPTIMIZERS[name], first[1], target, 3, gm.load(file))
    np.testing.assert_array_equal(rest[1], whole[1])


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [(6, 4), (3, 5)])
@pytest.mark.parametrize("options", [{}, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.3}])
def test_muon_is_pytorchs(shape: tuple[int, int], options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    start, target = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    weights = []
    for library in (torch, gm):
        weight = library.nn.Parameter(library.tensor(start))
        optimizer = library.optim.Muon([weight], lr=0.1, **options)
        for _ in range(4):
            optimizer.zero_grad()
            ((weight - library.tensor(target)) ** 2).sum().backward()
            optimizer.step()
        weights.append(weight.detach().numpy())
    # The iteration is in bfloat16, of 3 digits, and takes small singular values far.
    np.testing.assert_allclose(weights[1], weights[0], atol=3e-2)


REFUSED = [
    "Adadelta(p, lr=-1)", "Adadelta(p, rho=1.5)", "Adadelta(p, eps=-1)", "Adadelta(p, weight_decay=-1)",
    "Adamax(p, lr=-1)", "Adamax(p, eps=-1)", "Adamax(p, betas=(1, 0.9))", "Adamax(p, betas=(0.9, 1))",
    "NAdam(p, momentum_decay=-1)", "NAdam(p, weight_decay=-1)", "RAdam(p, betas=(-1, 0.9))",
    "Rprop(p, etas=(1, 2))", "Rprop(p, lr=-1)", "ASGD(p, lr=-1)", "ASGD(p, weight_decay=-1)",
    "Adafactor(p, lr=-1)", "Adafactor(p, beta2_decay=1)", "Adafactor(p, eps=(-1, 0.1))", "Adafactor(p, eps=(None, -1))",
    "Adafactor(p, d=0.5)", "Adafactor(p, weight_decay=-1)", "Muon(p)", "Muon(p, lr=-1)", "Muon(p, momentum=-1)",
    "Muon(p, adjust_lr_fn='x')", "Muon(p, weight_decay=-1)",
    "lr_scheduler.CyclicLR(SGD(p), 0.1, 1, mode='x')", "lr_scheduler.CyclicLR(Adadelta(p), 0.1, 1)",
    "lr_scheduler.CyclicLR(p, 0.1, 1)", "swa_utils.SWALR(SGD(p), 0.1, anneal_strategy='x')",
    "swa_utils.SWALR(SGD(p), 0.1, anneal_epochs=-1)", "swa_utils.get_ema_avg_fn(2)",
    "swa_utils.AveragedModel(None, avg_fn=1, multi_avg_fn=2)",
]  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize("expression", REFUSED)
def test_errors_are_pytorchs(expression: str) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for library in (torch, gm):
        names = {**vars(library.optim), "p": [library.nn.Parameter(library.ones(2))]}
        with pytest.raises(Exception) as raised:
            eval(expression, names)
        found.append(raised)
    assert issubclass(found[1].type, found[0].type)
    assert str(found[1].value).startswith(str(found[0].value))


# --- rates -----------------------------------------------------------------------------------------

SCHEDULES = {
    "cyclic": lambda s, o: s.lr_scheduler.CyclicLR(o, 0.1, 1.0, step_size_up=3),
    "cyclic down": lambda s, o: s.lr_scheduler.CyclicLR(o, [0.1, 0.2], 1.0, 2, 5, "triangular2", max_momentum=0.95),
    "cyclic exp": lambda s, o: s.lr_scheduler.CyclicLR(o, 0.1, 1.0, 2, mode="exp_range", gamma=0.9),
    "cyclic own": lambda s, o: s.lr_scheduler.CyclicLR(
        o, 0.1, 1.0, 2, scale_fn=lambda x: 1 / x, cycle_momentum=False
    ),
    "cyclic own by step": lambda s, o: s.lr_scheduler.CyclicLR(
        o, 0.1, 1.0, 2, scale_fn=lambda x: 0.5**x, scale_mode="iterations"
    ),
    "swa": lambda s, o: s.swa_utils.SWALR(o, 0.01),
    "swa line": lambda s, o: s.swa_utils.SWALR(o, [0.01, 0.5], anneal_epochs=4, anneal_strategy="linear"),
    "swa at once": lambda s, o: s.swa_utils.SWALR(o, 0.01, anneal_epochs=0),
}  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_is_pytorchs(name: str, kind: str) -> None:
    torch = pytest.importorskip("torch")
    histories: list[list[Any]] = [[], []]
    for library, history in zip((torch, gm), histories, strict=True):
        groups = [{"params": [library.nn.Parameter(library.ones(1))]} for _ in range(2)]
        groups[1]["lr"] = 0.3
        optimizer = getattr(library.optim, kind)(groups, lr=0.7, **({"momentum": 0.5} if kind == "SGD" else {}))
        scheduler = SCHEDULES[name](library.optim, optimizer)
        for step in range(14):
            history.append(
                [
                    scheduler.get_last_lr(),
                    *[(g["lr"], g.get("momentum"), g.get("betas")) for g in optimizer.param_groups],
                ]
            )
            optimizer.step()
            scheduler.step()
            if step == 6:
                state = scheduler.state_dict()
                assert scheduler.load_state_dict(state) is None
    assert histories[0] == histories[1]


@pytest.mark.oracle
@pytest.mark.parametrize("options", [
    "", "use_buffers=True", "avg_fn=s.get_ema_avg_fn(0.7)", "multi_avg_fn=s.get_ema_multi_avg_fn(0.7)",
    "multi_avg_fn=s.get_swa_multi_avg_fn()", "avg_fn=s.get_swa_avg_fn(), device='cpu'",
])  # fmt: skip
def test_averaged_model_is_pytorchs(options: str) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    batches = random.normal(size=(4, 5, 3))
    weights = random.normal(size=(2, 3))
    found = []
    for library in (torch, gm):
        nn = library.nn
        net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
        with library.no_grad():
            net[0].weight.copy_(library.tensor(weights))
            net[0].bias.zero_()
        averaged = eval(f"s.AveragedModel(net, {options})", {"s": library.optim.swa_utils, "net": net})
        optimizer = library.optim.SGD(net.parameters(), lr=0.01)
        for batch in batches:
            optimizer.zero_grad()
            (net(library.tensor(batch)) ** 3).sum().backward()
            optimizer.step()
            averaged.update_parameters(net)
        before = {name: value.numpy().copy() for name, value in averaged.state_dict().items()}
        library.optim.swa_utils.update_bn([[library.tensor(batch)] for batch in batches], averaged)
        after = {f"{name} after": value.numpy() for name, value in averaged.state_dict().items()}
        found.append({**before, **after, "training": averaged.training, "momentum": averaged.module[1].momentum})
    assert found[0].keys() == found[1].keys()
    for name, want in found[0].items():
        np.testing.assert_allclose(found[1][name], want, rtol=1e-7, atol=1e-10, err_msg=name)


SCHEDULED = [
    ("SGD", {"momentum": 0.9}, lambda s, o: s.OneCycleLR(o, 0.5, total_steps=20)),
    ("SGD", {}, lambda s, o: s.ExponentialLR(o, 0.9)),
    ("Adam", {}, lambda s, o: s.OneCycleLR(o, 0.5, total_steps=20)),
    ("AdamW", {"amsgrad": True}, lambda s, o: s.CosineAnnealingLR(o, 10)),
    ("RMSprop", {"momentum": 0.1, "centered": True}, lambda s, o: s.LinearLR(o, total_iters=20)),
    ("Adagrad", {"lr_decay": 0.1}, lambda s, o: s.StepLR(o, 2)),
    ("Adadelta", {}, lambda s, o: s.ExponentialLR(o, 0.9)),
    ("Adamax", {}, lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3)),
    ("NAdam", {}, lambda s, o: s.ExponentialLR(o, 0.9)),
    ("ASGD", {}, lambda s, o: s.ExponentialLR(o, 0.9)),
    ("Adafactor", {}, lambda s, o: s.ExponentialLR(o, 0.9)),
    ("Rprop", {}, lambda s, o: s.ExponentialLR(o, 0.9)),
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
