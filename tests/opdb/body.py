"""The one body: an entry's samples run in both libraries, and what differs is told."""

from __future__ import annotations

import os
import random
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import gradmesh as gm
from tests.opdb.convert import array_of, converted, leaves
from tests.opdb.listing import database
from tests.opdb.row import Row
from tests.opdb.table import ROWS

# The dtypes compared, with the share of GRADMESH_OPDB_SAMPLES each gets (at least one sample).
DTYPES: dict[torch.dtype, float] = {
    torch.float64: 1.0,
    torch.float32: 0.5,
    torch.complex128: 0.5,
    torch.complex64: 0.3,
    torch.int64: 0.5,
    torch.bool: 0.3,
}
NARROW = (torch.uint8, torch.int8, torch.int16, torch.int32)  # one of them, by seed
HALVES = (torch.float16, torch.bfloat16)  # one of them, by seed; first derivatives only

# Relative and absolute tolerance by the precision compared in.
TOLERANCE = {"float64": (1e-7, 1e-9), "float32": (2e-4, 2e-5), "float16": (1e-2, 1e-3), "bfloat16": (5e-2, 1e-2)}

DEFAULT = Row()


def seed() -> int:
    """What decides samples and cotangents: GRADMESH_OPDB_SEED."""
    return int(os.environ.get("GRADMESH_OPDB_SEED", "0"))


def count() -> int:
    """How many samples of float64 are compared per entry: GRADMESH_OPDB_SAMPLES."""
    return int(os.environ.get("GRADMESH_OPDB_SAMPLES", "3"))


@dataclass(frozen=True)
class Difference:
    """What differs from PyTorch, where. `stage` is call, value, grad_fn, gradient, second or check."""

    entry: str
    dtype: str
    sample: str
    stage: str
    text: str

    def __str__(self) -> str:
        return f"{self.entry} {self.dtype} {self.stage}: {self.text}\n    sample: {self.sample}"


class _Differs(Exception):
    """Raised by the stages."""

    def __init__(self, stage: str, text: str) -> None:
        super().__init__(text)
        self.stage = stage


# --- samples --------------------------------------------------------------------------------------


def _seeded(name: str, dtype: object) -> random.Random:
    """Seeds every generator that samples draw from."""
    number = zlib.crc32(f"{seed()} {name} {dtype}".encode())
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)
    return random.Random(number)


def samples(name: str, dtype: torch.dtype, row: Row, number: int) -> Sequence[Any]:
    """Some of an entry's samples, which ones by seed."""
    op = database()[name]
    rng = _seeded(name, dtype)
    differentiable = op.supports_autograd and (dtype.is_floating_point or dtype.is_complex)
    if dtype.is_complex:
        differentiable = differentiable and dtype in op.supported_backward_dtypes("cpu")
    found = list(op.sample_inputs("cpu", dtype, requires_grad=differentiable))
    if row.keep is not None:
        found = [sample for sample in found if row.keep(sample)]
    if len(found) > number:
        found = [found[i] for i in sorted(rng.sample(range(len(found)), number))]
    return found


def dtypes_of(name: str, row: Row) -> Iterator[tuple[torch.dtype, float]]:
    """The dtypes compared for an entry, and their share of samples."""
    supported = database()[name].supported_dtypes("cpu")
    shares = dict(DTYPES)
    for kinds in (NARROW, HALVES):
        found = [dtype for dtype in kinds if dtype in supported]
        if found:
            shares[found[(seed() + zlib.crc32(name.encode())) % len(found)]] = 0.3
    for dtype, share in shares.items():
        if dtype in supported and str(dtype).removeprefix("torch.") not in row.without:
            yield dtype, share


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        flag = ", grad" if value.requires_grad else ""
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}{flag}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({', '.join(map(_shown, value))})"
    return repr(value)


def described(sample: Any) -> str:
    """The arguments of a sample in a line."""
    named = [f"{key}={_shown(value)}" for key, value in sample.kwargs.items()]
    return ", ".join([_shown(sample.input), *map(_shown, sample.args), *named])


# --- comparing ------------------------------------------------------------------------------------


