"""The functions that write to their first argument and return it."""

from __future__ import annotations

from gradmesh._functions import activation
from gradmesh._inplace import InPlaceMethods, in_place_of

__all__ = [
    "abs_",
    "acos_",
    "acosh_",
    "addmv_",
    "alpha_dropout_",
    "arccos_",
    "arccosh_",
    "arcsin_",
    "arcsinh_",
    "arctan_",
    "arctanh_",
    "asin_",
    "asinh_",
    "atan_",
    "atanh_",
    "ceil_",
    "celu_",
    "clamp_",
    "clamp_max_",
    "clamp_min_",
    "clip_",
    "conj_physical_",
    "cos_",
    "cosh_",
    "deg2rad_",
    "dropout_",
    "erf_",
    "erfc_",
    "exp_",
    "exp2_",
    "expm1_",
    "feature_alpha_dropout_",
    "feature_dropout_",
    "fill_",
    "fix_",
    "floor_",
    "frac_",
    "gcd_",
    "i0_",
    "index_put_",
    "lcm_",
    "ldexp_",
    "log_",
    "log10_",
    "log1p_",
    "log2_",
    "logit_",
    "nan_to_num_",
    "neg_",
    "negative_",
    "rad2deg_",
    "reciprocal_",
    "relu_",
    "round_",
    "rrelu_",
    "rsqrt_",
    "selu_",
    "sigmoid_",
    "sin_",
    "sinc_",
    "sinh_",
    "sqrt_",
    "square_",
    "tan_",
    "tanh_",
    "threshold_",
    "trunc_",
    "xlogy_",
    "zero_",
]

abs_ = InPlaceMethods.abs_
acos_ = InPlaceMethods.acos_
acosh_ = InPlaceMethods.acosh_
addmv_ = InPlaceMethods.addmv_
alpha_dropout_ = in_place_of(activation.alpha_dropout)
arccos_ = InPlaceMethods.arccos_
arccosh_ = InPlaceMethods.arccosh_
arcsin_ = InPlaceMethods.arcsin_
arcsinh_ = InPlaceMethods.arcsinh_
arctan_ = InPlaceMethods.arctan_
arctanh_ = InPlaceMethods.arctanh_
asin_ = InPlaceMethods.asin_
asinh_ = InPlaceMethods.asinh_
atan_ = InPlaceMethods.atan_
atanh_ = InPlaceMethods.atanh_
ceil_ = InPlaceMethods.ceil_
celu_ = in_place_of(activation.celu)
clamp_ = InPlaceMethods.clamp_
clamp_max_ = InPlaceMethods.clamp_max_
clamp_min_ = InPlaceMethods.clamp_min_
clip_ = InPlaceMethods.clip_
conj_physical_ = InPlaceMethods.conj_physical_
cos_ = InPlaceMethods.cos_
cosh_ = InPlaceMethods.cosh_
deg2rad_ = InPlaceMethods.deg2rad_
dropout_ = in_place_of(activation.dropout)
erf_ = InPlaceMethods.erf_
erfc_ = InPlaceMethods.erfc_
exp_ = InPlaceMethods.exp_
exp2_ = InPlaceMethods.exp2_
expm1_ = InPlaceMethods.expm1_
feature_alpha_dropout_ = in_place_of(activation.feature_alpha_dropout)
feature_dropout_ = in_place_of(activation.feature_dropout)
fill_ = InPlaceMethods.fill_
fix_ = InPlaceMethods.fix_
floor_ = InPlaceMethods.floor_
frac_ = InPlaceMethods.frac_
gcd_ = InPlaceMethods.gcd_
i0_ = InPlaceMethods.i0_
index_put_ = InPlaceMethods.index_put_
lcm_ = InPlaceMethods.lcm_
ldexp_ = InPlaceMethods.ldexp_
log_ = InPlaceMethods.log_
log10_ = InPlaceMethods.log10_
log1p_ = InPlaceMethods.log1p_
log2_ = InPlaceMethods.log2_
logit_ = InPlaceMethods.logit_
nan_to_num_ = InPlaceMethods.nan_to_num_
neg_ = InPlaceMethods.neg_
negative_ = InPlaceMethods.negative_
rad2deg_ = InPlaceMethods.rad2deg_
reciprocal_ = InPlaceMethods.reciprocal_
relu_ = InPlaceMethods.relu_
round_ = InPlaceMethods.round_
rrelu_ = in_place_of(activation.rrelu)
rsqrt_ = InPlaceMethods.rsqrt_
selu_ = in_place_of(activation.selu)
sigmoid_ = InPlaceMethods.sigmoid_
sin_ = InPlaceMethods.sin_
sinc_ = InPlaceMethods.sinc_
sinh_ = InPlaceMethods.sinh_
sqrt_ = InPlaceMethods.sqrt_
square_ = InPlaceMethods.square_
tan_ = InPlaceMethods.tan_
tanh_ = InPlaceMethods.tanh_
threshold_ = in_place_of(activation.threshold)
trunc_ = InPlaceMethods.trunc_
xlogy_ = InPlaceMethods.xlogy_
zero_ = InPlaceMethods.zero_
