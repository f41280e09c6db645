"""Special functions. All take any shape and return the same or, of two operands, the shape they broadcast to.

Integers and bools compute as the default float. Functions PyTorch does not differentiate have no gradient here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmesh import _tensor
from gradmesh._functions._common import Operand, both, one, one_is_tensor
from gradmesh._modes import is_grad_enabled
from gradmesh_engine.errors import NotDifferentiableError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "digamma",
    "erfinv",
    "i0",
    "igamma",
    "igammac",
    "lgamma",
    "logit",
    "mvlgamma",
    "polygamma",
    "sinc",
]

# --- one operand ----------------------------------------------------------------------------------


def i0(input: Tensor) -> Tensor:
    """Modified Bessel function of the first kind, order 0. Example: `gm.i0(gm.zeros(1))` is `tensor([1.])`."""
    return one("i0", input)


def lgamma(input: Tensor) -> Tensor:
    """Logarithm of the absolute value of the gamma function. Example: `gm.lgamma(gm.ones(1))` is `tensor([0.])`."""
    return one("lgamma", input)


def digamma(input: Tensor) -> Tensor:
    """Derivative of the logarithm of the gamma function. Example: `gm.digamma(gm.ones(1))` is `tensor([-0.5772])`."""
    return one("digamma", input)


def erfinv(input: Tensor) -> Tensor:
    """Inverse of the error function. Example: `gm.erfinv(gm.zeros(1))` is `tensor([0.])`."""
    return one("erfinv", input)


def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0. Example: `gm.sinc(gm.zeros(1))` is `tensor([1.])`."""
    return one("sinc", input)


def i0e(input: Tensor) -> Tensor:
    """exp(-abs(x)) i0(x). Example: `gm.special.i0e(gm.zeros(1))` is `tensor([1.])`."""
    return one("i0e", input)


def i1(input: Tensor) -> Tensor:
    """Modified Bessel function of the first kind, order 1.

    Example: `gm.special.i1(gm.zeros(1))` is `tensor([0.])`.
    """
    return one("i1", input)


def i1e(input: Tensor) -> Tensor:
    """exp(-abs(x)) i1(x). Example: `gm.special.i1e(gm.zeros(1))` is `tensor([0.])`."""
    return one("i1e", input)


def ndtr(input: Tensor) -> Tensor:
    """Standard normal distribution function. Example: `gm.special.ndtr(gm.zeros(1))` is `tensor([0.5000])`."""
    return one("ndtr", input)


def ndtri(input: Tensor) -> Tensor:
    """Inverse of the standard normal distribution function.

    Example: `gm.special.ndtri(gm.tensor([0.5]))` is `tensor([0.])`.
    """
    return one("ndtri", input)


def log_ndtr(input: Tensor) -> Tensor:
    """Logarithm of the standard normal distribution function.

    Example: `gm.special.log_ndtr(gm.zeros(1))` is `tensor([-0.6931])`.
    """
    return one("log_ndtr", input)


def entr(input: Tensor) -> Tensor:
    """-x log(x), 0 at 0 and -infinity below. Example: `gm.special.entr(gm.ones(1))` is `tensor([-0.])`."""
    return one("entr", input)


def erfcx(input: Tensor) -> Tensor:
    """exp(x²) erfc(x). Example: `gm.special.erfcx(gm.zeros(1))` is `tensor([1.])`."""
    return one("erfcx", input)


def airy_ai(input: Tensor) -> Tensor:
    """Airy's function Ai. Example: `gm.special.airy_ai(gm.zeros(1))` is `tensor([0.3550])`."""
    return one("airy_ai", input)


def bessel_j0(input: Tensor) -> Tensor:
    """Bessel function of the first kind, order 0. Example: `gm.special.bessel_j0(gm.zeros(1))` is `tensor([1.])`."""
    return one("bessel_j0", input)


def bessel_j1(input: Tensor) -> Tensor:
    """Bessel function of the first kind, order 1. Example: `gm.special.bessel_j1(gm.zeros(1))` is `tensor([0.])`."""
    return one("bessel_j1", input)


def bessel_y0(input: Tensor) -> Tensor:
    """Bessel function of the second kind, order 0.

    Example: `gm.special.bessel_y0(gm.ones(1))` is `tensor([0.0883])`.
    """
    return one("bessel_y0", input)


def bessel_y1(input: Tensor) -> Tensor:
    """Bessel function of the second kind, order 1.

    Example: `gm.special.bessel_y1(gm.ones(1))` is `tensor([-0.7812])`.
    """
    return one("bessel_y1", input)


def modified_bessel_i0(input: Tensor) -> Tensor:
    """`i0` without a derivative. Example: `gm.special.modified_bessel_i0(gm.zeros(1))` is `tensor([1.])`."""
    return one("modified_bessel_i0", input)


