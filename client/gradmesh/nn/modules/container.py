"""Modules that hold modules or parameters, in order or by name."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from gradmesh._tensor import Tensor
from gradmesh.nn.modules.module import Module, _indented
from gradmesh.nn.parameter import Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]

_S = TypeVar("_S", bound="_Numbered")


class _Numbered(Module):
    """Modules named "0", "1", … Abstract."""

    def _place(self, index: Any) -> int:
        at = operator.index(index)
        if not -len(self) <= at < len(self):
            raise IndexError(f"index {at} is out of range")
        return at % len(self)

    def _renumbered(self, modules: Iterable[Module]) -> None:
        self._modules.clear()
        for index, module in enumerate(modules):
            self._modules[str(index)] = module

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    @overload
    def __getitem__(self: _S, index: slice) -> _S: ...
    @overload
    def __getitem__(self, index: int) -> Any: ...
    def __getitem__(self, index: int | slice) -> Any:
        held = list(self._modules.items())
        if isinstance(index, slice):
            return self._like(held[index])
        return held[self._place(index)][1]

    def _like(self, held: list[tuple[str, Any]]) -> Any:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        self._modules[list(self._modules)[self._place(index)]] = module

    def __delitem__(self, index: int | slice) -> None:
        held = list(self._modules.values())
        del held[index if isinstance(index, slice) else self._place(index)]
        self._renumbered(held)  # type: ignore[arg-type]

    def append(self: _S, module: Module) -> _S:
        """Put a module behind the others; returns self."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self: _S, modules: Iterable[Module]) -> _S:
        """Put modules behind the others; returns self."""
        for module in modules:
            self.append(module)
        return self

    def insert(self: _S, index: int, module: Module) -> _S:
        """Put a module before the one at an index; returns self."""
        held: list[Any] = list(self._modules.values())
        held.insert(index, module)
        self._renumbered(held)
        return self

    def pop(self, key: int | slice) -> Any:
        """Take a module away; returns it."""
        taken = self[key]
        del self[key]
        return taken


class Sequential(_Numbered):
    """Modules called one after the other; given one by one, or as an OrderedDict with names.

    Example: `gm.nn.Sequential(gm.nn.Linear(2, 3), gm.nn.ReLU())(gm.ones(1, 2)).shape` is `torch.Size([1, 3])`.
    """

    def __init__(self, *args: Module | Mapping[str, Module]) -> None:
        super().__init__()
        named = args[0].items() if len(args) == 1 and isinstance(args[0], Mapping) else enumerate(args)
        for name, module in named:
            self.add_module(str(name), module)  # type: ignore[arg-type]

    def _like(self, held: list[tuple[str, Any]]) -> Any:
        return type(self)(OrderedDict(held))

    def __add__(self, other: Sequential) -> Sequential:
        return Sequential(*self, *other)

    def __iadd__(self, other: Sequential) -> Sequential:
        return self.extend(other)

    def __mul__(self, other: int) -> Sequential:
        return Sequential(*self._times(other))

    __rmul__ = __mul__

    def __imul__(self, other: int) -> Sequential:
        return self.extend(self._times(other)[len(self) :])

    def _times(self, other: int) -> list[Module]:
        """The modules over and over: the same ones, not copies."""
        if not isinstance(other, int):
            raise TypeError(f"unsupported operand type(s) for *: {type(self)} and {type(other)}")
        if other <= 0:
            raise ValueError(f"Non-positive multiplication factor {other} for {type(self)}")
        return list(self) * other

    def forward(self, input: Any) -> Any:
        """What each module returns is the next one's argument."""
        for module in self:
            input = module(input)
        return input


