"""Every public name of PyTorch's networks and optimizers is here, or left out for a reason that is written down."""

from __future__ import annotations

import importlib
import types
from typing import Any

import pytest

# A reason, and the names it holds for.
LEFT_OUT: dict[str, dict[str, str]] = {
    "nn": {
        "batches are one, however many workers there are": "DataParallel SyncBatchNorm",
        "removed by PyTorch itself, warns only": "Container CrossMapLRN2d NLLLoss2d",
        "reads the arguments of PyTorch's own layers": "factory_kwargs",
        "chooses between chunks of memory, which the plan does": "LinearCrossEntropyOptions",
    },
    "nn.functional": {
        "products of low precision with scales": "grouped_mm scaled_grouped_mm scaled_mm ScalingType SwizzleType",
        "helpers of PyTorch's own dispatch": (
            "assert_int_or_pair handle_torch_function has_torch_function has_torch_function_unary "
            "has_torch_function_variadic"
        ),
    },
    "nn.init": {
        "deprecated names without the underscore": (
            "constant dirac eye kaiming_normal kaiming_uniform normal orthogonal sparse uniform "
            "xavier_normal xavier_uniform"
        ),
    },
    "nn.utils": {
        "deprecated name without the underscore": "clip_grad_norm",
        "values are drawn when they are read: there is nothing to skip": "skip_init",
        "deprecated, and gm.func.functional_call": "stateless",
        "memory formats: there is one": "convert_conv2d_weight_memory_format convert_conv3d_weight_memory_format",
    },
    "nn.utils.rnn": {"helpers of this module": "PackedSequence_ bind copy_method_params"},
    "nn.utils.parametrize": {
        "of PyTorch's own tensors": (
            "get_swap_module_params_on_conversion is_opaque_reference_type is_traceable_wrapper_subclass OpaqueBase"
        ),
    },
    "nn.utils.parametrizations": {},
    "optim": {
        "for sparse gradients, which there are none of": "SparseAdam",
        "for tracing by PyTorch's compiler": "swap_in_optimizer_params_and_state",
    },
    "optim.swa_utils": {},
    "optim.lr_scheduler": {},
}

# Where these names are from, functions and classes are PyTorch's imports rather than its own names.
FOREIGN = (
    "typing",
    "collections",
    "copy",
    "functools",
    "weakref",
    "enum",
    "abc",
    "torch._jit_internal",
    "torch._prims",
    "_weakref",
)


def public(module: Any) -> set[str]:
    """The names of a module of PyTorch that are for its users."""
    names = set(getattr(module, "__all__", ()))
    for name, thing in vars(module).items():
        own = str(getattr(thing, "__module__", None) or "")
        if (
            name.startswith("_")
            or isinstance(thing, types.ModuleType)
            or not callable(thing)
            or name in ("Tensor", "DType")
        ):
            continue
        if not own.startswith(FOREIGN):
            names.add(name)
    return names


@pytest.mark.oracle
@pytest.mark.parametrize("place", LEFT_OUT)
def test_no_name_is_missing_without_a_reason(place: str) -> None:
    torch = pytest.importorskip("torch")
    assert torch.__version__
    theirs, ours = importlib.import_module(f"torch.{place}"), importlib.import_module(f"gradmesh.{place}")
    known = {name for names in LEFT_OUT[place].values() for name in names.split()}
    missing = {name for name in public(theirs) if not hasattr(ours, name)}
    assert sorted(missing - known) == []
    assert sorted(known - missing) == [], "listed as left out, and here"


# Methods and properties of classes that both have, by class.
METHODS_LEFT_OUT: dict[str, str] = {
    # Compilers, devices and shared memory; a deprecated hook; a module has no memory to be made empty.
    "Module": "compile cuda ipu mtia xpu share_memory register_backward_hook to_empty",
    # Steps of PyTorch's own checks.
    "RNNBase": "check_forward_args check_hidden_size check_input get_expected_hidden_size permute_hidden",
    "LSTM": "get_expected_cell_size",
    "MultiheadAttention": "merge_masks",
    # Types of hooks, and a profiler's.
    "Optimizer": "OptimizerPostHook OptimizerPreHook profile_hook_step",
    "Adagrad": "share_memory",
    "SequentialLR": "recursive_undo",
}
# Of PyTorch's TorchScript and typing, on all modules.
NO_METHODS = {"T_destination", "dump_patches", "call_super_init"}


@pytest.mark.oracle
@pytest.mark.parametrize("place", ["nn", "optim", "optim.lr_scheduler", "optim.swa_utils"])
def test_no_method_is_missing_without_a_reason(place: str) -> None:
    torch = pytest.importorskip("torch")
    assert torch.__version__
    theirs, ours = importlib.import_module(f"torch.{place}"), importlib.import_module(f"gradmesh.{place}")
    missing = []
    for name, cls in vars(theirs).items():
        mine = getattr(ours, name, None)
        if not isinstance(cls, type) or not isinstance(mine, type) or name in ("Tensor", "Parameter", "Buffer"):
            continue
        if name.startswith("Uninitialized"):
            continue
        allowed = {word for base in cls.__mro__ for word in METHODS_LEFT_OUT.get(base.__name__, "").split()}
        wanted = {method for method in dir(cls) if not method.startswith("_")} - allowed - NO_METHODS
        missing += [f"{name}.{method}" for method in sorted(wanted) if not hasattr(mine, method)]
    assert missing == []
