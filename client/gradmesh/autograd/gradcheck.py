"""Gradients against central differences.

A function with complex results is checked twice, as the real and as the imaginary part of them. With respect to a
complex input z = x + iy the derivative of a real result s is ds/dx + i ds/dy, twice the conjugate Wirtinger derivative.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gradmesh import _backward
from gradmesh._evaluate import drive
from gradmesh._function import Function
from gradmesh._tensor import Tensor
from gradmesh._trace import constant
from gradmesh._value import user_line
from gradmesh._vmap import vmap
from gradmesh.func import jvp
from gradmesh_engine.errors import AutogradError, GradmeshError, InvalidRequestError

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]

_BATCHED: Final = "gradcheck or gradgradcheck failed while testing batched gradient computation."
_BATCHED_FORWARD: Final = "gradcheck failed while testing batched gradient computation with forward-mode AD."
_SLOW_FITS: Final = (
    "Fast gradcheck failed but element-wise differences are small. This means that the\n"
    "test might've passed in slow_mode!"
)


class GradcheckError(AutogradError):
    """A gradient that is not what differences say. Final."""


def _several(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)


def _wanted(given: Sequence[Any]) -> list[int]:
    return [i for i, tensor in enumerate(given) if isinstance(tensor, Tensor) and tensor.requires_grad]


def _tracked(outputs: Any) -> list[Tensor]:
    return [o for o in _several(outputs) if isinstance(o, Tensor) and o.requires_grad]


def _gradients(
    outputs: Sequence[Tensor],
    wrt: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    create_graph: bool = False,
    materialize: bool = False,
) -> Sequence[Tensor | None]:
    return drive(_backward.grad(tuple(outputs), tuple(wrt), tuple(cotangents), True, create_graph, True, materialize))


def _array(tensor: Tensor | None, like: Tensor) -> np.ndarray:
    """The elements of a gradient in one dim, zeros for none."""
    if tensor is None:
        return np.zeros(like.numel(), like.np_dtype)
    return tensor.detach().resolve_conj().numpy().reshape(-1)


@dataclass(frozen=True)
class _Check:
    """One check of a function: all of it, or one part of its complex results or inputs. Final.

    Attributes:
        func: the function.
        given: its arguments.
        eps, atol, rtol, nondet_tol: as of gradcheck.
        fast: compare products with random vectors rather than matrices.
        forward: check derivatives pushed forward rather than pulled back.
        part: what is considered of complex results, or forward of complex inputs: "real", "imaginary" or "".
        parted: which results (differentiable ones), or inputs, that is.
    """

    func: Callable[..., Any]
    given: tuple[Any, ...]
    eps: float
    atol: float
    rtol: float
    nondet_tol: float
    fast: bool
    forward: bool = False
    part: str = ""
    parted: tuple[int, ...] = ()

    def run(self) -> None:
        """Raises GradcheckError."""
        outputs = _tracked(self.func(*self.given))
        if not outputs:
            self._refuse_slopes()
        for j, index in enumerate(_wanted(self.given)):
            if self.fast:
                self._fast(outputs, j, index)
                continue
            numerical = self._differences(index)
            for i, output in enumerate(outputs):
                analytical = self._forward(index)[i] if self.forward else self._backward(output, index)
                if not np.allclose(analytical, numerical[i], self.rtol, self.atol):
                    raise self._mismatch(i, j, numerical[i], analytical)

    def _refuse_slopes(self) -> None:
        every = _Check(_all_of(self.func), self.given, self.eps, 0, 0, 0, False)
        for index in _wanted(self.given):
            if any(matrix.any() for matrix in every._differences(index)):
                raise GradcheckError("Numerical gradient for function expected to be zero", source=user_line())

    # --- numerically ----------------------------------------------------------------------------------

    def _slopes(self, index: int, delta: np.ndarray, length: complex) -> list[np.ndarray]:
        """The derivative of each result along `delta`, by central differences; `length` is its size."""
        start = self.given[index].detach().resolve_conj().numpy()
        ends = []
        for moved in (start + delta, start - delta):
            tensor = constant(np.asarray(moved, start.dtype)).requires_grad_()
            found = self.func(*self.given[:index], tensor, *self.given[index + 1 :])
            ends.append([_array(o, o) for o in _tracked(found)])
        for one, other in zip(*ends, strict=True):
            if one.shape != other.shape:
                raise GradcheckError(
                    "Expected `func` to return outputs with the same shape when inputs are perturbed by "
                    f"{self.eps}, but got: shapes {one.shape} and {other.shape}.",
                    source=user_line(),
                )
        return [(one - other) / (2 * length) for one, other in zip(*ends, strict=True)]

    def _along(self, index: int, real: np.ndarray, imaginary: np.ndarray) -> list[np.ndarray]:
        """What a gradient's products with two directions are to be: ds/dx · real + i ds/dy · imaginary."""
        slopes = self._slopes(index, real * self.eps, self.eps)
        if not self.given[index].is_complex() or self.forward:
            return slopes
        others = self._slopes(index, imaginary * (1j * self.eps), self.eps)
        return [slope + 1j * other for slope, other in zip(slopes, others, strict=True)]

    def _differences(self, index: int) -> list[np.ndarray]:
        """For each result its Jacobian by one input, (input, output)."""
        tensor = self.given[index]
        rows = []
        for place in range(tensor.numel()):
            unit = np.zeros(tensor.numel())
            unit[place] = 1.0
            unit = unit.reshape(tensor.shape)
            rows.append(self._along(index, unit, unit))
        if not rows:
            return [np.zeros((0, o.numel())) for o in _tracked(self.func(*self.given))]
        return [np.array(columns) for columns in zip(*rows, strict=True)]

    # --- analytically -----------------------------------------------------------------------------------

    def _pulled(self, output: Tensor, index: int, cotangent: np.ndarray) -> np.ndarray:
        wrt, seed = self.given[index], constant(cotangent.reshape(output.shape).astype(output.np_dtype))
        (found,) = _gradients((output,), (wrt,), (seed,))
        return _array(found, wrt)

    def _backward(self, output: Tensor, index: int) -> np.ndarray:
        """The Jacobian of one result by one input, (input, output), pulled back twice."""
        wrt = self.given[index]
        passes = []
        for _ in range(2):
            rows = [self._pulled(output, index, unit) for unit in np.eye(output.numel())]
            passes.append(np.array(rows).T if rows else np.zeros((wrt.numel(), 0)))
        self._same_again(*passes)
        return passes[0]

    def _same_again(self, one: np.ndarray, other: np.ndarray) -> None:
        if one.size and np.abs(one - other).max() > self.nondet_tol:
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                "gives different values, although analytical gradient matches numerical gradient."
                f"The tolerance for nondeterminism was {self.nondet_tol}.",
                source=user_line(),
            )

    def _pushed(self, index: int, tangent: np.ndarray) -> list[np.ndarray]:
        """The derivative of each result along a direction of one input."""
        given = self.given[index]

        def of_one(x: Any) -> tuple[Any, ...]:
            return tuple(_tracked(self.func(*self.given[:index], x, *self.given[index + 1 :])))

        direction = constant(tangent.reshape(given.shape).astype(given.np_dtype))
        outputs, pushed = jvp(of_one, (given,), (direction,))
        return [_array(p, o) for p, o in zip(pushed, outputs, strict=True)]

    def _forward(self, index: int) -> list[np.ndarray]:
        """For each result its Jacobian by one input, (input, output), pushed forward."""
        rows = [self._pushed(index, unit) for unit in np.eye(self.given[index].numel())]
        return [np.array(columns) for columns in zip(*rows, strict=True)]

    # --- products with random vectors instead -------------------------------------------------------------

    def _fast(self, outputs: Sequence[Tensor], j: int, index: int) -> None:
        """Compare vᵀJu, v and u random and positive; the tolerance is scaled to what vᵀEu may be."""
        tensor = self.given[index]
        random = np.random.default_rng(index)
        real, imaginary = (_unit(random, tensor.numel()) for _ in range(2))
        slopes = self._along(index, real.reshape(tensor.shape), imaginary.reshape(tensor.shape))
        for i, output in enumerate(outputs):
            spread = real.sum() + (imaginary.sum() if tensor.is_complex() and not self.forward else 0.0)
            if self.forward:
                numerical, analytical = slopes[i], self._pushed(index, real)[i]
            else:
                v = _unit(random, output.numel())
                spread *= v.sum()
                one, other = (self._pulled(output, index, v) for _ in range(2))
                self._same_again(one, other)
                numerical = np.asarray((v * slopes[i]).sum())
                parts = one.real @ real
                analytical = np.asarray(parts + 1j * (one.imag @ imaginary) if tensor.is_complex() else parts)
            if np.allclose(analytical, numerical, self.rtol, self.atol * spread):
                continue
            error = self._mismatch(i, j, numerical, analytical)
            matrix = self._differences(index)[i]
            exact = self._forward(index)[i] if self.forward else self._backward(output, index)
            error.message += (
                "\nThe above quantities relating the numerical and analytical jacobians are computed \nin fast mode. "
                "Below, we recompute numerical and analytical jacobians in slow mode:\n\n"
                f"Numerical:\n {_shown(matrix)}\n"
                f"Analytical:\n{_shown(exact)}\n\nThe max per-element difference (slow mode) is: "
                f"{np.abs(matrix - exact).max()}.\n"
            )
            if np.allclose(exact, matrix, self.rtol, self.atol):
                error.message += _SLOW_FITS
            raise error

    def _mismatch(self, i: int, j: int, numerical: np.ndarray, analytical: np.ndarray) -> GradcheckError:
        element, position = ("inputs", j) if self.forward else ("outputs", i)
        prefix = ""
        if position in self.parted:
            prefix = f"While considering the {self.part} part of complex {element} only, "
        mode = "computed with forward mode " if self.forward else ""
        return GradcheckError(
            f"{prefix}Jacobian {mode}mismatch for output {i} with respect to input {j},\n"
            f"numerical:{_shown(numerical)}\nanalytical:{_shown(analytical)}\n",
            source=user_line(),
        )


