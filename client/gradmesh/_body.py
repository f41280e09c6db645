"""A recorded function as one node of the trace: what it is made of, and which of it derivatives read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from gradmesh._value import App, Made, Value, place_like, saved
from gradmesh_engine.graph import TensorSpec

Part: TypeAlias = "tuple[App, tuple[int, ...]]"
"""An op and its operands: ~0, ~1, … the inputs, 0, 1, … the results so far."""


class Site(Made):
    """Where an op of a recorded function was recorded. Final; holds no tensors."""

    __slots__ = ()

    def __init__(self, made: Made, app: App) -> None:
        self.app = app
        self.inputs = ()
        self.code = made.code
        self.instruction = made.instruction
        self.epoch = 0
        self.segment = made.segment
        self.freed = False
        self.wrote = False
        self.hooks = None
        self.view = None


class Body:
    """The ops of a recorded function, in an order in which they may run. Final, never changes.

    Attributes:
        ins: specs of the inputs.
        outs: specs of all results of all ops.
        parts: the ops.
        sites: for each op where it was recorded.
        numbers: for each result of the function its number.
        segmented: whether a checkpoint recorded some of it.
    """

    __slots__ = ("ins", "numbers", "outs", "parts", "segmented", "sites")

    def __init__(
        self, ins: tuple[TensorSpec, ...], parts: tuple[Part, ...], made: Sequence[Made], numbers: tuple[int, ...]
    ) -> None:
        self.ins = ins
        self.parts = parts
        self.sites = tuple([Site(one, app) for one, (app, _) in zip(made, parts, strict=True)])
        self.outs = tuple([spec for app, _ in parts for spec in app.outs])
        self.numbers = numbers
        self.segmented = any([one.segment for one in made])

    def recorded(self, inputs: Sequence[Value]) -> list[Value]:
        """The results of the function, recorded op by op as it would itself."""
        results: list[Value] = []
        for (app, operands), site in zip(self.parts, self.sites, strict=True):
            results += place_like(app, tuple([inputs[~n] if n < 0 else results[n] for n in operands]), site)
        return [inputs[~n] if n < 0 else results[n] for n in self.numbers]


class Captured(App):
    """A recorded function as an op. Final, never changes.

    Attributes:
        plain: its ops.
        tracked: the same with a `detach` wherever it recorded without gradients what has one; None where no result
            has a gradient.
        needs: for each input whether gradients flow to it.
    """

    __slots__ = ("_between", "needs", "plain", "tracked")

    def __init__(
        self, plain: Body, tracked: Body | None, needs: tuple[bool, ...], outs: Sequence[TensorSpec],
        tracks: tuple[bool, ...],
    ) -> None:  # fmt: skip
        self.op = "compiled"
        self.ins = plain.ins
        self.attrs = ()
        self.outs = tuple(outs)
        self.grad_name = "CompiledFunctionBackward"
        self.tracks = tracks
        self.plain = plain
        self.tracked = tracked
        self.needs = needs
        self._between: dict[tuple[frozenset[int], frozenset[int]], tuple[int, tuple[bool, ...]]] = {}

    def body(self, tracked: bool) -> Body:
        """The ops, to be differentiated or not."""
        return self.tracked if tracked and self.tracked is not None else self.plain

    def between(self, results: frozenset[int], inputs: frozenset[int]) -> tuple[int, tuple[bool, ...]]:
        """What derivatives of some results with respect to some inputs read.

        Returns:
            the ops on the way whose derivatives use values, as bits; and for each input, then each result, whether its
            value is used.
        """
        found = self._between.get((results, inputs))
        if found is None:
            found = self._between[results, inputs] = self._on_the_way(results, inputs)
        return found

    def _on_the_way(self, results: frozenset[int], inputs: frozenset[int]) -> tuple[int, tuple[bool, ...]]:
        body, flags = self.body(True), list[bool]()
        behind = {~k for k in inputs}
        ahead = {body.numbers[k] for k in results}
        reached: list[tuple[int, App, tuple[int, ...], range]] = []
        for index, (app, operands) in enumerate(body.parts):
            made = range(len(flags), len(flags) + len(app.outs))
            tracks = bool(app.grad_name) and any([self.needs[~n] if n < 0 else flags[n] for n in operands])
            flags += [tracks and track for track in app.tracks]
            if tracks and not behind.isdisjoint(operands):
                behind.update(made)
                reached.append((index, app, operands, made))
        mask, read = 0, set[int]()
        for index, app, operands, made in reversed(reached):
            if ahead.isdisjoint(made):
                continue
            ahead.update(operands)
            needs = tuple([self.needs[~n] if n < 0 else flags[n] for n in operands])
            uses = saved(app, needs)
            mask |= any(uses) << index
            read.update([n for n, used in zip((*operands, *made), uses, strict=True) if used])
        return mask, tuple([~k in read for k in range(len(self.ins))] + [n in read for n in body.numbers])