def modified_bessel_i1(input: Tensor) -> Tensor:
    """`i1` without a derivative. Example: `gm.special.modified_bessel_i1(gm.zeros(1))` is `tensor([0.])`."""
    return one("modified_bessel_i1", input)


def modified_bessel_k0(input: Tensor) -> Tensor:
    """Modified Bessel function of the second kind, order 0.

    Example: `gm.special.modified_bessel_k0(gm.ones(1))` is `tensor([0.4210])`.
    """
    return one("modified_bessel_k0", input)


def modified_bessel_k1(input: Tensor) -> Tensor:
    """Modified Bessel function of the second kind, order 1.

    Example: `gm.special.modified_bessel_k1(gm.ones(1))` is `tensor([0.6019])`.
    """
    return one("modified_bessel_k1", input)


def scaled_modified_bessel_k0(input: Tensor) -> Tensor:
    """exp(x) times `modified_bessel_k0`.

    Example: `gm.special.scaled_modified_bessel_k0(gm.ones(1))` is `tensor([1.1445])`.
    """
    return one("scaled_modified_bessel_k0", input)


def scaled_modified_bessel_k1(input: Tensor) -> Tensor:
    """exp(x) times `modified_bessel_k1`.

    Example: `gm.special.scaled_modified_bessel_k1(gm.ones(1))` is `tensor([1.6362])`.
    """
    return one("scaled_modified_bessel_k1", input)


def spherical_bessel_j0(input: Tensor) -> Tensor:
    """sin(x) / x, 1 at 0; without a derivative.

    Example: `gm.special.spherical_bessel_j0(gm.zeros(1))` is `tensor([1.])`.
    """
    return one("spherical_bessel_j0", input)


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), of x limited to [eps, 1 - eps]. Example: `gm.logit(gm.tensor([0.5]))` is `tensor([0.])`."""
    return one("logit", input) if eps is None else one("logit", input, eps=float(eps))


def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of `digamma`. Example: `gm.polygamma(1, gm.ones(1))` is `tensor([1.6449])`.

    Raises AttributeTypeError for n < 0.
    """
    return one("polygamma", input, n=n)


def mvlgamma(input: Tensor, p: int) -> Tensor:
    """Logarithm of the multivariate gamma function of dimension p.

    Example: `gm.mvlgamma(gm.tensor([2.]), 2)` is `tensor([0.4516])`. Raises AttributeTypeError for p < 1.
    """
    return one("mvlgamma", input, p=p)


# --- two operands ---------------------------------------------------------------------------------


def _only_by_other(name: str, input: Operand) -> None:
    """There is no derivative by the first operand; PyTorch says so when it comes to it.

    Raises NotDifferentiableError.
    """
    if isinstance(input, _tensor.Tensor) and input.requires_grad and is_grad_enabled():
        raise NotDifferentiableError(
            f"the derivative for '{name}: input' is not implemented.",
            op=name,
            expected="a first operand without gradient",
            remedy="detach it",
        )


def igamma(input: Tensor, other: Tensor) -> Tensor:
    """Regularised lower incomplete gamma function P(input, other). Floats only; differentiable by `other`.

    Example: `gm.igamma(gm.ones(1), gm.ones(1))` is `tensor([0.6321])`.
    """
    _only_by_other("igamma", input)
    return one("igamma", input, other)


def igammac(input: Tensor, other: Tensor) -> Tensor:
    """Regularised upper incomplete gamma function Q(input, other). Floats only; differentiable by `other`.

    Example: `gm.igammac(gm.ones(1), gm.ones(1))` is `tensor([0.3679])`.
    """
    _only_by_other("igammac", input)
    return one("igammac", input, other)


def xlog1py(input: Operand, other: Operand) -> Tensor:
    """`input * log(1 + other)`, and 0 where input is 0.

    Example: `gm.special.xlog1py(gm.zeros(1), gm.ones(1))` is `tensor([0.])`.
    """
    one_is_tensor("xlog1py", input, other)
    return both("xlog1py", input, other)


def zeta(input: Operand, other: Operand) -> Tensor:
    """Hurwitz' zeta function: the sum of (k + other)^-input for k = 0, 1, ….

    Example: `gm.special.zeta(gm.tensor([2.]), 1)` is `tensor([1.6449])`.
    """
    _only_by_other("zeta", input)
    one_is_tensor("zeta", input, other)
    return both("zeta", input, other)


def chebyshev_polynomial_t(input: Operand, n: Operand) -> Tensor:
    """Chebyshev polynomial of the first kind, of order n (truncated to a whole number) at input.

    Example: `gm.special.chebyshev_polynomial_t(gm.ones(1), 2)` is `tensor([1.])`.
    """
    one_is_tensor("chebyshev_polynomial_t", input, n)
    return both("chebyshev_polynomial_t", input, n)


