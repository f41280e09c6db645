"""A gradient service with PyTorch's face: `import gradmesh as gm`.

Tensors record what is done with them; reading one evaluates it, in this process or on a service.
"""

# ruff: noqa: E402, F403, I001
from importlib import import_module
from math import e, inf, nan, pi
from typing import TYPE_CHECKING, Any

from gradmesh_engine.cpu import choose_kernels

# OpenBLAS picks its kernels when NumPy is first imported, below; and the modules of the package
# refer to each other: this order completes each before another needs a name of it.
choose_kernels()

from gradmesh._creation import (
    arange,
    as_tensor,
    asarray,
    empty,
    empty_like,
    eye,
    from_dlpack,
    from_numpy,
    frombuffer,
    full,
    full_like,
    linspace,
    logspace,
    ones,
    ones_like,
    range,
    scalar_tensor,
    tensor,
    zeros,
    zeros_like,
)
from gradmesh._sampling import (
    multinomial,
    normal,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
)
from gradmesh._dtype import (
    Size,
    bfloat16,
    bool,
    cdouble,
    cfloat,
    channels_last,
    channels_last_3d,
    complex128,
    complex64,
    contiguous_format,
    device,
    double,
    dtype,
    float,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    int,
    int16,
    int32,
    int64,
    int8,
    long,
    memory_format,
    preserve_format,
    set_default_dtype,
    short,
    uint8,
)
from gradmesh._functions import (
    binary as _binary,
    bins as _bins,
    complexes as _complexes,
    convert as _convert,
    differences as _differences,
    elementary as _elementary,
    factor as _factor,
    inspect as _inspect,
    writing as _writing,
    tapers as _tapers,
    strided as _strided,
    kernels as _kernels,
    integers as _integers,
    layout as _layout,
    linalg as _linalg,
    native as _native,
    order as _order,
    place as _place,
    products as _products,
    reduce as _reduce,
    select as _select,
    shapes as _shapes,
    solve as _solve,
    special as _special,
    spectral as _spectral,
    unary as _unary,
)
from gradmesh._functions.activation import (
    alpha_dropout,
    celu,
    dropout,
    feature_alpha_dropout,
    feature_dropout,
    hardshrink,
    log_softmax,
    prelu,
    relu,
    rrelu,
    selu,
    softmax,
)
from gradmesh._functions.binary import *
from gradmesh._functions.bins import *
from gradmesh._functions.convert import *
from gradmesh._functions.differences import *
from gradmesh._functions.elementary import *
from gradmesh._functions.complexes import *
from gradmesh._functions.convert import *
from gradmesh._functions.factor import *
from gradmesh._functions.inspect import *
from gradmesh._functions.layout import *
from gradmesh._functions.linalg import *
from gradmesh._functions.products import *
from gradmesh._functions.native import *
from gradmesh._functions.order import *
from gradmesh._functions.place import *
from gradmesh._functions.ranking import pairwise_distance, pdist
from gradmesh._functions.reduce import *
from gradmesh._functions.sample import bernoulli, binomial, poisson
from gradmesh._functions.select import *
from gradmesh._functions.shapes import *
from gradmesh._functions.special import *
from gradmesh._functions.solve import *
from gradmesh._functions.spectral import *
from gradmesh._functions.integers import *
from gradmesh._functions.kernels import *
from gradmesh._functions.strided import *
from gradmesh._functions.tapers import *
from gradmesh._functions.writing import *
from gradmesh._functions.unary import *
from gradmesh._functions.windows import (
    adaptive_avg_pool1d,
    avg_pool1d,
    channel_shuffle,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    pixel_shuffle,
    pixel_unshuffle,
)
from gradmesh._explain import explain
from gradmesh._modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from gradmesh._printing import get_printoptions, printoptions, set_printoptions
from gradmesh._random import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from gradmesh import _switches, _typed, cuda
from gradmesh._typed import *
from gradmesh._switches import *
from gradmesh._session import LocalSession, set_default_session
from gradmesh._options import TLS, Keepalive, Retry, Timeout
from gradmesh._stats import ClientStats, stats
from gradmesh._tensor import Tensor
from gradmesh import autograd, func, masked, nn, optim, utils
from gradmesh._limits import finfo, iinfo
from gradmesh._vmap import vmap
from gradmesh._compile import compile
from gradmesh._serialization import load, save
from gradmesh import signal, special
from gradmesh import fft, linalg
from gradmesh_engine import errors

