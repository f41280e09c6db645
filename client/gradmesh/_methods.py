"""The methods of Tensor that are functions of the package: `x.exp()` is `gm.exp(x)`."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradmesh._functions import (
    activation,
    binary,
    bins,
    convert,
    differences,
    elementary,
    fill,
    inspect,
    integers,
    layout,
    linalg,
    new,
    order,
    place,
    reduce,
    sample,
    shapes,
    special,
    strided,
    unary,
)
from gradmesh._functions import select as picks
from gradmesh._functions._common import one, sizes
from gradmesh._inplace import InPlaceMethods
from gradmesh._matrix_methods import MatrixMethods
from gradmesh._operators import Operators

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


# --- methods that take sizes or dims one by one or as one tuple ---------------------------------------


def _view(input: Tensor, *shape: int | Sequence[int]) -> Tensor:
    """The same elements under another shape, shared; one size may be -1.

    Raises ShapeError where the strides do not allow a view.
    """
    return layout.view(input, sizes("view", shape))


def _reshape(input: Tensor, *shape: int | Sequence[int]) -> Tensor:
    """The same elements under another shape, shared where strides allow it; one size may be -1."""
    return layout.reshape(input, sizes("reshape", shape))


def _permute(input: Tensor, *dims: int | Sequence[int]) -> Tensor:
    """All dims in another order."""
    return layout.permute(input, sizes("permute", dims))


def _expand(input: Tensor, *size: int | Sequence[int]) -> Tensor:
    """Broadcast to a shape without a copy; -1 keeps a size."""
    return one("expand", input, shape=sizes("expand", size))


def _repeat(input: Tensor, *repeats: int | Sequence[int]) -> Tensor:
    """The tensor laid out repeats[i] times along each dim; more repeats than dims add dims in front."""
    return one("repeat", input, repeats=sizes("repeat", repeats))


def _tile(input: Tensor, *dims: int | Sequence[int]) -> Tensor:
    """The tensor laid out dims[i] times along each dim; fewer dims than the tensor's count from the last."""
    return layout.tile(input, sizes("tile", dims))


def _flip(input: Tensor, *dims: int | Sequence[int]) -> Tensor:
    """Reversed along dims."""
    return layout.flip(input, sizes("flip", dims))


def _expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Broadcast to the shape of `other` without a copy."""
    return one("expand", input, shape=tuple(other.shape))


def _reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """The same elements under the shape of `other`."""
    return layout.reshape(input, tuple(other.shape))


def _where(input: Tensor, condition: Tensor, other: Tensor) -> Tensor:
    """The tensor where the condition is true, `other` elsewhere."""
    return picks.where(condition, input, other)


def _cpu(input: Tensor) -> Tensor:
    """The tensor itself: there is only the CPU."""
    return input


def _never(input: Tensor) -> builtins.bool:
    """False: memory is neither pinned nor shared here."""
    return False


def _always(input: Tensor) -> builtins.bool:
    """True: tensors are the CPU's."""
    return True


def _nothing(input: Tensor) -> None:
    """None: tensors have no names."""


def _no_dims(input: Tensor) -> builtins.int:
    """0: no tensor is sparse here."""
    return 0


def _polygamma(input: Tensor, n: int) -> Tensor:
    """The n-th derivative of digamma."""
    return special.polygamma(n, input)


