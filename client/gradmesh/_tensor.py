"""Tensor: what users hold. A handle on a value, which in-place ops replace."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmesh import _backward, _dtype, _evaluate, _grad_fn, _hooks, _indexing, _printing, _views
from gradmesh._dtype import Size
from gradmesh._leaf import Leaf
from gradmesh._methods import TensorMethods
from gradmesh._modes import STATE
from gradmesh._value import INFERENCE, Value, alias, known, user_line
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, AutogradError, NotDifferentiableError, ShapeError
from gradmesh_engine.graph import TensorSpec

if TYPE_CHECKING:
    from gradmesh._views import Store


def prune() -> None:
    """Drop what is known or dead from the list of tensors whose value may be pending."""
    live = []
    for ref in STATE.live:
        tensor = ref()
        if tensor is None:
            continue
        value = tensor._value if tensor._store is None else tensor._store.storage.value
        if value.data is None:
            live.append(ref)
    STATE.live = live
    STATE.prune = max(4096, 2 * len(live))


class Tensor(TensorMethods):
    """An array whose content may not have been computed yet, and its place in the recorded graph. Final.

    Made by the functions of the package (`gm.tensor`, `gm.zeros`, …), never directly. Shape, dtype,
    `requires_grad` and `grad_fn` are known at once; reading the content evaluates it.
    """

    __slots__ = ("__dict__", "__weakref__", "_meta", "_store", "_value")

    def __init__(self, value: Value) -> None:
        self._value = value
        self._store: Store | None = None
        self._meta: Leaf | None = None

    # --- what is known without evaluating ----------------------------------------------------------

    @property
    def value(self) -> Value:
        """The present value in the trace."""
        return self._value if self._store is None else self._store.sync(self)

    @property
    def spec(self) -> TensorSpec:
        """Shape and NumPy dtype."""
        return self._value.spec

    @property
    def np_dtype(self) -> np.dtype:
        """The dtype as NumPy's."""
        return self._value.spec.dtype

    @property
    def shape(self) -> Size:
        """The dims, as a tuple that prints as PyTorch's."""
        return Size(self._value.spec.shape)

    @property
    def ndim(self) -> int:
        """Number of dims."""
        return len(self._value.spec.shape)

    @property
    def dtype(self) -> _dtype.dtype:
        """The type of the elements."""
        return _dtype.from_numpy(self._value.spec.dtype)

    @property
    def device(self) -> _dtype.device:
        """Always the CPU."""
        return _dtype.CPU

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self._value.spec.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._value.spec.nbytes

    @property
    def layout(self) -> str:
        """Always dense."""
        return "torch.strided"

    # --- autograd -----------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor. Settable on leaves."""
        return self.value.requires_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        self.requires_grad_(flag)

    def requires_grad_(self, requires_grad: Any = True) -> Tensor:
        """Set whether gradients flow to this leaf; returns it.

        Raises:
            AutogradError: the tensor was computed, or made in inference mode.
            NotDifferentiableError: its dtype has no gradients.
        """
        if not isinstance(requires_grad, bool):
            got = type(requires_grad).__name__
            raise AttributeTypeError(
                f"requires_grad_(): argument 'requires_grad' (position 1) must be bool, not {got}",
                expected="bool",
                got=got,
            )
        value = self.value
        if value.requires_grad == requires_grad:
            return self
        if value.requires_grad and value.meta.__class__ is not Leaf:
            raise AutogradError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in "
                "a subgraph that doesn't require differentiation use var_no_grad = var.detach().",
                source=user_line(),
            )
        if requires_grad and not dtypes.is_differentiable(value.spec.dtype):
            raise NotDifferentiableError(
                "only Tensors of floating point dtype can require gradients",
                expected="a floating point or complex dtype",
                got=value.spec.dtype.name,
                source=user_line(),
            )
        if requires_grad and value.meta is INFERENCE and not STATE.inference:
            raise AutogradError(
                "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.",
                source=user_line(),
            )
        leaf = self._leaf() if requires_grad else None
        fresh = alias(value, requires_grad, leaf)
        _views.replace_history(self, fresh)
        return self

    def _leaf(self) -> Leaf:
        if self._meta is None:
            self._meta = Leaf(self)
        return self._meta

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made this tensor."""
        value = self.value
        return not value.requires_grad or value.meta.__class__ is Leaf

    @property
    def grad_fn(self) -> _grad_fn.Node | None:
        """The recorded op that made this tensor; None for leaves."""
        if STATE.capture is not None:
            STATE.capture.fail("asks for a grad_fn")
        value = self.value
        if not value.requires_grad or value.meta.__class__ is Leaf:
            return None
        return _grad_fn.node_of(value)[0]

    @property
    def output_nr(self) -> int:
        """Which result of `grad_fn` this tensor is."""
        value = self.value
        return _grad_fn.node_of(value)[1] if value.requires_grad else 0

    @property
    def grad(self) -> Tensor | None:
        """The gradient accumulated by `backward`, or None. Settable."""
        if STATE.capture is not None:
            STATE.capture.fail("asks for a gradient")
        meta = self._meta
        if meta is None:
            value = self.value
            if value.meta.__class__ is Leaf:
                self._meta = meta = value.meta
        if meta is None or (meta.grad is None and not meta.retains):
            _backward.warn_if_not_leaf(self)
        return None if meta is None else meta.grad

    @grad.setter
    def grad(self, grad: Tensor | None) -> None:
        if STATE.capture is not None:
            STATE.capture.fail("sets a gradient")
        if grad is not None:
            if not isinstance(grad, Tensor):
                raise AttributeTypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type {type(grad).__name__}",
                    expected="Tensor or None",
                    got=type(grad).__name__,
                )
            if grad is self:
                raise AutogradError("can't assign Variable as its own grad", source=user_line())
            if grad.spec.shape != self.spec.shape:
                raise ShapeError(
                    f"attempting to assign a gradient of size '{list(grad.spec.shape)}' to a tensor of size "
                    f"'{list(self.spec.shape)}'. Please ensure that the gradient and the tensor are the same size",
                    source=user_line(),
                )
            if grad.spec.dtype != self.spec.dtype:
                raise AutogradError(
                    f"attempting to assign a gradient with dtype '{grad.dtype}' to a tensor with dtype '{self.dtype}'. "
                    "Please ensure that the gradient and the tensor have the same dtype",
                    source=user_line(),
                )
        self._leaf().grad = grad

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradient of this tensor with respect to the leaves to their `.grad`.

        Args:
            gradient: cotangent, of this tensor's shape; may be left out for one element.
            retain_graph: keep the graph for another pass; by default as `create_graph`.
            create_graph: record the pass itself, for derivatives of higher order.
            inputs: only accumulate into these tensors.

        Raises:
            AutogradError: nothing here requires grad, the graph was used up, or a value it needs
                was modified in place.
            NotDifferentiableError: no `gradient` for more than one element.
            ShapeError: `gradient` has another shape.
        """
        given = None if gradient is None else (gradient,)
        _evaluate.drive(_backward.backward((self,), given, retain_graph, create_graph, inputs))

    def retain_grad(self) -> None:
        """Keep the gradient of this computed tensor in `.grad`. Raises AutogradError without requires_grad."""
        _hooks.retain_grad(self)

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on this tensor, which is no leaf."""
        return self._meta is not None and self._meta.retains

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> _hooks.RemovableHandle:
        """Call `hook` with the gradient of this tensor whenever it is computed; what it returns replaces it.

        Raises AutogradError without requires_grad.
        """
        return _hooks.register_tensor_hook(self, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> _hooks.RemovableHandle:
        """Call `hook` with this leaf after each accumulation into its `.grad`. Raises AutogradError for non-leaves."""
        return _hooks.register_post_hook(self, hook)

    def detach(self) -> Tensor:
        """A tensor with the same elements, shared, and no history."""
        return _views.detached(self)

    def detach_(self) -> Tensor:
        """Forget the history of this tensor; returns it. Raises AutogradError for views."""
        if self._is_view():
            raise AutogradError("Can't detach views in-place. Use detach() instead.", source=user_line())
        value = self.value
        if value.requires_grad:
            _views.replace_history(self, alias(value))
        return self

    @property
    def data(self) -> Tensor:
        """The elements, shared, without history and hidden from version checks. Settable."""
        return _views.detached(self, own_counter=True)

    @data.setter
    def data(self, source: Tensor) -> None:
        _views.set_data(self, source)

    @property
    def _version(self) -> int:
        if self.value.meta is INFERENCE:
            raise AutogradError("Inference tensors do not track version counter.", source=user_line())
        return 0 if self._store is None else self._store.counter.current

    @property
    def _base(self) -> Tensor | None:
        store = self._store
        return None if store is None else store.base

    def _is_view(self) -> bool:
        return self._base is not None

    def is_inference(self) -> bool:
        """Whether this tensor was made in inference mode."""
        return self.value.meta is INFERENCE

    # --- reading ------------------------------------------------------------------------------------

    def _content(self) -> np.ndarray:
        return _evaluate.content(self.value)

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The content as a read-only NumPy array; evaluates.

        Raises AutogradError when the tensor requires grad, unless `force`.
        """
        if self.value.requires_grad and not force:
            raise AutogradError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.",
                source=user_line(),
            )
        return self._content()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """The content as a DLPack capsule; evaluates. Shared where the taker promises not to write, else a copy.

        Raises BufferError for a tensor that requires grad, and for dtypes DLPack has no word for.
        """
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        array = self._content()
        if copy or max_version is None or max_version < (1, 0):  # Older versions cannot say "do not write".
            array = array.copy()
        return array.__dlpack__(stream=None, max_version=max_version, dl_device=dl_device)

    def __dlpack_device__(self) -> tuple[int, int]:
        """The CPU's memory, as DLPack numbers it."""
        return 1, 0

    def item(self) -> Any:
        """The only element as a Python number; evaluates. Raises ShapeError for more or fewer elements."""
        size = self._value.spec.size
        if size != 1:
            raise ShapeError(
                f"a Tensor with {size} elements cannot be converted to Scalar",
                expected="one element",
                got=str(size),
                source=user_line(),
            )
        array = self._content()
        return float(array.reshape(())) if array.dtype.kind == "V" else array.item()

    def tolist(self) -> Any:
        """The content as nested lists of Python numbers; evaluates."""
        array = self._content()
        if array.dtype == dtypes.bfloat16:
            array = array.astype(np.float32)
        return array.tolist()

    def __bool__(self) -> bool:
        size = self._value.spec.size
        if size != 1:
            what = "no values" if size == 0 else "more than one value"
            raise ShapeError(f"Boolean value of Tensor with {what} is ambiguous", got=str(size), source=user_line())
        return bool(self.item())

    def _need_one(self) -> None:
        if self._value.spec.size != 1:
            raise ShapeError(
                "only one element tensors can be converted to Python scalars",
                expected="one element",
                got=str(self._value.spec.size),
                source=user_line(),
            )

    def __float__(self) -> float:
        self._need_one()
        return float(self.item())

    def __int__(self) -> int:
        self._need_one()
        return int(self.item())

    def __complex__(self) -> complex:
        self._need_one()
        return complex(self.item())

    def __index__(self) -> int:
        spec = self._value.spec
        if spec.size != 1 or dtypes.category(spec.dtype) > dtypes.INT:
            raise AttributeTypeError(
                "only integer tensors of a single element can be converted to an index",
                got=str(spec),
                source=user_line(),
            )
        return int(self.item())

    def __len__(self) -> int:
        shape = self._value.spec.shape
        if not shape:
            raise AttributeTypeError("len() of a 0-d tensor", expected="at least one dim", got="0-d tensor")
        return shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._value.spec.shape:
            raise AttributeTypeError("iteration over a 0-d tensor", expected="at least one dim", got="0-d tensor")
        return iter(_indexing.unbind(self))

    def __contains__(self, element: object) -> bool:
        if isinstance(element, Tensor | bool | int | float | complex):
            return bool((self == element).any())
        raise AttributeTypeError(
            f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.",
            expected="Tensor or number",
            got=type(element).__name__,
        )

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        name = tangent = None
        try:
            value = self.value
        except AutogradError:
            # One of several views, whose base was written to.
            content = _views.detached(self)._content()
            return _printing.tensor_repr(content, grad_fn_name="Invalid", default_dtype=_dtype.get_default_dtype().np)
        if STATE.duals is not None:
            primal, carried = STATE.duals.unpack(self)
            value, tangent = (value, None) if carried is None else (primal.value, repr(carried))
        if value.requires_grad and value.meta.__class__ is not Leaf:
            name = type(_grad_fn.node_of(value)[0]).__name__
        return _printing.tensor_repr(
            self._content(),
            requires_grad=value.requires_grad,
            grad_fn_name=name,
            tangent=tangent,
            default_dtype=_dtype.get_default_dtype().np,
        )

    def __format__(self, spec: str) -> str:
        if type(self) is Tensor and not self._value.spec.shape:
            return format(self.item(), spec)
        return object.__format__(self, spec)

    # --- indexing -----------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        return _indexing.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        _indexing.setitem(self, index, value)

    # --- copying ------------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) in memo:
            found: Tensor = memo[id(self)]
            return found
        value = self.value
        if value.requires_grad and value.meta.__class__ is not Leaf:
            raise AutogradError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the "
                "moment.",
                remedy="detach() the tensor first",
                source=user_line(),
            )
        copy = Tensor(alias(value))
        if value.data is None:
            STATE.live.append(weakref.ref(copy))
        memo[id(self)] = copy
        if value.requires_grad:
            copy.requires_grad_()
        if self._meta is not None and self._meta.grad is not None:
            copy._leaf().grad = self._meta.grad.__deepcopy__(memo)
        return copy

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        value = self.value
        if value.requires_grad and value.meta.__class__ is not Leaf:
            raise AutogradError(
                "cannot pickle a tensor that was computed and requires grad", remedy="detach() it", source=user_line()
            )
        return _restore, (np.array(self._content()), value.requires_grad)


def _restore(array: np.ndarray, requires_grad: bool) -> Tensor:
    return Tensor(known(array)).requires_grad_(requires_grad)
