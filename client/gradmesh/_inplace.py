"""The methods that write to their tensor: `x.exp_()` writes `x.exp()` into x and returns x.

The result must have the tensor's shape, and a dtype of no higher category, which is cast to the tensor's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from gradmesh._functions import (
    activation,
    binary,
    elementary,
    fill,
    integers,
    layout,
    linalg,
    place,
    products,
    reduce,
    sample,
    select,
    special,
    unary,
)
from gradmesh._functions._common import in_place

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

P = ParamSpec("P")


def in_place_of(function: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """The function that writes what `function` makes of a tensor into it."""

    def method(self: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        return in_place(self, function(self, *args, **kwargs))

    method.__name__ = f"{function.__name__}_"
    method.__doc__ = f"`{function.__name__}` in place."
    return method


def _polygamma_(self: Tensor, n: int) -> Tensor:
    """`polygamma` in place."""
    return in_place(self, special.polygamma(n, self))


class InPlaceMethods:
    """Methods whose names end in an underscore."""

    __slots__ = ()

    # --- pointwise, of the tensor alone -------------------------------------------------------------

    abs_ = in_place_of(unary.abs)
    absolute_ = abs_
    acos_ = in_place_of(unary.acos)
    arccos_ = acos_
    acosh_ = in_place_of(unary.acosh)
    arccosh_ = acosh_
    asin_ = in_place_of(unary.asin)
    arcsin_ = asin_
    asinh_ = in_place_of(unary.asinh)
    arcsinh_ = asinh_
    atan_ = in_place_of(unary.atan)
    arctan_ = atan_
    atanh_ = in_place_of(unary.atanh)
    arctanh_ = atanh_
    bitwise_not_ = in_place_of(unary.bitwise_not)
    ceil_ = in_place_of(unary.ceil)
    cos_ = in_place_of(unary.cos)
    cosh_ = in_place_of(unary.cosh)
    erf_ = in_place_of(unary.erf)
    erfc_ = in_place_of(unary.erfc)
    exp_ = in_place_of(unary.exp)
    exp2_ = in_place_of(unary.exp2)
    expm1_ = in_place_of(unary.expm1)
    floor_ = in_place_of(unary.floor)
    frac_ = in_place_of(unary.frac)
    log_ = in_place_of(unary.log)
    log10_ = in_place_of(unary.log10)
    log1p_ = in_place_of(unary.log1p)
    log2_ = in_place_of(unary.log2)
    logical_not_ = in_place_of(unary.logical_not)
    neg_ = in_place_of(unary.neg)
    negative_ = neg_
    reciprocal_ = in_place_of(unary.reciprocal)
    relu_ = activation.relu_
    round_ = in_place_of(unary.round)
    rsqrt_ = in_place_of(unary.rsqrt)
    sgn_ = in_place_of(unary.sgn)
    sigmoid_ = in_place_of(unary.sigmoid)
    sign_ = in_place_of(unary.sign)
    sin_ = in_place_of(unary.sin)
    sinh_ = in_place_of(unary.sinh)
    sqrt_ = in_place_of(unary.sqrt)
    square_ = in_place_of(binary.square)
    tan_ = in_place_of(unary.tan)
    tanh_ = in_place_of(unary.tanh)
    trunc_ = in_place_of(unary.trunc)
    fix_ = trunc_

    conj_physical_ = in_place_of(elementary.conj_physical)
    deg2rad_ = in_place_of(elementary.deg2rad)
    nan_to_num_ = in_place_of(elementary.nan_to_num)
    rad2deg_ = in_place_of(elementary.rad2deg)
    digamma_ = in_place_of(special.digamma)
    erfinv_ = in_place_of(special.erfinv)
    i0_ = in_place_of(special.i0)
    lgamma_ = in_place_of(special.lgamma)
    logit_ = in_place_of(special.logit)
    mvlgamma_ = in_place_of(special.mvlgamma)
    polygamma_ = _polygamma_
    sinc_ = in_place_of(special.sinc)

    # --- pointwise, with other operands -------------------------------------------------------------

    add_ = in_place_of(binary.add)
    addcdiv_ = in_place_of(binary.addcdiv)
    addcmul_ = in_place_of(binary.addcmul)
    arctan2_ = in_place_of(binary.atan2)
    atan2_ = arctan2_
    bitwise_and_ = in_place_of(binary.bitwise_and)
    bitwise_or_ = in_place_of(binary.bitwise_or)
    bitwise_xor_ = in_place_of(binary.bitwise_xor)
    clamp_ = in_place_of(binary.clamp)
    clip_ = clamp_
    clamp_max_ = in_place_of(binary.clamp_max)
    clamp_min_ = in_place_of(binary.clamp_min)
    div_ = in_place_of(binary.div)
    divide_ = div_
    eq_ = in_place_of(binary.eq)
    floor_divide_ = in_place_of(binary.floor_divide)
    fmod_ = in_place_of(binary.fmod)
    ge_ = in_place_of(binary.ge)
    greater_equal_ = ge_
    gt_ = in_place_of(binary.gt)
    greater_ = gt_
    hypot_ = in_place_of(binary.hypot)
    le_ = in_place_of(binary.le)
    less_equal_ = le_
    lerp_ = in_place_of(binary.lerp)
    logical_and_ = in_place_of(binary.logical_and)
    logical_or_ = in_place_of(binary.logical_or)
    logical_xor_ = in_place_of(binary.logical_xor)
    lt_ = in_place_of(binary.lt)
    less_ = lt_
    mul_ = in_place_of(binary.mul)
    multiply_ = mul_
    ne_ = in_place_of(binary.ne)
    not_equal_ = ne_
    pow_ = in_place_of(binary.pow)
    remainder_ = in_place_of(binary.remainder)
    sub_ = in_place_of(binary.sub)
    subtract_ = sub_
    true_divide_ = div_
    xlogy_ = in_place_of(binary.xlogy)

    copysign_ = in_place_of(elementary.copysign)
    float_power_ = in_place_of(elementary.float_power)
    heaviside_ = in_place_of(elementary.heaviside)
    ldexp_ = in_place_of(elementary.ldexp)
    nextafter_ = in_place_of(elementary.nextafter)
    igamma_ = in_place_of(special.igamma)
    igammac_ = in_place_of(special.igammac)
    bitwise_left_shift_ = in_place_of(integers.bitwise_left_shift)
    bitwise_right_shift_ = in_place_of(integers.bitwise_right_shift)
    gcd_ = in_place_of(integers.gcd)
    lcm_ = in_place_of(integers.lcm)

    # --- by position and mask -----------------------------------------------------------------------

    cumprod_ = in_place_of(reduce.cumprod)
    cumsum_ = in_place_of(reduce.cumsum)
    index_add_ = in_place_of(select.index_add)
    index_copy_ = in_place_of(select.index_copy)
    index_fill_ = in_place_of(select.index_fill)
    index_put_ = in_place_of(place.index_put)
    index_reduce_ = in_place_of(place.index_reduce)
    masked_fill_ = in_place_of(select.masked_fill)
    masked_scatter_ = in_place_of(select.masked_scatter)
    put_ = in_place_of(place.put)
    scatter_ = in_place_of(select.scatter)
    scatter_add_ = in_place_of(select.scatter_add)
    scatter_reduce_ = in_place_of(place.scatter_reduce)
    tril_ = in_place_of(layout.tril)
    triu_ = in_place_of(layout.triu)

    # --- whole contents -----------------------------------------------------------------------------

    bernoulli_ = sample.bernoulli_
    cauchy_ = sample.cauchy_
    copy_ = fill.copy_
    exponential_ = sample.exponential_
    fill_ = fill.fill_
    fill_diagonal_ = fill.fill_diagonal_
    geometric_ = sample.geometric_
    log_normal_ = sample.log_normal_
    normal_ = sample.normal_
    random_ = sample.random_
    uniform_ = sample.uniform_
    zero_ = fill.zero_

    # --- other dims ---------------------------------------------------------------------------------

    squeeze_ = fill.squeeze_
    swapaxes_ = fill.transpose_
    swapdims_ = fill.transpose_
    t_ = fill.t_
    transpose_ = fill.transpose_
    unsqueeze_ = fill.unsqueeze_

    # --- products -----------------------------------------------------------------------------------

    addbmm_ = in_place_of(products.addbmm)
    addmm_ = in_place_of(linalg.addmm)
    addmv_ = in_place_of(products.addmv)
    addr_ = in_place_of(products.addr)
    baddbmm_ = in_place_of(linalg.baddbmm)
    renorm_ = in_place_of(products.renorm)
