"""What the client records: values, the ops that made them, and the user's line of each.

A value is immutable: an in-place op gives the tensor a new one. Nothing here recurses, however long
the recorded chain.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Mapping, Sequence
from math import copysign
from types import CodeType
from typing import Any, Final

import numpy as np

from gradmesh._modes import GRAD, INFERENCE_MODE, STATE
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AutogradError, GradmeshError
from gradmesh_engine.graph import Attrs, AttrValue, TensorSpec
from gradmesh_engine.ops import Op, lookup

# --- specs ----------------------------------------------------------------------------------------

_SPECS: Final[dict[tuple[tuple[int, ...], np.dtype], TensorSpec]] = {}
_SPECS_LIMIT: Final = 1 << 16


def spec_of(shape: tuple[int, ...], dtype: np.dtype) -> TensorSpec:
    """The spec of this shape and dtype; the same object each time, so that caches may compare identities."""
    key = (shape, dtype)
    spec = _SPECS.get(key)
    if spec is None:
        if len(_SPECS) >= _SPECS_LIMIT:
            _SPECS.clear()
        spec = _SPECS[key] = TensorSpec(shape, dtype)
    return spec


# --- applications: everything about an op at given specs that need be found only once ----------------


class App:
    """An op applied to operands of given specs with given attributes. Final, never changes.

    Attributes:
        op: the op's name.
        ins: specs of the operands.
        attrs: checked attributes, sorted, defaults filled in.
        outs: specs of the results.
        grad_name: class name of its `grad_fn`, "" when it has none.
        tracks: for each result whether a gradient can reach it.
        declared: the op's row in the table.
        uses: what `saved` has found, by the operands that need a cotangent.
    """

    __slots__ = ("attrs", "declared", "grad_name", "ins", "op", "outs", "tracks", "uses")

    def __init__(self, op: str, ins: tuple[TensorSpec, ...], attrs: Mapping[str, Any]) -> None:
        self.declared: Op = lookup(op)
        bound = self.declared.bind(attrs)
        self.op: str = sys.intern(op)
        self.ins = ins
        self.attrs: Attrs = tuple(sorted(bound.items()))
        self.outs: tuple[TensorSpec, ...] = tuple(
            [spec_of(spec.shape, spec.dtype) for spec in self.declared.infer(ins, bound)]
        )
        self.grad_name: str = self.declared.grad_name_for(ins, bound) if self.declared.grad_name else ""
        self.tracks: tuple[bool, ...] = tuple(
            [bool(self.grad_name) and dtypes.is_differentiable(spec.dtype) for spec in self.outs]
        )
        self.uses: dict[tuple[bool, ...], tuple[bool, ...]] = {}


_APPS: Final[dict[tuple[Any, ...], App]] = {}
_APPS_LIMIT: Final = 1 << 16


def _attr_key(value: Any) -> Any:
    # 1, 1.0 and True are equal, and so are 0.0 and -0.0, but not as attributes.
    if isinstance(value, float) and value == 0.0:
        return float, value, copysign(1.0, value)
    return type(value), value


def application(op: str, ins: tuple[TensorSpec, ...], attrs: Mapping[str, Any]) -> App:
    """The application of `op` at these specs and attributes. Raises InvalidGraphError subclasses."""
    try:
        key: tuple[Any, ...] = (op, *map(id, ins))
        if attrs:
            key = (key, *[(name, _attr_key(value)) for name, value in attrs.items()])
        app = _APPS.get(key)
    except TypeError:  # an attribute that is no hashable value: let the op say so
        app = None
        key = ()
    if app is None:
        app = App(op, ins, attrs)
        if len(_APPS) >= _APPS_LIMIT:
            _APPS.clear()
        if key:
            # The entry keeps its specs alive, so their ids stay theirs.
            _APPS[key] = app
    return app


# --- values ---------------------------------------------------------------------------------------


class Inference:
    """Marks values made in inference mode. Final; there is one."""

    __slots__ = ()


INFERENCE: Final = Inference()


class Counter:
    """Counts the writes to a storage. Shared by all tensors that see the storage. Final."""

    __slots__ = ("current",)

    def __init__(self, current: int = 0) -> None:
        self.current = current


class Made:
    """A node of the trace: an op and its operands. Abstract; a value of a one-result op is its own node.

    Attributes:
        app: the op; None for a value that stands for its only operand.
        inputs: the operands.
        code, instruction: where the user's code recorded it.
        freed: whether a backward pass has used it up; of a recorded function, which of its ops, as bits.
        wrote: whether its result was written into its first operand, whose old content it keeps.
        epoch: how many evaluations came before it.
        hooks: what the user attached to its `grad_fn`.
        view: the `grad_fn` object users hold, while they hold it.
        segment: number of the checkpoint it was recorded in, minus that for its derivatives, 0 for none.
    """

    __slots__ = ("app", "code", "epoch", "freed", "hooks", "inputs", "instruction", "segment", "view", "wrote")

    app: App | None
    code: CodeType | None
    epoch: int
    freed: int
    hooks: Any
    inputs: tuple[Value, ...]
    instruction: int
    segment: int
    view: Any
    wrote: bool


class Value(Made):
    """A tensor's content at one time: known, or recorded and not computed yet. Final.

    Attributes:
        spec: shape and dtype.
        data: the content, read-only, or None while it is pending.
        requires_grad: whether gradients flow to it.
        node: the several-result op it is a result of, or None.
        index: which result of it.
        meta: where its gradient goes when not to the op that made it: a `Leaf` or an `Edge`;
            INFERENCE for what was made in inference mode.
        counter, version: the storage's writes when this was its content; None when never written.
    """

    __slots__ = ("__weakref__", "counter", "data", "index", "meta", "node", "requires_grad", "spec", "version")

    def __init__(
        self,
        spec: TensorSpec,
        data: np.ndarray | None = None,
        app: App | None = None,
        inputs: tuple[Value, ...] = (),
        requires_grad: bool = False,
        meta: Any = None,
    ) -> None:
        self.spec = spec
        self.data = data
        self.app = app
        self.inputs = inputs
        self.requires_grad = requires_grad
        self.meta = meta
        self.node: Bundle | None = None
        self.index = 0
        self.counter: Counter | None = None
        self.version = 0
        self.epoch = STATE.epoch
        self.segment = STATE.segment
        self.code = None
        self.instruction = 0
        self.freed = False
        self.wrote = False
        self.hooks = None
        self.view = None

    def keep(self, data: np.ndarray) -> None:
        """Attach the computed content; what only served to compute it is let go."""
        if data.__class__ is not np.ndarray:
            data = np.asarray(data)
        data.flags.writeable = False
        self.data = data
        if not self.requires_grad:
            self.inputs = ()
            self.app = None
            self.node = None
        elif self.app is None and self.node is None:
            self.inputs = ()


class Bundle(Made):
    """A node with several results, each a `Value` pointing here. Final."""

    __slots__ = ("__weakref__", "results")

    def __init__(self, app: App, inputs: tuple[Value, ...]) -> None:
        self.app = app
        self.inputs = inputs
        self.results: list[weakref.ref[Value]] = []
        self.epoch = STATE.epoch
        self.segment = STATE.segment
        self.code = None
        self.instruction = 0
        self.freed = False
        self.wrote = False
        self.hooks = None
        self.view = None

    def result(self, index: int) -> Value:
        """The value of one result, made anew when nothing holds it any more."""
        value = self.results[index]()
        if value is None:
            assert self.app is not None
            value = Value(self.app.outs[index], requires_grad=self.app.tracks[index])
            value.node, value.index, value.epoch = self, index, self.epoch
            self.results[index] = weakref.ref(value)
        return value


def known(array: np.ndarray) -> Value:
    """A value with content; the array becomes read-only. It must be of a dtype in the table."""
    if array.__class__ is not np.ndarray:
        array = np.asarray(array)
    array.flags.writeable = False
    return Value(spec_of(array.shape, array.dtype), array)


def alias(value: Value, requires_grad: bool = False, meta: Any = None) -> Value:
    """A value with the same content and a differentiation history of its own."""
    # Who records a function has to know of whom.
    linked = value.data is None or STATE.capture is not None
    return Value(value.spec, value.data, None, (value,) if linked else (), requires_grad, meta)


# --- the user's line ------------------------------------------------------------------------------

INSIDE = os.path.dirname(os.path.abspath(__file__)) + os.sep
ENGINE = os.path.dirname(os.path.abspath(sys.modules["gradmesh_engine"].__file__ or "")) + os.sep
_ASYNCIO = f"{os.sep}asyncio{os.sep}"
_IS_INSIDE: Final[dict[str, bool]] = {}


def _is_inside(filename: str) -> bool:
    inside = filename.startswith((INSIDE, ENGINE))
    if len(_IS_INSIDE) > 4096:
        _IS_INSIDE.clear()
    _IS_INSIDE[filename] = inside
    return inside


def place(made: Made, depth: int = 2) -> None:
    """Note where the user's code is now: at least so many frames up."""
    frame = sys._getframe(depth)
    while True:
        code = frame.f_code
        filename = code.co_filename
        inside = _IS_INSIDE.get(filename)
        if inside is None:
            inside = _is_inside(filename)
        if not inside:
            made.code = code
            made.instruction = frame.f_lasti
            return
        back = frame.f_back
        if back is None:
            return
        frame = back


