"""The worker's side: one long-lived process per core that runs ranges of stages."""

from __future__ import annotations

import os
import platform
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Final

import numpy as np
import ray
from ray.exceptions import RayError
from threadpoolctl import threadpool_info

from gradmesh_engine.blas import single_threaded
from gradmesh_engine.combine import Subtree, finish
from gradmesh_engine.errors import CancelledError, GradmeshError, InternalError, MemoryLimitError
from gradmesh_engine.execute import Piece, StageRunner, dense, run_plan
from gradmesh_engine.plan import Plan
from gradmesh_worker.calls import Bind, Call, Hello, Report

PLANS_KEPT: Final = 32
"""Plans whose buffers a worker keeps."""

HELD_KEPT: Final = 1024
"""Arrays a worker keeps mapped between calls: fetching one again costs a millisecond or two."""

CANCELLED_KEPT: Final = 4096
"""Requests remembered as given up."""


class _Loaded:
    """A plan with its runners."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.runners = [StageRunner(plan, index) for index in range(len(plan.stages))]


class Worker:
    """The Ray actor. Its calls run one at a time; `cancel`, `release` and `watch` run beside them."""

    def __init__(self) -> None:
        self._plans: OrderedDict[bytes, _Loaded] = OrderedDict()
        self._cancelled: OrderedDict[int, None] = OrderedDict()
        self._held: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()  # of what is held: `release` has another thread
        self._forever = threading.Event()

    def hello(self) -> Hello:
        """Who this is."""
        blas = [
            f"{library.get('architecture', '')} x{library['num_threads']}"
            for library in threadpool_info()
            if library["user_api"] == "blas"
        ]
        return Hello(
            pid=os.getpid(),
            node=ray.get_runtime_context().get_node_id(),
            host=platform.node(),
            blas=", ".join(blas),
            settings={"python": platform.python_version(), "numpy": np.__version__},
        )

    def watch(self) -> None:
        """Never returns: who waits for it learns of this process's end at once."""
        self._forever.wait()

    def cancel(self, request: int) -> None:
        """Stop what runs for a request, before its next group, and what waits for it."""
        self._cancelled[request] = None
        while len(self._cancelled) > CANCELLED_KEPT:
            self._cancelled.popitem(last=False)

    def run(self, call: Call, *arguments: Any) -> Any:
        """Run one task; returns a Report, then an object per part of the call."""
        begin = perf_counter()
        results: Sequence[Any] = [None] * len(call.parts)
        error: GradmeshError | None = None
        unknown = False
        try:
            self._checkpoint(call.request)
            loaded = self._load(call)
            given = self._hold(call.binds, arguments)
            if loaded is None or given is None:
                unknown = True
            else:
                with single_threaded():
                    results = self._run(loaded, call, given)
        except GradmeshError as raised:
            error = raised
        except MemoryError as raised:
            error = MemoryLimitError(
                f"a worker ran out of memory: {raised}", remedy="use a smaller batch, or workers with more memory"
            )
        except RayError:
            raise  # about the objects the call needs: for the coordinator to mend
        except Exception as raised:
            error = InternalError(
                f"{type(raised).__name__} in a worker: {raised}",
                got="".join(traceback.format_exception(raised)[-3:]).strip(),
                remedy="please report it",
            )
        report = Report(perf_counter() - begin, error, unknown)
        return (report, *results) if call.parts else report

    def _run(self, loaded: _Loaded, call: Call, arguments: Sequence[Any]) -> Sequence[Any]:
        values, subtrees = _bind(loaded.plan, call.binds, arguments)
        return _RUNS[call.kind](loaded, call, values, subtrees, lambda: self._checkpoint(call.request))

    def _checkpoint(self, request: int) -> None:
        if request in self._cancelled:
            raise CancelledError("the request was given up")

    def _hold(self, binds: Sequence[Bind], arguments: Sequence[Any]) -> list[Any] | None:
        """One argument per bind, with those sent before; None when one of them is not here any more."""
        sent = iter(arguments)
        given: list[Any] = []
        with self._lock:
            for bind in binds:
                if bind.held:
                    if bind.name not in self._held:
                        return None
                    given.append(self._held[bind.name])
                else:
                    given.append(next(sent))
                    if bind.name:
                        self._held[bind.name] = given[-1]
                if bind.name:
                    self._held.move_to_end(bind.name)
            while len(self._held) > HELD_KEPT:
                self._held.popitem(last=False)
        return given

    def release(self, names: Sequence[str]) -> None:
        """Let go of arguments kept by name."""
        with self._lock:
            for name in names:
                self._held.pop(name, None)

    def holding(self) -> tuple[str, ...]:
        """Names of the arguments kept."""
        with self._lock:
            return tuple(self._held)

    def keep_plan(self, key: bytes, plan: Plan) -> None:
        """Take a plan in; the one unused for longest goes when there are too many."""
        self._plans[key] = _Loaded(plan)
        while len(self._plans) > PLANS_KEPT:
            self._plans.popitem(last=False)

    def _load(self, call: Call) -> _Loaded | None:
        """The plan of a call, None when it is neither here nor sent along."""
        if call.plan_key not in self._plans:
            if call.plan is None:
                return None
            self.keep_plan(call.plan_key, ray.get(call.plan[0]))
        self._plans.move_to_end(call.plan_key)
        return self._plans[call.plan_key]