class TensorMethods(Operators, InPlaceMethods, MatrixMethods):
    """The function surface of Tensor."""

    __slots__ = ()

    # --- pointwise, of the tensor alone -------------------------------------------------------------

    abs = unary.abs
    absolute = abs
    acos = unary.acos
    arccos = acos
    acosh = unary.acosh
    arccosh = acosh
    asin = unary.asin
    arcsin = asin
    asinh = unary.asinh
    arcsinh = asinh
    atan = unary.atan
    arctan = atan
    atanh = unary.atanh
    arctanh = atanh
    bitwise_not = unary.bitwise_not
    ceil = unary.ceil
    cos = unary.cos
    cosh = unary.cosh
    erf = unary.erf
    erfc = unary.erfc
    exp = unary.exp
    exp2 = unary.exp2
    expm1 = unary.expm1
    floor = unary.floor
    frac = unary.frac
    isfinite = unary.isfinite
    isinf = unary.isinf
    isnan = unary.isnan
    log = unary.log
    log10 = unary.log10
    log1p = unary.log1p
    log2 = unary.log2
    logical_not = unary.logical_not
    neg = unary.neg
    negative = neg
    reciprocal = unary.reciprocal
    relu = unary.relu
    round = unary.round
    rsqrt = unary.rsqrt
    sgn = unary.sgn
    sigmoid = unary.sigmoid
    sign = unary.sign
    sin = unary.sin
    sinh = unary.sinh
    sqrt = unary.sqrt
    square = binary.square
    tan = unary.tan
    tanh = unary.tanh
    trunc = unary.trunc
    fix = trunc

    conj_physical = elementary.conj_physical
    deg2rad = elementary.deg2rad
    frexp = elementary.frexp
    isneginf = elementary.isneginf
    isposinf = elementary.isposinf
    isreal = elementary.isreal
    nan_to_num = elementary.nan_to_num
    positive = elementary.positive
    rad2deg = elementary.rad2deg
    signbit = elementary.signbit
    digamma = special.digamma
    erfinv = special.erfinv
    i0 = special.i0
    lgamma = special.lgamma
    logit = special.logit
    mvlgamma = special.mvlgamma
    sinc = special.sinc
    polygamma = _polygamma

    # --- pointwise, with other operands -------------------------------------------------------------

    add = binary.add
    addcdiv = binary.addcdiv
    addcmul = binary.addcmul
    atan2 = binary.atan2
    arctan2 = atan2
    bitwise_and = binary.bitwise_and
    bitwise_or = binary.bitwise_or
    bitwise_xor = binary.bitwise_xor
    clamp = binary.clamp
    clamp_max = binary.clamp_max
    clamp_min = binary.clamp_min
    clip = clamp
    div = binary.div
    divide = div
    eq = binary.eq
    floor_divide = binary.floor_divide
    fmod = binary.fmod
    ge = binary.ge
    greater = binary.gt
    greater_equal = ge
    gt = binary.gt
    hypot = binary.hypot
    le = binary.le
    lerp = binary.lerp
    less = binary.lt
    less_equal = le
    logaddexp = binary.logaddexp
    logical_and = binary.logical_and
    logical_or = binary.logical_or
    logical_xor = binary.logical_xor
    lt = binary.lt
    maximum = binary.maximum
    minimum = binary.minimum
    mul = binary.mul
    multiply = mul
    ne = binary.ne
    not_equal = ne
    pow = binary.pow
    remainder = binary.remainder
    sub = binary.sub
    subtract = sub
    true_divide = div
    where = _where
    xlogy = binary.xlogy

    copysign = elementary.copysign
    float_power = elementary.float_power
    fmax = elementary.fmax
    fmin = elementary.fmin
    heaviside = elementary.heaviside
    ldexp = elementary.ldexp
    logaddexp2 = elementary.logaddexp2
    nextafter = elementary.nextafter
    igamma = special.igamma
    igammac = special.igammac

    # --- reductions ---------------------------------------------------------------------------------

    all = reduce.all
    amax = reduce.amax
    amin = reduce.amin
    aminmax = reduce.aminmax
    any = reduce.any
    argmax = reduce.argmax
    argmin = reduce.argmin
    count_nonzero = reduce.count_nonzero
    cumprod = reduce.cumprod
    cumsum = reduce.cumsum
    diff = differences.diff
    logcumsumexp = elementary.logcumsumexp
    logsumexp = reduce.logsumexp
    max = reduce.max
    mean = reduce.mean
    min = reduce.min
    norm = reduce.norm
    prod = reduce.prod
    std = reduce.std
    sum = reduce.sum
    var = reduce.var

    # --- order --------------------------------------------------------------------------------------

    argsort = order.argsort
    bincount = bins.bincount
    cummax = order.cummax
    cummin = order.cummin
    histc = bins.histc
    histogram = bins.histogram
    kthvalue = order.kthvalue
    median = order.median
    mode = order.mode
    msort = order.msort
    nanmean = order.nanmean
    nanmedian = order.nanmedian
    nanquantile = order.nanquantile
    nansum = order.nansum
    quantile = order.quantile
    sort = order.sort
    topk = order.topk

    # --- products -----------------------------------------------------------------------------------

    addmm = linalg.addmm
    baddbmm = linalg.baddbmm
    bmm = linalg.bmm
    dot = linalg.dot
    matmul = linalg.matmul
    mm = linalg.mm
    mv = linalg.mv
    outer = linalg.outer

    # --- normalised exponentials --------------------------------------------------------------------

    log_softmax = activation.log_softmax
    softmax = activation.softmax

    # --- layout -------------------------------------------------------------------------------------

    broadcast_to = layout.broadcast_to
    chunk = layout.chunk
    diag = layout.diag
    diag_embed = layout.diag_embed
    diagflat = shapes.diagflat
    diagonal = layout.diagonal
    dsplit = shapes.dsplit
    expand = _expand
    expand_as = _expand_as
    flatten = layout.flatten
    flip = _flip
    fliplr = layout.fliplr
    flipud = layout.flipud
    hsplit = shapes.hsplit
    moveaxis = layout.movedim
    movedim = layout.movedim
    narrow = layout.narrow
    narrow_copy = shapes.narrow_copy
    permute = _permute
    ravel = layout.ravel
    repeat = _repeat
    repeat_interleave = layout.repeat_interleave
    reshape = _reshape
    reshape_as = _reshape_as
    roll = layout.roll
    rot90 = layout.rot90
    select = layout.select
    split = layout.split
    split_with_sizes = shapes.split_with_sizes
    squeeze = layout.squeeze
    sum_to_size = shapes.sum_to_size
    swapaxes = layout.swapaxes
    swapdims = layout.swapaxes
    t = layout.t
    tensor_split = layout.tensor_split
    tile = _tile
    trace = layout.trace
    transpose = layout.transpose
    tril = layout.tril
    triu = layout.triu
    unbind = layout.unbind
    unflatten = layout.unflatten
    unfold = layout.unfold
    unsafe_chunk = shapes.unsafe_chunk
    unsafe_split = shapes.unsafe_split
    unsafe_split_with_sizes = shapes.unsafe_split_with_sizes
    unsqueeze = layout.unsqueeze
    view = _view
    view_as = layout.view_as
    vsplit = shapes.vsplit

    @property
    def T(self: Tensor) -> Tensor:  # type: ignore[misc]
        """All dims in reverse order."""
        return layout.permute(self, tuple(range(self.ndim))[::-1])

    @property
    def mT(self: Tensor) -> Tensor:  # type: ignore[misc]
        """The last two dims exchanged."""
        return layout.matrix_transpose(self)

    @property
    def H(self: Tensor) -> Tensor:  # type: ignore[misc]
        """The conjugate transpose of a matrix."""
        return layout.conjugate_transpose(self)

    @property
    def mH(self: Tensor) -> Tensor:  # type: ignore[misc]
        """The last two dims exchanged, and conjugated."""
        return convert.conj(layout.matrix_transpose(self))

    # --- by position and mask -----------------------------------------------------------------------

    argwhere = picks.argwhere
    diagonal_scatter = place.diagonal_scatter
    gather = picks.gather
    index_add = picks.index_add
    index_copy = picks.index_copy
    index_fill = picks.index_fill
    index_put = place.index_put
    index_reduce = place.index_reduce
    index_select = picks.index_select
    masked_fill = picks.masked_fill
    masked_scatter = picks.masked_scatter
    masked_select = picks.masked_select
    nonzero = picks.nonzero
    nonzero_static = bins.nonzero_static
    put = place.put
    scatter = picks.scatter
    scatter_add = picks.scatter_add
    scatter_reduce = place.scatter_reduce
    select_scatter = place.select_scatter
    slice_scatter = place.slice_scatter
    take = place.take
    take_along_dim = picks.take_along_dim
    unique = picks.unique
    unique_consecutive = bins.unique_consecutive

    # --- random numbers -----------------------------------------------------------------------------

    bernoulli = sample.bernoulli
    multinomial = sample.multinomial

    # --- casts and copies ---------------------------------------------------------------------------

    angle = convert.angle
    bfloat16 = convert.bfloat16
    bool = convert.bool
    byte = convert.byte
    cdouble = convert.cdouble
    cfloat = convert.cfloat
    char = convert.char
    clone = convert.clone
    conj = convert.conj
    contiguous = inspect.contiguous
    cpu = _cpu
    double = convert.double
    float = convert.float
    half = convert.half
    int = convert.int
    long = convert.long
    short = convert.short
    to = convert.to
    type = convert.type
    type_as = convert.type_as

    @property
    def real(self: Tensor) -> Tensor:  # type: ignore[misc]
        """The real part; of a real tensor the tensor itself."""
        return convert.real(self)

    @property
    def imag(self: Tensor) -> Tensor:  # type: ignore[misc]
        """The imaginary part of a complex tensor."""
        return convert.imag(self)

    # Of the kinds of memory and layout that PyTorch has, there is one.
    is_cpu = property(_always)
    is_cuda = is_ipu = is_maia = is_meta = is_mkldnn = is_mps = is_mtia = property(_never)
    is_nested = is_quantized = is_sparse = is_sparse_csr = is_vulkan = is_xla = is_xpu = property(_never)
    name = property(_nothing)

    # --- new tensors like this one ------------------------------------------------------------------

    new_empty = new.new_empty
    new_full = new.new_full
    new_ones = new.new_ones
    new_tensor = new.new_tensor
    new_zeros = new.new_zeros

    # --- whole numbers and strides ------------------------------------------------------------------

    as_strided = strided.as_strided
    as_strided_scatter = strided.as_strided_scatter
    bitwise_left_shift = integers.bitwise_left_shift
    bitwise_right_shift = integers.bitwise_right_shift
    gcd = integers.gcd
    lcm = integers.lcm

    # --- activations --------------------------------------------------------------------------------

    hardshrink = activation.hardshrink
    prelu = activation.prelu

    # --- element by element in Python ---------------------------------------------------------------

    apply_ = fill.apply_
    map_ = fill.map_
    map2_ = fill.map2_

    # --- questions ----------------------------------------------------------------------------------

    dense_dim = inspect.dim
    dim_order = inspect.dim_order
    get_device = inspect.get_device
    is_conj = inspect.is_conj
    is_neg = inspect.is_neg
    is_pinned = _never
    is_shared = _never
    sparse_dim = _no_dims
    to_dense = _cpu

    allclose = inspect.allclose
    dim = inspect.dim
    element_size = inspect.element_size
    equal = inspect.equal
    is_complex = inspect.is_complex
    is_contiguous = inspect.is_contiguous
    is_floating_point = inspect.is_floating_point
    is_nonzero = inspect.is_nonzero
    is_same_size = inspect.is_same_size
    is_signed = inspect.is_signed
    isclose = inspect.isclose
    ndimension = inspect.dim
    nelement = inspect.numel
    numel = inspect.numel
    size = inspect.size
    storage_offset = inspect.storage_offset
    stride = inspect.stride