if TYPE_CHECKING:
    from gradmesh import aio
    from gradmesh._remote import RemoteSession, connect

__version__ = "0.1.0"

newaxis = None


def __getattr__(name: str) -> Any:
    # grpc is loaded only where a service is used.
    if name in ("RemoteSession", "connect"):
        from gradmesh import _remote

        return getattr(_remote, name)
    if name == "aio":
        return import_module("gradmesh.aio")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ClientStats",
    "Generator",
    "Keepalive",
    "LocalSession",
    "RemoteSession",
    "Retry",
    "Size",
    "TLS",
    "Tensor",
    "Timeout",
    "__version__",
    "adaptive_avg_pool1d",
    "alpha_dropout",
    "aio",
    "arange",
    "as_tensor",
    "asarray",
    "autograd",
    "avg_pool1d",
    "bernoulli",
    "bfloat16",
    "binomial",
    "bool",
    "cdouble",
    "celu",
    "cfloat",
    "channel_shuffle",
    "channels_last",
    "channels_last_3d",
    "compile",
    "complex128",
    "complex64",
    "connect",
    "contiguous_format",
    "cuda",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "default_generator",
    "device",
    "double",
    "dropout",
    "dtype",
    "e",
    "empty",
    "empty_like",
    "enable_grad",
    "errors",
    "explain",
    "eye",
    "feature_alpha_dropout",
    "feature_dropout",
    "fft",
    "float",
    "float16",
    "float32",
    "finfo",
    "float64",
    "from_dlpack",
    "from_numpy",
    "frombuffer",
    "newaxis",
    "poisson",
    "range",
    "full",
    "full_like",
    "func",
    "get_default_dtype",
    "get_printoptions",
    "get_rng_state",
    "half",
    "hardshrink",
    "inf",
    "inference_mode",
    "initial_seed",
    "iinfo",
    "int",
    "int16",
    "int32",
    "int64",
    "int8",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "linalg",
    "linspace",
    "load",
    "log_softmax",
    "logspace",
    "long",
    "manual_seed",
    "masked",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "memory_format",
    "multinomial",
    "nan",
    "nn",
    "no_grad",
    "normal",
    "ones",
    "ones_like",
    "optim",
    "pairwise_distance",
    "pdist",
    "pi",
    "pixel_shuffle",
    "pixel_unshuffle",
    "prelu",
    "preserve_format",
    "printoptions",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "relu",
    "rrelu",
    "save",
    "scalar_tensor",
    "seed",
    "selu",
    "set_default_dtype",
    "set_default_session",
    "set_grad_enabled",
    "set_printoptions",
    "set_rng_state",
    "short",
    "signal",
    "softmax",
    "special",
    "stats",
    "tensor",
    "uint8",
    "utils",
    "vmap",
    "zeros",
    "zeros_like",
]
__all__ += _binary.__all__
__all__ += _bins.__all__
__all__ += _complexes.__all__
__all__ += _convert.__all__
__all__ += _differences.__all__
__all__ += _elementary.__all__
__all__ += _factor.__all__
__all__ += _inspect.__all__
__all__ += _layout.__all__
__all__ += _linalg.__all__
__all__ += _native.__all__
__all__ += _order.__all__
__all__ += _place.__all__
__all__ += _products.__all__
__all__ += _reduce.__all__
__all__ += _select.__all__
__all__ += _shapes.__all__
__all__ += _solve.__all__
__all__ += _special.__all__
__all__ += _spectral.__all__
__all__ += _unary.__all__
__all__ += _integers.__all__
__all__ += _kernels.__all__
__all__ += _strided.__all__
__all__ += _tapers.__all__
__all__ += _writing.__all__
__all__ += _switches.__all__
__all__ += _typed.__all__