def _unit(random: np.random.Generator, size: int) -> np.ndarray:
    vector = random.uniform(size=size)
    return vector / (np.linalg.norm(vector) or 1.0)


def _shown(array: np.ndarray) -> Tensor:
    return constant(np.array(array))


def _real(tensor: Any) -> Any:
    return tensor.real


def _imaginary(tensor: Any) -> Any:
    return tensor.imag


def _all_of(func: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its floating point results tracked whether they depend on the arguments or not."""

    def wrapped(*args: Any) -> tuple[Any, ...]:
        found = [o for o in _several(func(*args)) if isinstance(o, Tensor)]
        return tuple([o.detach().requires_grad_() for o in found if o.is_floating_point() or o.is_complex()])

    return wrapped


def _part_of_outputs(func: Callable[..., Any], part: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda *args: tuple([part(o) if o.is_complex() else o for o in _several(func(*args))])


def _part_of_inputs(
    func: Callable[..., Any], given: Sequence[Any], parted: Sequence[int], join: Callable[[Any, Any], Any]
) -> Callable[..., Any]:
    def wrapped(*args: Any) -> Any:
        return func(*[join(a, given[i]) if i in parted else a for i, a in enumerate(args)])

    return wrapped


def _check_inputs(given: Sequence[Any]) -> None:
    for index in _wanted(given):
        tensor = given[index]
        if tensor.np_dtype.name not in ("float64", "complex128"):
            warnings.warn(
                f"Input #{index} requires gradient and is not a double precision floating point or complex. This check "
                "will likely fail if all the inputs are not of double precision floating point or complex. ",
                stacklevel=4,
            )
        if any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True)):
            raise AutogradError(
                f"The {index}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                "non-overlapping to be able to compute the numerical gradients correctly. You should call .contiguous "
                "on the input before passing it to gradcheck.",
                source=user_line(),
            )
    if not _wanted(given):
        raise InvalidRequestError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have "
            "requires_grad=True.",
            source=user_line(),
        )


# --- what else a derivative has to be ---------------------------------------------------------------


def _check_batched(given: Sequence[Any], output: Tensor, i: int) -> None:
    """One pass for a batch of cotangents gives what a pass for each does."""
    wrt = [given[index] for index in _wanted(given)]

    def pull(v: Tensor) -> tuple[Tensor, ...]:
        found = _gradients((output,), wrt, (v,), materialize=True)
        return tuple([gradient for gradient in found if gradient is not None])

    random = np.random.default_rng(i)
    seeds = constant(random.standard_normal((2, *output.shape)).astype(output.np_dtype))
    expected = [pull(seed) for seed in seeds]
    _compare_batched(lambda: vmap(pull)(seeds), expected, _BATCHED, i)


def _check_batched_forward(func: Callable[..., Any], given: Sequence[Any]) -> None:
    """The same of tangents, pushed forward."""
    for index in _wanted(given):
        tensor = given[index]

        def push(tangent: Tensor, index: int = index, tensor: Tensor = tensor) -> tuple[Tensor, ...]:
            def of_one(x: Any) -> tuple[Any, ...]:
                return _several(func(*given[:index], x, *given[index + 1 :]))

            moved: tuple[Tensor, ...] = jvp(of_one, (tensor.detach(),), (tangent,))[1]
            return moved

        random = np.random.default_rng(index)
        tangents = constant(random.standard_normal((2, *tensor.shape)).astype(tensor.np_dtype))
        expected = [push(tangent) for tangent in tangents]
        _compare_batched(functools.partial(vmap(push), tangents), expected, _BATCHED_FORWARD, None)


def _compare_batched(
    batched: Callable[[], Any], expected: Sequence[Sequence[Tensor]], why: str, output: int | None
) -> None:
    try:
        got = batched()
    except GradmeshError as error:
        raise GradcheckError(f"While computing batched gradients, got: {error}\n\n{why}", source=user_line()) from error
    for index, (result, parts) in enumerate(zip(got, zip(*expected, strict=True), strict=True)):
        wanted = np.stack([part.detach().resolve_conj().numpy() for part in parts])
        found = result.detach().resolve_conj().numpy()
        if not np.allclose(found, wanted, 1e-5, 1e-8):
            raise GradcheckError(
                f"For output {index if output is None else output} and input {index}:\n\n{why}\n\n"
                f"Got:\n{_shown(found)}\n\nExpected:\n{_shown(wanted)}",
                source=user_line(),
            )


def _check_scaled(outputs: Sequence[Tensor], given: Sequence[Any]) -> None:
    """Zero cotangents give zero gradients."""
    wrt = [given[index] for index in _wanted(given)]
    zeros = [constant(np.zeros(o.shape, o.np_dtype)) for o in outputs]
    if not outputs:
        return
    for gradient in _gradients(outputs, wrt, zeros):
        if gradient is not None and gradient.detach().resolve_conj().numpy().any():
            raise GradcheckError("backward not multiplied by grad_output", source=user_line())


class _Undefined(Function):
    """A copy whose gradient is None. Final."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The copy."""
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """None."""
        return None


def _check_undefined(func: Callable[..., Any], outputs: int, given: Sequence[Any]) -> None:
    """Results nothing depends on, all of them or one, are no trouble and give no gradient."""
    wrt = [given[index] for index in _wanted(given)]
    cases = [range(outputs)] + ([range(i, i + 1) for i in range(outputs)] if outputs > 1 else [])
    for undefined in cases:
        found = [_Undefined.apply(o) if i in undefined else o for i, o in enumerate(_tracked(func(*given)))]
        if not found:
            return
        zeros = [constant(np.zeros(o.shape, o.np_dtype)) for o in found]
        try:
            gradients = _gradients(found, wrt, zeros)
        except RuntimeError as error:
            raise GradcheckError(
                "Expected backward function to handle undefined output grads.", source=user_line()
            ) from error
        if any(g is not None and g.detach().resolve_conj().numpy().any() for g in gradients):
            raise GradcheckError(
                "Expected all input grads to be undefined or zero when all output grads are undefined or zero.",
                source=user_line(),
            )


# --- the checks ---------------------------------------------------------------------------------------


def _check_options(*rules: tuple[bool, str]) -> None:
    """Raises InvalidRequestError with the message of the first rule that does not hold."""
    for holds, message in rules:
        if not holds:
            raise InvalidRequestError(message, source=user_line())


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the gradients of `func` are those of central differences.

    Args:
        func: from tensors to a tensor or a tuple of them, real or complex.
        inputs: its arguments; those that require grad, best float64 or complex128, are checked.
        eps: half the width of the differences.
        atol: how far a derivative may be off.
        rtol: how far, relative to the difference.
        raise_exception: whether a wrong gradient raises GradcheckError, or gives False.
        nondet_tol: how far two passes over the same may be apart.
        check_undefined_grad: whether results without a cotangent are to be no trouble.
        check_grad_dtypes: no effect: gradients always have the dtype of what they are with respect to.
        check_batched_grad: whether a batch of cotangents in one pass, by vmap, is to give what single ones do.
        check_batched_forward_grad: the same of derivatives pushed forward.
        check_forward_ad: whether to check derivatives pushed forward, too.
        check_backward_ad: whether to check gradients.
        fast_mode: compare products with random vectors, which takes a pass per result instead of one per element.
        masked: no effect: there are no sparse tensors.

    Raises InvalidRequestError when no input requires grad or checks exclude each other.

    Example: `gm.autograd.gradcheck(gm.sin, gm.ones(2, dtype=gm.float64, requires_grad=True))` is `True`.
    """
    _check_options(
        (check_forward_ad or check_backward_ad, "Expected at least one of check_forward_ad or check_backward_ad to be "
         "True"),
        (check_backward_ad or not check_batched_grad, "Setting check_batched_grad=True requires check_backward_ad to "
         "be True"),
        (check_forward_ad or not check_batched_forward_grad, "Setting check_batched_forward_grad=True requires "
         "check_forward_ad to be True"),
    )  # fmt: skip
    given = _several(inputs)
    try:
        _check_inputs(given)
        outputs = _tracked(func(*given))
        check = functools.partial(_Check, eps=eps, atol=atol, rtol=rtol, nondet_tol=nondet_tol, fast=fast_mode)
        if check_backward_ad:
            for one in _backward_checks(check, func, given, outputs):
                one.run()
        if check_forward_ad:
            for one in _forward_checks(check, func, given):
                one.run()
        if check_batched_forward_grad:
            _check_batched_forward(func, given)
        if check_backward_ad:
            for i, output in enumerate(outputs):
                if check_batched_grad:
                    _check_batched(given, output, i)
            _check_scaled(outputs, given)
            if check_undefined_grad:
                _check_undefined(func, len(outputs), given)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _backward_checks(
    check: Callable[..., _Check], func: Callable[..., Any], given: tuple[Any, ...], outputs: Sequence[Tensor]
) -> list[_Check]:
    parted = tuple([i for i, output in enumerate(outputs) if output.is_complex()])
    if not any(isinstance(o, Tensor) and o.is_complex() for o in _several(func(*given))):
        return [check(func, given)]
    parts = (("imaginary", _imaginary), ("real", _real))
    return [check(_part_of_outputs(func, take), given, part=part, parted=parted) for part, take in parts]


def _forward_checks(check: Callable[..., _Check], func: Callable[..., Any], given: tuple[Any, ...]) -> list[_Check]:
    parted = tuple([i for i, a in enumerate(given) if isinstance(a, Tensor) and a.is_complex()])
    if not parted:
        return [check(func, given, forward=True)]
    ways: list[tuple[str, Callable[[Any], Any], Callable[[Any, Any], Any]]] = [
        ("imaginary", _imaginary, lambda part, whole: whole.real + part * 1j),
        ("real", _real, lambda part, whole: part + whole.imag * 1j),
    ]
    found = []
    for part, take, join in ways:
        own = tuple([take(a) if i in parted else a for i, a in enumerate(given)])
        found.append(check(_part_of_inputs(func, given, parted, join), own, forward=True, part=part, parted=parted))
    return found


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Whether the second derivatives of `func` are those of central differences of its gradients.

    Args:
        func: as of gradcheck.
        inputs: as of gradcheck.
        grad_outputs: cotangents of the outputs; made from a fixed seed unless given.
        eps: as of gradcheck.
        atol: as of gradcheck.
        rtol: as of gradcheck.
        gen_non_contig_grad_outputs: no effect: values have no strides.
        raise_exception: as of gradcheck.
        nondet_tol: as of gradcheck.
        check_undefined_grad: as of gradcheck.
        check_grad_dtypes: as of gradcheck.
        check_batched_grad: as of gradcheck.
        check_fwd_over_rev: whether to push derivatives of the gradients forward, too.
        check_rev_over_rev: whether to check gradients of the gradients.
        fast_mode: as of gradcheck.
        masked: as of gradcheck.

    Raises as gradcheck.

    Example: `gm.autograd.gradgradcheck(gm.sin, gm.ones(2, dtype=gm.float64, requires_grad=True))` is `True`.
    """
    _check_options(
        (check_fwd_over_rev or check_rev_over_rev, "Expected at least one of check_fwd_over_rev or check_rev_over_rev "
         "to be True"),
        (check_rev_over_rev or not check_undefined_grad, "Setting check_undefined_grad=True requires "
         "check_rev_over_rev to be True"),
        (check_rev_over_rev or not check_batched_grad, "Setting check_batched_grad=True requires check_rev_over_rev to "
         "be True"),
    )  # fmt: skip
    given = _several(inputs)
    if grad_outputs is None:
        random = np.random.default_rng(0)
        made = []
        for output in _tracked(func(*given)):
            values: np.ndarray = random.uniform(-1, 1, output.shape)
            if output.is_complex():
                values = values + 1j * random.uniform(-1, 1, output.shape)
            made.append(constant(np.asarray(values, output.np_dtype)).requires_grad_())
        grad_outputs = made
    cotangents = _several(grad_outputs)
    wanted = _wanted(given)

    def gradients(*arguments: Any) -> tuple[Tensor, ...]:
        own, seeds = arguments[: len(given)], arguments[len(given) :]
        wrt = [own[i] for i in wanted]
        found = _gradients(_tracked(func(*own)), wrt, seeds, create_graph=True)
        return tuple([gradient for gradient in found if gradient is not None])

    return gradcheck(
        gradients,
        (*given, *cotangents),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
    )