class ModuleList(_Numbered):
    """A list of modules, which are found as children.

    Example: `len(gm.nn.ModuleList([gm.nn.Linear(2, 2), gm.nn.Linear(2, 2)]))` is `2`.
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    def _like(self, held: list[tuple[str, Any]]) -> Any:
        return type(self)([module for _, module in held])

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)

    def __repr__(self) -> str:
        # Runs of modules that read the same take one line.
        runs: list[tuple[int, int, str]] = []
        for index, module in enumerate(self):
            text = repr(module)
            if runs and runs[-1][2] == text:
                runs[-1] = runs[-1][0], index, text
            else:
                runs.append((index, index, text))
        if not runs:
            return f"{self._get_name()}()"
        lines = [
            f"({first}): {text}" if first == last else f"({first}-{last}): {last - first + 1} x {text}"
            for first, last, text in runs
        ]
        return f"{self._get_name()}(\n  " + "\n  ".join(_indented(line) for line in lines) + "\n)"


class ModuleDict(Module):
    """Modules by name, which are found as children.

    Example: `list(gm.nn.ModuleDict({"a": gm.nn.ReLU()}))` is `['a']`.
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update({} if modules is None else modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Take all modules away."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Take a module away; returns it."""
        return self._modules.pop(key)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        """The modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and modules."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Put modules in under their names."""
        for name, module in modules.items() if isinstance(modules, Mapping) else modules:
            self[name] = module


def _held(value: Any) -> Any:
    """What a container keeps for a value: plain tensors become parameters."""
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


def _lines(items: Iterable[tuple[Any, Any]], typed: bool = False) -> str:
    """A line per value; `typed` names types of tensors rather than dtypes, as PyTorch does for dicts."""
    lines = []
    for name, value in items:
        if isinstance(value, Tensor):
            kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
            what = value.type() if typed else value.dtype
            lines.append(f"  ({name}): {kind} containing: [{what} of size {'x'.join(map(str, value.shape))}]")
        else:
            lines.append(f"  ({name}): Object of type: {type(value).__name__}")
    return "\n".join(lines)


class ParameterList(Module):
    """A list of parameters, which are found as parameters; tensors put in become parameters.

    Example: `len(gm.nn.ParameterList([gm.ones(2), gm.ones(3)]))` is `2`.
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        self.extend(() if values is None else values)

    def _place(self, index: Any) -> str:
        at = operator.index(index)
        if not -self._size <= at < self._size:
            raise IndexError(f"index {at} is out of range")
        return str(at % self._size)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, str(index)) for index in range(self._size))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return getattr(self, self._place(index))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, self._place(index), _held(value))

    def append(self, value: Any) -> ParameterList:
        """Put a value behind the others; returns self."""
        setattr(self, str(self._size), _held(value))
        self._size += 1
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Put values behind the others; returns self."""
        for value in values:
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def extra_repr(self) -> str:
        """A line per value."""
        return _lines(enumerate(self))


class ParameterDict(Module):
    """Parameters by name, which are found as parameters; tensors put in become parameters.

    Example: `list(gm.nn.ParameterDict({"a": gm.ones(2)}))` is `['a']`.
    """

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        self.update({} if parameters is None else parameters)

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._keys[key] = None
        setattr(self, key, _held(value))

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._keys)

    def __or__(self, other: ParameterDict) -> ParameterDict:
        return ParameterDict({**dict(self.items()), **dict(other.items())})

    def __ror__(self, other: ParameterDict) -> ParameterDict:
        return ParameterDict({**dict(other.items()), **dict(self.items())})

    def __ior__(self, other: ParameterDict) -> ParameterDict:
        self.update(other.items())
        return self

    def copy(self) -> ParameterDict:
        """Another dict of the same values."""
        return ParameterDict(dict(self.items()))

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value under a name, which is put there if there is none."""
        if key not in self._keys:
            self[key] = default
        return self[key]

    def clear(self) -> None:
        """Take all values away."""
        for key in list(self._keys):
            del self[key]

    def pop(self, key: str) -> Any:
        """Take a value away; returns it. Raises KeyError."""
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take the last name and value away; returns them. Raises KeyError when there is none."""
        if not self._keys:
            raise KeyError("popitem(): the dict is empty")
        key = next(reversed(self._keys))
        return key, self.pop(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The value under a name, or a default."""
        return self[key] if key in self._keys else default

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """A new dict with a default under each name."""
        return ParameterDict((key, default) for key in keys)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._keys.keys()

    def values(self) -> Iterable[Any]:
        """The values."""
        return (self[key] for key in self._keys)

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and values."""
        return ((key, self[key]) for key in self._keys)

    def update(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Put values in under their names."""
        for name, value in parameters.items() if isinstance(parameters, Mapping) else parameters:
            self[name] = value

    def extra_repr(self) -> str:
        """A line per value."""
        return _lines(self.items(), typed=True)