# By the identity of code, which is kept alive for that: code of two files may be equal.
_LINES: Final[dict[tuple[int, int], tuple[CodeType, str]]] = {}


def line_of(code: CodeType | None, instruction: int) -> str:
    """ "file.py:12" for an instruction of a code object, "" when unknown."""
    if code is None:
        return ""
    found = _LINES.get((id(code), instruction))
    if found is None:
        if len(_LINES) > 4096:
            _LINES.clear()
        found = _LINES[id(code), instruction] = code, _line_of(code, instruction)
    return found[1]


def _line_of(code: CodeType, instruction: int) -> str:
    if _ASYNCIO in code.co_filename:  # A task's own line is not to be seen from inside it.
        return ""
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= instruction < end and number is not None:
            line = number
            break
    return f"{os.path.basename(code.co_filename)}:{line}"


def source_of(made: Made) -> str:
    """The user's line that recorded a node: "file.py:12", "" when unknown."""
    if isinstance(made, Value) and made.node is not None:
        made = made.node
    return line_of(made.code, made.instruction)


class _Here(Made):
    __slots__ = ()

    def __init__(self) -> None:
        self.code = None
        self.instruction = 0


def user_line() -> str:
    """The line of the user's code that is running now."""
    here = _Here()
    place(here)
    return source_of(here)