def _bind(
    plan: Plan, binds: Sequence[Bind], arguments: Sequence[Any]
) -> tuple[dict[int, np.ndarray | Piece], list[Subtree]]:
    """The arguments of a call by value number, and the subtrees to combine."""
    values: dict[int, np.ndarray | Piece] = {}
    subtrees: list[Subtree] = []
    gathered: dict[int, list[np.ndarray]] = {}
    for bind, argument in zip(binds, arguments, strict=True):
        if bind.kind == "subtrees":
            subtrees.extend(argument)
        elif bind.kind == "values":
            values.update(zip(bind.values, argument, strict=True))
        elif bind.kind == "array":
            values[bind.values[0]] = argument
        elif bind.kind == "piece":
            values[bind.values[0]] = Piece(argument, bind.start)
        else:
            gathered.setdefault(bind.values[0], []).append(argument)
    for value, pieces in gathered.items():
        dim = plan.dims[value]
        assert dim is not None
        values[value] = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=dim)
    return values, subtrees


_Values = dict[int, Any]


def _run_whole(
    loaded: _Loaded, call: Call, values: _Values, subtrees: list[Subtree], checkpoint: Callable[[], None]
) -> Sequence[Any]:
    plan = loaded.plan
    if call.stage > 0 and subtrees:
        values.update(finish(plan, call.stage - 1, subtrees))
    if call.stage < len(plan.stages):
        values.update(loaded.runners[call.stage].run_whole(values))
    return [tuple(dense(values[v]) for v in part) for part in call.parts]


def _run_groups(
    loaded: _Loaded, call: Call, values: _Values, subtrees: list[Subtree], checkpoint: Callable[[], None]
) -> Sequence[Any]:
    first, stop = call.groups
    runner = loaded.runners[call.stage]
    if call.whole_first:
        values.update(runner.run_whole(values))
    result = runner.run_groups(first, stop, values, None, checkpoint)
    return [result.stores[part[0]] if part else result.partials for part in call.parts]


def _run_plan(
    loaded: _Loaded, call: Call, values: _Values, subtrees: list[Subtree], checkpoint: Callable[[], None]
) -> Sequence[Any]:
    plan = loaded.plan
    nothing = np.empty(0)  # inputs that no node reads are not sent
    inputs = [values.get(v, nothing) for v in range(len(plan.graph.inputs))]
    outputs = run_plan(plan, inputs, [loaded.runners], checkpoint)
    found = dict(zip(plan.graph.outputs, outputs, strict=True))
    return [tuple(found[v] for v in part) for part in call.parts]


_RUNS: Final[dict[str, Callable[..., Sequence[Any]]]] = {
    "whole": _run_whole,
    "groups": _run_groups,
    "plan": _run_plan,
}
