"""Parameter: a tensor that a module trains. Buffer: one that it keeps. And both while their shape is not known yet."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn, TypeGuard

from gradmesh import _creation, _dtype, _views
from gradmesh._modes import STATE
from gradmesh._tensor import Tensor
from gradmesh._value import alias
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, AutogradError, NotDifferentiableError

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter"]


class Parameter(Tensor):
    """A leaf that requires grad and, assigned to a module, is one of its parameters. Final.

    Args:
        data: the content, which is shared; by default empty.
        requires_grad: whether gradients flow to it.

    Raises AttributeTypeError unless data is a Tensor, NotDifferentiableError for integers that require grad.

    Example: `weight = gm.nn.Parameter(gm.zeros(3))`
    """

    __slots__ = ()

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        if data is None:
            data = _creation.empty(0)
        if not isinstance(data, Tensor):
            raise AttributeTypeError(
                f"Parameter data has to be a Tensor, but got {type(data).__name__}",
                expected="Tensor",
                got=type(data).__name__,
            )
        if requires_grad and not dtypes.is_differentiable(data.np_dtype):
            raise NotDifferentiableError(
                "Only Tensors of floating point and complex dtype can require gradients",
                expected="a floating point or complex dtype",
                got=data.np_dtype.name,
            )
        _share(self, data)
        if requires_grad:
            self.requires_grad_()

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) in memo:
            found: Parameter = memo[id(self)]
            return found
        memo[id(self)] = copy = Parameter(self.detach().clone(), self.requires_grad)
        return copy

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _restore, (self.detach(), self.requires_grad)


def _restore(data: Tensor, requires_grad: bool) -> Parameter:
    return Parameter(data, requires_grad)


class Buffer(Tensor):
    """A tensor that, assigned to a module, is one of its buffers. Final.

    Args:
        data: the content, which is shared; by default empty.
        persistent: whether it is in the module's `state_dict`.

    Example: `gm.nn.Buffer(gm.zeros(3))`
    """

    __slots__ = ()

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        data = _creation.empty(0) if data is None else data
        _share(self, data)
        if data.requires_grad:
            self.requires_grad_()
        self.persistent = persistent


def _share(tensor: Tensor, data: Tensor) -> None:
    """Make a tensor of the elements of another, which are shared, and without its history."""
    store = _views.store_of(data)
    value = alias(data.value)
    Tensor.__init__(tensor, value)
    tensor._store = store
    _views.split_off(tensor, value)
    if value.data is None:
        STATE.live.append(weakref.ref(tensor))


# --- of no shape yet ------------------------------------------------------------------------------


class _Uninitialized(Tensor):
    """A tensor whose shape is not known yet: it has a dtype, and can be given a shape. Abstract."""

    __slots__ = ()
    cls_to_become: ClassVar[type[Tensor]]

    def __init__(self, requires_grad: bool, device: object, dtype: _dtype.DTypeLike | None) -> None:
        if device is not None:
            _dtype.device(device)  # type: ignore[arg-type]
        self._lazy_dtype = _dtype.get_default_dtype() if dtype is None else _dtype.of(dtype)
        self._lazy_grad = requires_grad
        self._store = self._meta = None

    def materialize(self, shape: Sequence[int], device: object = None, dtype: _dtype.DTypeLike | None = None) -> None:
        """Become a tensor of a shape, all 0, of the dtype this has unless another is given."""
        dtype, flag = self._lazy_dtype if dtype is None else dtype, self._lazy_grad
        del self._lazy_dtype, self._lazy_grad
        self.__class__ = self.cls_to_become  # type: ignore[assignment]
        _share(self, _creation.empty(tuple(shape), dtype=dtype, device=device))
        if flag:
            self.requires_grad_()

    @property
    def _value(self) -> NoReturn:  # type: ignore[override]
        raise ValueError(
            "Attempted to use an uninitialized parameter. This error happens when you are using a `LazyModule` or "
            f"explicitly manipulating `torch.nn.parameter.{type(self).__name__}` objects. When using LazyModules Call "
            "`forward` with a dummy batch to initialize the parameters before calling torch functions"
        )

    @property
    def shape(self) -> NoReturn:
        """Raises AutogradError: there is none."""
        raise AutogradError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call `forward` "
            "to initialize the parameters before accessing their attributes."
        )

    @property
    def dtype(self) -> _dtype.dtype:
        """The type the elements will have."""
        return self._lazy_dtype

    @property
    def requires_grad(self) -> bool:
        """Whether gradients will flow to this tensor. Settable."""
        return self._lazy_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        self._lazy_grad = flag

    def requires_grad_(self, requires_grad: bool = True) -> _Uninitialized:
        """Set whether gradients will flow to this tensor; returns it."""
        self._lazy_grad = requires_grad
        return self

    def is_floating_point(self) -> bool:
        """Whether the elements will be real floats."""
        return self._lazy_dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the elements will be complex."""
        return self._lazy_dtype.is_complex

    def convert(self, change: Callable[[Tensor], Tensor]) -> None:
        """Take the dtype that a conversion of tensors gives to those of this dtype."""
        self._lazy_dtype = change(_creation.empty(0, dtype=self._lazy_dtype)).dtype

    def detach(self) -> _Uninitialized:
        """This tensor: it has no history."""
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self._lazy_grad, None, self._lazy_dtype)
        return memo[id(self)]


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape is not known yet. Final.

    It can be converted and given a shape with `materialize`, and shows `<UninitializedParameter>`; anything else
    raises ValueError.

    Example: `gm.nn.UninitializedParameter()` is `<UninitializedParameter>`.
    """

    __slots__ = ()
    cls_to_become = Parameter

    def __init__(
        self, requires_grad: bool = True, device: object = None, dtype: _dtype.DTypeLike | None = None
    ) -> None:
        _Uninitialized.__init__(self, requires_grad, device, dtype)


class UninitializedBuffer(_Uninitialized):
    """A buffer whose shape is not known yet, otherwise as `UninitializedParameter`. Final.

    Example: `gm.nn.UninitializedBuffer()` is `<UninitializedBuffer>`.
    """

    __slots__ = ()
    cls_to_become = Tensor

    def __init__(
        self,
        requires_grad: bool = False,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
        persistent: bool = True,
    ) -> None:
        super().__init__(requires_grad, device, dtype)
        self.persistent = persistent


def is_lazy(param: object) -> TypeGuard[_Uninitialized]:
    """True for a parameter or buffer whose shape is not known yet."""
    return isinstance(param, _Uninitialized)
