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
    layout,
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


def _in_place(function: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    def method(self: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        return in_place(self, function(self, *args, **kwargs))

    method.__name__ = f"{function.__name__}_"
    method.__doc__ = f"`{function.__name__}` in place."
    return method


class InPlaceMethods:
    """Methods whose names end in an underscore."""

    __slots__ = ()

    # --- pointwise, of the tensor alone -------------------------------------------------------------

    abs_ = _in_place(unary.abs)
    absolute_ = abs_
    acos_ = _in_place(unary.acos)
    arccos_ = acos_
    acosh_ = _in_place(unary.acosh)
    asin_ = _in_place(unary.asin)
    arcsin_ = asin_
    asinh_ = _in_place(unary.asinh)
    atan_ = _in_place(unary.atan)
    arctan_ = atan_
    atanh_ = _in_place(unary.atanh)
    bitwise_not_ = _in_place(unary.bitwise_not)
    ceil_ = _in_place(unary.ceil)
    cos_ = _in_place(unary.cos)
    cosh_ = _in_place(unary.cosh)
    erf_ = _in_place(unary.erf)
    erfc_ = _in_place(unary.erfc)
    exp_ = _in_place(unary.exp)
    exp2_ = _in_place(unary.exp2)
    expm1_ = _in_place(unary.expm1)
    floor_ = _in_place(unary.floor)
    frac_ = _in_place(unary.frac)
    log_ = _in_place(unary.log)
    log10_ = _in_place(unary.log10)
    log1p_ = _in_place(unary.log1p)
    log2_ = _in_place(unary.log2)
    logical_not_ = _in_place(unary.logical_not)
    neg_ = _in_place(unary.neg)
    negative_ = neg_
    reciprocal_ = _in_place(unary.reciprocal)
    relu_ = activation.relu_
    round_ = _in_place(unary.round)
    rsqrt_ = _in_place(unary.rsqrt)
    sgn_ = _in_place(unary.sgn)
    sigmoid_ = _in_place(unary.sigmoid)
    sign_ = _in_place(unary.sign)
    sin_ = _in_place(unary.sin)
    sinh_ = _in_place(unary.sinh)
    sqrt_ = _in_place(unary.sqrt)
    square_ = _in_place(binary.square)
    tan_ = _in_place(unary.tan)
    tanh_ = _in_place(unary.tanh)
    trunc_ = _in_place(unary.trunc)
    fix_ = trunc_

    deg2rad_ = _in_place(elementary.deg2rad)
    nan_to_num_ = _in_place(elementary.nan_to_num)
    rad2deg_ = _in_place(elementary.rad2deg)
    digamma_ = _in_place(special.digamma)
    erfinv_ = _in_place(special.erfinv)
    i0_ = _in_place(special.i0)
    lgamma_ = _in_place(special.lgamma)
    logit_ = _in_place(special.logit)
    mvlgamma_ = _in_place(special.mvlgamma)
    sinc_ = _in_place(special.sinc)

    # --- pointwise, with other operands -------------------------------------------------------------

    add_ = _in_place(binary.add)
    addcdiv_ = _in_place(binary.addcdiv)
    addcmul_ = _in_place(binary.addcmul)
    atan2_ = _in_place(binary.atan2)
    bitwise_and_ = _in_place(binary.bitwise_and)
    bitwise_or_ = _in_place(binary.bitwise_or)
    bitwise_xor_ = _in_place(binary.bitwise_xor)
    clamp_ = _in_place(binary.clamp)
    clip_ = clamp_
    clamp_max_ = _in_place(binary.clamp_max)
    clamp_min_ = _in_place(binary.clamp_min)
    div_ = _in_place(binary.div)
    divide_ = div_
    eq_ = _in_place(binary.eq)
    floor_divide_ = _in_place(binary.floor_divide)
    fmod_ = _in_place(binary.fmod)
    ge_ = _in_place(binary.ge)
    gt_ = _in_place(binary.gt)
    hypot_ = _in_place(binary.hypot)
    le_ = _in_place(binary.le)
    lerp_ = _in_place(binary.lerp)
    logical_and_ = _in_place(binary.logical_and)
    logical_or_ = _in_place(binary.logical_or)
    logical_xor_ = _in_place(binary.logical_xor)
    lt_ = _in_place(binary.lt)
    mul_ = _in_place(binary.mul)
    multiply_ = mul_
    ne_ = _in_place(binary.ne)
    pow_ = _in_place(binary.pow)
    remainder_ = _in_place(binary.remainder)
    sub_ = _in_place(binary.sub)
    subtract_ = sub_
    true_divide_ = div_
    xlogy_ = _in_place(binary.xlogy)

    copysign_ = _in_place(elementary.copysign)
    float_power_ = _in_place(elementary.float_power)
    heaviside_ = _in_place(elementary.heaviside)
    ldexp_ = _in_place(elementary.ldexp)
    nextafter_ = _in_place(elementary.nextafter)
    igamma_ = _in_place(special.igamma)
    igammac_ = _in_place(special.igammac)

    # --- by position and mask -----------------------------------------------------------------------

    cumprod_ = _in_place(reduce.cumprod)
    cumsum_ = _in_place(reduce.cumsum)
    index_add_ = _in_place(select.index_add)
    index_copy_ = _in_place(select.index_copy)
    index_fill_ = _in_place(select.index_fill)
    index_put_ = _in_place(place.index_put)
    index_reduce_ = _in_place(place.index_reduce)
    masked_fill_ = _in_place(select.masked_fill)
    masked_scatter_ = _in_place(select.masked_scatter)
    put_ = _in_place(place.put)
    scatter_ = _in_place(select.scatter)
    scatter_add_ = _in_place(select.scatter_add)
    scatter_reduce_ = _in_place(place.scatter_reduce)
    tril_ = _in_place(layout.tril)
    triu_ = _in_place(layout.triu)

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

    addbmm_ = _in_place(products.addbmm)
    addmv_ = _in_place(products.addmv)
    addr_ = _in_place(products.addr)
    renorm_ = _in_place(products.renorm)