def _close(stage: str, got: np.ndarray, wanted: np.ndarray, loose: float) -> None:
    if got.shape != wanted.shape:
        raise _Differs(stage, f"shape {got.shape}, PyTorch's is {wanted.shape}")
    if got.dtype != wanted.dtype:
        raise _Differs(stage, f"dtype {got.dtype}, PyTorch's is {wanted.dtype}")
    if wanted.dtype.kind in "biu":
        if not np.array_equal(got, wanted):
            raise _Differs(stage, f"{got!r}, PyTorch's is {wanted!r}")
        return
    half = wanted.dtype.itemsize == 2
    if wanted.dtype.kind == "V":
        got, wanted = got.astype(np.float32), wanted.astype(np.float32)
        relative, absolute = TOLERANCE["bfloat16"]
    else:
        relative, absolute = TOLERANCE[np.zeros((), wanted.dtype).real.dtype.name]
    if half:
        # PyTorch rounds between steps, by as much as the largest number at hand.
        sizes = np.abs(wanted[np.isfinite(wanted)].astype(np.float64))
        absolute = max(absolute, 0.4 * relative * float(sizes.max(initial=0)))
        if got.dtype == np.float16:
            # Near the end of the range rounding decides what overflows.
            got, wanted = (np.clip(side, -3e4, 3e4) for side in (got, wanted))
    if not np.allclose(got, wanted, rtol=relative * loose, atol=absolute * loose, equal_nan=True):
        with np.errstate(all="ignore"):
            worst = np.nanmax(np.abs(got - wanted)) if got.size else 0
        raise _Differs(stage, f"differs by up to {worst}: {got.ravel()[:6]}, PyTorch's is {wanted.ravel()[:6]}")


def _is_tensor(value: Any) -> bool:
    return isinstance(value, (gm.Tensor, torch.Tensor))


def _same_results(got: Any, wanted: Any, row: Row, stage: str = "value") -> None:
    """Structure, dtypes, shapes and values of results, or of what the gauge makes of them."""
    if isinstance(wanted, (tuple, list)):
        if not isinstance(got, (tuple, list)) or len(got) != len(wanted):
            raise _Differs(stage, f"{type(got).__name__} of {_length(got)}, PyTorch's has {len(wanted)}")
        for mine, other in zip(got, wanted, strict=True):
            _same_results(mine, other, row, stage)
    elif isinstance(wanted, torch.Tensor):
        if not isinstance(got, gm.Tensor):
            raise _Differs(stage, f"a {type(got).__name__}, PyTorch's is a Tensor")
        mine, other = array_of(got), array_of(wanted)
        if row.random:
            mine, other = np.zeros_like(mine), np.zeros_like(other)
        _close(stage, mine, other, row.loose)
    elif isinstance(wanted, torch.dtype):
        if repr(got) != repr(wanted):
            raise _Differs(stage, f"{got}, PyTorch's is {wanted}")
    elif got != wanted and not (got != got and wanted != wanted):
        raise _Differs(stage, f"{got!r}, PyTorch's is {wanted!r}")


def _length(value: Any) -> object:
    return len(value) if isinstance(value, (tuple, list)) else "no members"


def _same_history(got: Any, wanted: Any, row: Row) -> None:
    """`requires_grad` and the class names of `grad_fn`."""
    for mine, other in zip(leaves(got), leaves(wanted), strict=True):
        if not isinstance(other, torch.Tensor):
            continue
        if mine.requires_grad != other.requires_grad:
            raise _Differs("grad_fn", f"requires_grad is {mine.requires_grad}, PyTorch's is {other.requires_grad}")
        mine_name = type(mine.grad_fn).__name__
        name = type(other.grad_fn).__name__
        if mine_name != row.other_names.get(name, name):
            raise _Differs("grad_fn", f"{mine_name}, PyTorch's is {name}")


def _cotangents(outputs: Sequence[torch.Tensor], rng: np.random.Generator) -> list[torch.Tensor]:
    made = []
    for output in outputs:
        values = rng.standard_normal(tuple(output.shape))
        if output.dtype.is_complex:
            values = values + 1j * rng.standard_normal(tuple(output.shape))
        made.append(torch.tensor(values).to(output.dtype).requires_grad_())
    return made


def _gradients(
    library: Any, outputs: Sequence[Any], inputs: Sequence[Any], cotangents: Sequence[Any], again: bool
) -> list[Any]:
    return list(library.autograd.grad(outputs, inputs, grad_outputs=cotangents, create_graph=again, allow_unused=True))


def _same_gradients(stage: str, got: Sequence[Any], wanted: Sequence[Any], loose: float, strict: bool) -> None:
    for position, (mine, other) in enumerate(zip(got, wanted, strict=True)):
        if mine is None and other is None:
            continue
        if strict and (mine is None) != (other is None):
            raise _Differs(stage, f"of input {position}: {mine}, PyTorch's is {other}")
        if mine is None or other is None:
            # No second derivative stands for one of zeros.
            left = np.zeros_like(array_of(other)) if mine is None else array_of(mine)
            right = np.zeros_like(array_of(mine)) if other is None else array_of(other)
        else:
            left, right = array_of(mine), array_of(other)
        try:
            _close(stage, left, right, loose)
        except _Differs as difference:
            raise _Differs(stage, f"of input {position}: {difference}") from None