def chebyshev_polynomial_u(input: Operand, n: Operand) -> Tensor:
    """Chebyshev polynomial of the second kind, of order n (truncated to a whole number) at input.

    Example: `gm.special.chebyshev_polynomial_u(gm.ones(1), 2)` is `tensor([3.])`.
    """
    one_is_tensor("chebyshev_polynomial_u", input, n)
    return both("chebyshev_polynomial_u", input, n)


def chebyshev_polynomial_v(input: Operand, n: Operand) -> Tensor:
    """Chebyshev polynomial of the third kind, of order n (truncated to a whole number) at input.

    Example: `gm.special.chebyshev_polynomial_v(gm.ones(1), 2)` is `tensor([1.])`.
    """
    one_is_tensor("chebyshev_polynomial_v", input, n)
    return both("chebyshev_polynomial_v", input, n)


def chebyshev_polynomial_w(input: Operand, n: Operand) -> Tensor:
    """Chebyshev polynomial of the fourth kind, of order n (truncated to a whole number) at input.

    Example: `gm.special.chebyshev_polynomial_w(gm.ones(1), 2)` is `tensor([5.])`.
    """
    one_is_tensor("chebyshev_polynomial_w", input, n)
    return both("chebyshev_polynomial_w", input, n)


def shifted_chebyshev_polynomial_t(input: Operand, n: Operand) -> Tensor:
    """Chebyshev polynomial of the first kind, of 2 x - 1, of order n (truncated to a whole number) at input.

    Example: `gm.special.shifted_chebyshev_polynomial_t(gm.ones(1), 2)` is `tensor([1.])`.
    """
    one_is_tensor("shifted_chebyshev_polynomial_t", input, n)
    return both("shifted_chebyshev_polynomial_t", input, n)


def shifted_chebyshev_polynomial_u(input: Operand, n: Operand) -> Tensor:
    """Chebyshev polynomial of the second kind, of 2 x - 1, of order n (truncated to a whole number) at input.

    Example: `gm.special.shifted_chebyshev_polynomial_u(gm.ones(1), 2)` is `tensor([3.])`.
    """
    one_is_tensor("shifted_chebyshev_polynomial_u", input, n)
    return both("shifted_chebyshev_polynomial_u", input, n)


def shifted_chebyshev_polynomial_v(input: Operand, n: Operand) -> Tensor:
    """Chebyshev polynomial of the third kind, of 2 x - 1, of order n (truncated to a whole number) at input.

    Example: `gm.special.shifted_chebyshev_polynomial_v(gm.ones(1), 2)` is `tensor([1.])`.
    """
    one_is_tensor("shifted_chebyshev_polynomial_v", input, n)
    return both("shifted_chebyshev_polynomial_v", input, n)


def shifted_chebyshev_polynomial_w(input: Operand, n: Operand) -> Tensor:
    """Chebyshev polynomial of the fourth kind, of 2 x - 1, of order n (truncated to a whole number) at input.

    Example: `gm.special.shifted_chebyshev_polynomial_w(gm.ones(1), 2)` is `tensor([5.])`.
    """
    one_is_tensor("shifted_chebyshev_polynomial_w", input, n)
    return both("shifted_chebyshev_polynomial_w", input, n)


def hermite_polynomial_h(input: Operand, n: Operand) -> Tensor:
    """Physicists' Hermite polynomial, of order n (truncated to a whole number) at input.

    Example: `gm.special.hermite_polynomial_h(gm.ones(1), 2)` is `tensor([2.])`.
    """
    one_is_tensor("hermite_polynomial_h", input, n)
    return both("hermite_polynomial_h", input, n)


def hermite_polynomial_he(input: Operand, n: Operand) -> Tensor:
    """Probabilists' Hermite polynomial, of order n (truncated to a whole number) at input.

    Example: `gm.special.hermite_polynomial_he(gm.ones(1), 2)` is `tensor([0.])`.
    """
    one_is_tensor("hermite_polynomial_he", input, n)
    return both("hermite_polynomial_he", input, n)


def laguerre_polynomial_l(input: Operand, n: Operand) -> Tensor:
    """Laguerre polynomial, of order n (truncated to a whole number) at input.

    Example: `gm.special.laguerre_polynomial_l(gm.ones(1), 2)` is `tensor([-0.5000])`.
    """
    one_is_tensor("laguerre_polynomial_l", input, n)
    return both("laguerre_polynomial_l", input, n)


def legendre_polynomial_p(input: Operand, n: Operand) -> Tensor:
    """Legendre polynomial, of order n (truncated to a whole number) at input.

    Example: `gm.special.legendre_polynomial_p(gm.ones(1), 2)` is `tensor([1.])`.
    """
    one_is_tensor("legendre_polynomial_p", input, n)
    return both("legendre_polynomial_p", input, n)