# --- recording ------------------------------------------------------------------------------------


def emit(
    op: str, inputs: tuple[Value, ...], attrs: Mapping[str, AttrValue], depth: int = 2
) -> Value | tuple[Value, ...]:
    """Record one application of an op; one value, or a tuple for an op with several results.

    The user's code is at least `depth` frames up, counted from the next one. Raises GradmeshError subclasses with
    the user's line.
    """
    found = None
    if not attrs:
        if len(inputs) == 2:
            left, right = inputs
            found = _APPS.get((op, id(left.spec), id(right.spec)))
        elif len(inputs) == 1:
            found = _APPS.get((op, id(inputs[0].spec)))
    try:
        app = found if found is not None else application(op, tuple([v.spec for v in inputs]), attrs)
    except GradmeshError as error:
        raise error.at(op=op, source=user_line()) from None
    requires_grad = False
    if app.grad_name and GRAD.get():
        for v in inputs:
            if v.requires_grad:
                requires_grad = True
                break
    outs = app.outs
    if len(outs) != 1:
        return _emit_several(app, inputs, requires_grad)
    value = Value(outs[0], None, app, inputs, requires_grad and app.tracks[0])
    place(value, depth)
    unusual = STATE.saving is not None or STATE.allowance is not None if requires_grad else INFERENCE_MODE.get()
    if requires_grad:
        for v in inputs:
            if v.meta is INFERENCE:
                unusual = True
    if unusual:
        _mark(value, app, inputs)
    return value


def place_like(app: App, inputs: tuple[Value, ...], made: Made) -> tuple[Value, ...]:
    """Record an application once more, at the user's line of another."""
    requires_grad = STATE.grad and bool(app.grad_name) and any([v.requires_grad for v in inputs])
    if len(app.outs) != 1:
        values = _emit_several(app, inputs, requires_grad)
        node: Made | None = values[0].node
    else:
        value = Value(app.outs[0], None, app, inputs, requires_grad and app.tracks[0])
        values, node = (value,), value
    assert node is not None
    node.code, node.instruction, node.segment = made.code, made.instruction, made.segment
    return values


def _mark(value: Value, app: App, inputs: tuple[Value, ...]) -> None:
    if value.requires_grad:
        if STATE.saving is not None or STATE.allowance is not None:
            _attach(value, app, inputs, (value,))
        for v in inputs:
            if v.meta is INFERENCE and _saves(app, inputs, v):
                raise AutogradError(
                    "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference "
                    "mode in computation tracked by autograd. To work around this, you can make a clone to get a "
                    "normal tensor and use it in autograd, or use `gradmesh.no_grad()` instead of "
                    "`gradmesh.inference_mode()`.",
                    op=app.op,
                    source=user_line(),
                )
    elif STATE.inference and value.meta is None:
        value.meta = INFERENCE


def _saves(app: App, inputs: tuple[Value, ...], value: Value) -> bool:
    uses = saved(app, tuple([v.requires_grad for v in inputs]))
    return any(used and v is value for used, v in zip(uses, inputs, strict=False))


def saved(app: App, needs: tuple[bool, ...]) -> tuple[bool, ...]:
    """For each operand, then each result, whether the derivative of an op uses its value."""
    uses = app.uses.get(needs)
    if uses is None:
        from gradmesh_engine.differentiate import pullback

        count = len(app.ins) + len(app.outs)
        uses = app.uses[needs] = pullback(app.declared, app.ins, app.attrs, needs, app.tracks).uses[:count]
    return uses


def _emit_several(app: App, inputs: tuple[Value, ...], requires_grad: bool) -> tuple[Value, ...]:
    bundle = Bundle(app, inputs)
    place(bundle)
    values = []
    for index, spec in enumerate(app.outs):
        value = Value(spec, None, None, (), requires_grad and app.tracks[index])
        value.node, value.index = bundle, index
        if STATE.inference:
            value.meta = INFERENCE
        bundle.results.append(weakref.ref(value))
        values.append(value)
    if requires_grad and (STATE.saving is not None or STATE.allowance is not None):
        _attach(bundle, app, inputs, values)
    return tuple(values)


def _attach(made: Made, app: App, inputs: Sequence[Value], results: Sequence[Value]) -> None:
    from gradmesh._saving import attach

    attach(made, app, inputs, results)