def _differentiate(name: str, row: Row, sides: Sequence[tuple[Any, Any, list[Any]]], process: Any) -> None:
    """First and second derivatives. `sides`: (library, result, differentiable inputs) of gradmesh and of PyTorch."""
    op = database()[name]
    outputs = []
    for library, result, _ in sides:
        kept = [t for t in leaves(process(result)) if _is_tensor(t) and t.requires_grad]
        outputs.append((library, kept))
    (_, mine), (_, others) = outputs
    if not others or not sides[1][2]:
        return
    if len(mine) != len(others):
        raise _Differs("gradient", f"{len(mine)} differentiable results, PyTorch has {len(others)}")
    rng = np.random.default_rng(zlib.crc32(f"{seed()} {name}".encode()))
    their_cotangents = _cotangents(others, rng)
    my_cotangents = [converted(c) for c in their_cotangents]
    halves = any(t.dtype in HALVES for t in (*others, *sides[1][2]))
    twice = op.supports_gradgrad and not row.once and not halves
    wanted = _gradients(torch, others, sides[1][2], their_cotangents, twice)
    try:
        got = _gradients(gm, mine, sides[0][2], my_cotangents, twice)
        _same_gradients("gradient", got, wanted, row.loose * 10, strict=True)
    except _Differs:
        raise
    except Exception as error:
        raise _Differs("gradient", f"{type(error).__name__}: {error}") from error
    if not twice:
        return
    kept = [i for i, g in enumerate(wanted) if g is not None and g.requires_grad]
    if not kept:
        return
    their_second = _cotangents([wanted[i] for i in kept], rng)
    try:
        wanted = _gradients(torch, [wanted[i] for i in kept], [*sides[1][2], *their_cotangents], their_second, False)
    except RuntimeError:
        # PyTorch has second derivatives of the entry, but not of this sample.
        return
    try:
        alive = [i for i in kept if got[i].requires_grad]
        my_second = [converted(their_second[kept.index(i)]) for i in alive]
        second = (
            _gradients(gm, [got[i] for i in alive], [*sides[0][2], *my_cotangents], my_second, False)
            if alive
            else [None] * len(wanted)
        )
        _same_gradients("second", second, wanted, row.loose * 100, strict=False)
    except _Differs:
        raise
    except Exception as error:
        raise _Differs("second", f"{type(error).__name__}: {error}") from error


# --- an entry -------------------------------------------------------------------------------------


def _function(name: str, row: Row) -> Any:
    """What gradmesh has for an entry. Raises AttributeError where it has nothing."""
    if row.call is not None:
        call = row.call
        return lambda *args, **kwargs: call(gm, *args, **kwargs)
    dotted = name.partition(":")[0]
    found: Any = gm
    try:
        for part in dotted.split("."):
            found = getattr(found, part)
    except AttributeError:
        found = getattr(gm.Tensor, dotted, None)
        if found is None:
            raise AttributeError(f"gradmesh has no {dotted}") from None
    return found


def _compare(name: str, row: Row, sample: Any) -> None:
    op = database()[name]
    arguments = (sample.input, *sample.args)
    wanted = op(*arguments, **sample.kwargs)
    try:
        mine, named = converted(arguments), converted(sample.kwargs)
        gm.manual_seed(seed())
        got = _function(name, row)(*mine, **named)
        if row.random:
            gm.manual_seed(seed())
            again = _function(name, row)(*converted(arguments), **converted(sample.kwargs))
            for one, other in zip(leaves(got), leaves(again), strict=True):
                if not np.array_equal(array_of(one), array_of(other), equal_nan=array_of(one).dtype.kind in "fc"):
                    raise _Differs("value", "the same seed gives other values")
    except _Differs:
        raise
    except Exception as error:
        raise _Differs("call", f"{type(error).__name__}: {error}") from error
    process = row.gauge or sample.output_process_fn_grad
    if row.gauge is None:
        _same_results(got, wanted, row)
    else:
        _same_results(row.gauge(got), row.gauge(wanted), row)
    _same_history(got, wanted, row)
    if row.random:
        return
    inputs = [
        [t for t in leaves((args, kwargs)) if _is_tensor(t) and t.requires_grad]
        for args, kwargs in ((mine, named), (arguments, sample.kwargs))
    ]
    _differentiate(name, row, [(gm, got, inputs[0]), (torch, wanted, inputs[1])], process)


def differences(name: str, first: bool = False) -> Iterator[Difference]:
    """What of an entry differs from PyTorch, for some samples of each dtype; only the first thing if `first`."""
    row = ROWS.get(name, DEFAULT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _function(name, row)
            if row.check is not None:
                row.check(gm)
        except Exception as error:
            yield Difference(name, "", "", "check", f"{type(error).__name__}: {error}")
            if first or isinstance(error, AttributeError):
                return
        for dtype, share in dtypes_of(name, row):
            for sample in samples(name, dtype, row, max(1, round(share * count()))):
                try:
                    _compare(name, row, sample)
                except _Differs as difference:
                    short = str(dtype).removeprefix("torch.")
                    yield Difference(name, short, described(sample), difference.stage, str(difference))
                    if first:
                        return
                except gm.errors.GradmeshError as error:
                    # Found when the value was read.
                    short = str(dtype).removeprefix("torch.")
                    yield Difference(name, short, described(sample), "value", f"{type(error).__name__}: {error}")
                    if first:
                        return
