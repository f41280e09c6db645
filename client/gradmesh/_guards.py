"""What a function may read besides its tensors: found once from what it ran, compared quickly at each replay."""

from __future__ import annotations

import dis
import enum
import functools
import os
import sys
import sysconfig
import types
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import chain
from operator import is_
from types import CodeType
from typing import Any, Final

import numpy as np

from gradmesh import _dtype
from gradmesh._leaf import Leaf
from gradmesh._random import Generator
from gradmesh._tensor import Tensor
from gradmesh._value import ENGINE, INSIDE
from gradmesh.nn.modules.module import Module
from gradmesh.nn.parameter import is_lazy

ATOMS: Final = frozenset(
    [type(None), bool, int, float, complex, str, bytes, range, slice, type(...), type(NotImplemented), _dtype.dtype,
     _dtype.device, _dtype.Size]
)  # fmt: skip
"""Types whose objects never change and are told apart by value."""

_FIXED: Final = (
    np.generic, np.dtype, np.ufunc, enum.Enum, CodeType, types.GetSetDescriptorType, types.MemberDescriptorType,
    types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType, types.GenericAlias,
    types.UnionType, Generator,
)  # fmt: skip

_STDLIB: Final = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")})
_PACKAGES: Final = tuple({sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib")})
_NUMERIC: Final = tuple(
    os.path.join(os.path.dirname(os.path.dirname(np.__file__)), name, "") for name in ("numpy", "scipy", "ml_dtypes")
)
_HEAP: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class made in Python
_MISSING: Final = object()
_LIMIT: Final = 1 << 14
_REFLECTION: Final = frozenset(
    "getattr hasattr setattr delattr vars dir eval exec attrgetter methodcaller __dict__ __getattribute__".split()
)
_NAMESPACES: Final = frozenset({"globals", "locals", "_getframe", "currentframe"})
_OBJECTS: Final = frozenset("LOAD_ATTR LOAD_METHOD LOAD_SUPER_ATTR STORE_ATTR DELETE_ATTR IMPORT_FROM".split())
_GLOBALS: Final = frozenset(
    "LOAD_GLOBAL LOAD_NAME LOAD_FROM_DICT_OR_GLOBALS STORE_GLOBAL STORE_NAME DELETE_GLOBAL DELETE_NAME".split()
)


def is_inside(filename: str) -> bool:
    """Whether a file is of this project, or of what it computes with."""
    return filename.startswith((INSIDE, ENGINE, *_NUMERIC))


@lru_cache(maxsize=4096)
def is_users(filename: str) -> bool:
    """Whether a file is neither of this project nor of Python."""
    if is_inside(filename):
        return False
    return filename.startswith(_PACKAGES) or not filename.startswith((*_STDLIB, "<frozen "))


@lru_cache(maxsize=4096)
def names_of(code: CodeType) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The globals and attributes that code may read or write, and the modules it imports, with what is nested in it."""
    found: tuple[set[str], set[str], set[str]] = set(), set(), set()
    stack = [code]
    while stack:
        one = stack.pop()
        for instruction in dis.get_instructions(one):
            if instruction.opname in _GLOBALS:
                found[0].add(instruction.argval)
            elif instruction.opname in _OBJECTS:
                found[1].add(instruction.argval)
            elif instruction.opname == "IMPORT_NAME":
                found[2].add(instruction.argval)
        stack += [constant for constant in one.co_consts if isinstance(constant, CodeType)]
    return frozenset(found[0]), frozenset(found[1]), frozenset(found[2])


def _same(now: Any, then: Any) -> bool:
    """Whether two objects cannot be told apart."""
    if now is then:
        return True
    kind = type(now)
    if kind is not type(then):
        return False
    if kind is tuple:
        return len(now) == len(then) and all(map(_same, now, then))
    if kind in (float, complex):
        return repr(now) == repr(then)
    if kind is types.MethodType:
        return now.__self__ is then.__self__ and now.__func__ is then.__func__
    return kind in ATOMS and bool(now == then)


class _Plain:
    """Holds nothing but what `__dict__` shows."""


def _is_python(kind: type) -> bool:
    """Whether objects of a class hold nothing but what `__dict__` shows."""
    python = all([base is object or base.__flags__ & _HEAP for base in kind.__mro__])
    return python and kind.__dictoffset__ != 0 and kind.__basicsize__ <= _Plain.__basicsize__


@lru_cache(maxsize=4096)
def _is_library(module: str) -> bool:
    """Whether a module is of this project or of Python: its code is not among the user's."""
    filename = getattr(sys.modules.get(module), "__file__", None)
    return module.partition(".")[0] in _LIBRARIES and (filename is None or not is_users(filename))


class Guards:
    """Where a function may read, and what was there. Final.

    Args:
        roots: the function, and arguments that are no tensors.
        codes: all code of the user that ran, each with its globals, and what it called of Python's library, with None.

    Attributes:
        tensors: the tensors it may read.
        unseen: what it may read whose changes cannot be seen, "" when there is nothing.
    """

    def __init__(self, roots: Iterable[Any], codes: Mapping[CodeType, dict[str, Any] | None]) -> None:
        self.tensors: list[Tensor] = []
        self.unseen = ""
        self._codes = codes
        self._attributes = frozenset[str]().union(*[names_of(code)[1] for code in codes])
        used = self._attributes.union(*[names_of(code)[0] for code in codes])
        self._every = not _REFLECTION.isdisjoint(used)
        if not _NAMESPACES.isdisjoint(used):
            self.unseen = "may read any variable"
        self._fulls: list[dict[Any, Any]] = []
        self._lists: list[list[Any]] = []
        self._sets: list[tuple[Any, frozenset[Any]]] = []
        self._cells: list[Any] = []
        self._maps: list[Mapping[str, Any]] = []
        self._names: list[str] = []
        self._held: dict[int, Any] = {}
        self._closures: set[CodeType] = set()
        self._stack = list(roots)
        for code, names in codes.items():
            if names is not None:
                self._named(names, names_of(code)[0])
                self._named(sys.modules, names_of(code)[2])
        self._walk()
        nested = {c for code in codes for c in _nested(code)} | {c for code in self._closures for c in _nested(code)}
        for code in codes:
            if codes[code] is not None and code.co_freevars and code not in self._closures and code not in nested:
                self.unseen = self.unseen or f"calls {code.co_name}(), whose closure cannot be found"
        # Most dicts of modules are tables of hooks, and empty.
        containers: list[Any] = [*self._fulls, *self._lists]
        self._empty = [one for one in containers if not one]
        self._fulls = [one for one in self._fulls if one]
        self._lists = [one for one in self._lists if one]
        self._dict_lens = list(map(len, self._fulls))
        self._lens = list(map(len, self._lists))
        self._keys = list(chain.from_iterable(map(dict.keys, self._fulls)))
        self._full_values = list(chain.from_iterable(map(dict.values, self._fulls)))
        self._list_values = list(chain.from_iterable(self._lists))
        self._cell_values = list(map(_contents, self._cells))
        self._named_values = list(map(_got, self._maps, self._names))
        self._compared = self.tensors
        self._kinds = list(map(_kind, self.tensors))

    # --- finding ------------------------------------------------------------------------------------

    def _named(self, names: Mapping[str, Any], wanted: Iterable[str]) -> None:
        for name in wanted:
            self._maps.append(names)
            self._names.append(name)
            value = names.get(name, _MISSING)
            if value is not _MISSING:
                self._stack.append(value)

    def _walk(self) -> None:
        while self._stack:
            one = self._stack.pop()
            if type(one) in ATOMS or id(one) in self._held:
                continue
            self._held[id(one)] = one
            if len(self._held) > _LIMIT:
                self.unseen = "may read more objects than can be compared"
                return
            self._visit(one)

    def _visit(self, one: Any) -> None:
        kind = type(one)
        visit = VISITS.get(kind)
        if visit is not None:
            visit(self, one)
        elif is_lazy(one):
            self.unseen = self.unseen or "may read a parameter whose shape is not known yet"
        elif isinstance(one, Tensor):
            self.tensors.append(one)
            self._full(one.__dict__)
        elif isinstance(one, _FIXED):
            pass
        elif isinstance(one, type):
            self._class(one)
        elif isinstance(one, Module):
            self._full(one.__dict__)
            self._class(kind)
        elif isinstance(one, tuple):
            self._stack += one
        elif isinstance(one, dict | list) and all(b.__flags__ & _HEAP or b in _BUILT for b in kind.__mro__):
            VISITS[dict if isinstance(one, dict) else list](self, one)
            self._attributes_of(getattr(one, "__dict__", {}), kind)
        elif _is_python(kind):
            if _is_library(kind.__module__):
                self._full(one.__dict__)
            else:
                self._attributes_of(one.__dict__, kind)
            self._class(kind)
        elif callable(one) and getattr(one, "__wrapped__", None) is not None:
            self._stack.append(one.__wrapped__)  # functools.lru_cache: what it keeps, the function would give anew
        elif not kind.__flags__ & _HEAP and callable(one):
            pass  # a function written in C
        elif not self.unseen:
            self.unseen = f"may read an object of type {kind.__name__}, whose changes cannot be seen"

    def _attributes_of(self, names: dict[str, Any], kind: type = object) -> None:
        """Of an object whatever may be read by name; also what its class has and it may come to have."""
        if self._every:
            self._full(names)
        known = {name for base in kind.__mro__ if base is not object for name in vars(base)}
        if "__getattr__" in known:
            known = set(self._attributes)
        self._named(names, [name for name in self._attributes if name in names or name in known])

    def _full(self, one: dict[Any, Any]) -> None:
        self._fulls.append(one)
        self._stack += one.values()
        self._stack += [key for key in one if type(key) not in ATOMS]

    def _list(self, one: list[Any]) -> None:
        self._lists.append(one)
        self._stack += one

    def _set(self, one: set[Any]) -> None:
        self._sets.append((one, frozenset(one)))
        self._stack += one

    def _function(self, one: types.FunctionType) -> None:
        self._attributes_of(one.__dict__)
        wrapped = one.__dict__.get("__wrapped__")
        self._stack += [] if wrapped is None else [wrapped]
        # Functions made by this project's functions of functions hold the user's.
        if one.__code__ in self._codes or not is_users(one.__code__.co_filename):
            self._closures.add(one.__code__)
            for cell in one.__closure__ or ():
                self._cells.append(cell)
                self._stack.append(_contents(cell))
            self._stack += [*(one.__defaults__ or ()), *(one.__kwdefaults__ or {}).values()]

    def _module(self, one: types.ModuleType) -> None:
        names = one.__dict__
        if one is os:
            self._named(names, {"environ"} & self._attributes)
        elif not _is_library(one.__name__) and one.__name__.partition(".")[0] != "numpy":
            if self._every:
                self._full(names)
            else:
                self._named(names, [name for name in self._attributes if name in names])

    def _class(self, one: type) -> None:
        bases = [vars(base) for base in one.__mro__ if base.__flags__ & _HEAP and not _is_library(base.__module__)]
        found = {name for names in bases for name in names}
        for names in bases:
            ran = [name for name, held in names.items() if getattr(held, "__code__", None) in self._codes]
            # Also where one may come to stand before that of another class.
            self._named(names, {*ran, *(found if self._every else found & self._attributes)})

    # --- comparing ----------------------------------------------------------------------------------

    def holds(self) -> bool:
        """Whether everything is as it was."""
        try:
            return self._hold()
        except RuntimeError:  # Another thread is changing a dict.
            return False

    def _hold(self) -> bool:
        return (
            not any(self._empty)
            and list(map(len, self._fulls)) == self._dict_lens
            and list(map(len, self._lists)) == self._lens
            and all([now == then for now, then in self._sets])
            and self._agree("_keys", lambda: chain.from_iterable(map(dict.keys, self._fulls)))
            and self._agree("_full_values", lambda: chain.from_iterable(map(dict.values, self._fulls)))
            and self._agree("_list_values", lambda: chain.from_iterable(self._lists))
            and self._agree("_named_values", lambda: map(_got, self._maps, self._names))
            and self._agree("_cell_values", lambda: map(_contents, self._cells))
            and list(map(_kind, self._compared)) == self._kinds
        )

    def _agree(self, which: str, find: Callable[[], Iterable[Any]]) -> bool:
        """Whether as many objects as before are the same ones, or equal."""
        before = getattr(self, which)
        if all(map(is_, find(), before)):
            return True
        now = list(find())
        if not all(map(_same, now, before)):
            return False
        setattr(self, which, now)  # told by identity from now on
        return True

    def leave(self, tensors: Iterable[Tensor]) -> None:
        """Let others see what kind of tensors these are."""
        left = set(map(id, tensors))
        self._compared = [tensor for tensor in self.tensors if id(tensor) not in left]
        self._kinds = list(map(_kind, self._compared))

    def see(self, *objects: Any) -> None:
        """Look at these, too."""
        self._stack += objects

    def holds_object(self, one: object) -> bool:
        """Whether an object is among what may be read."""
        return id(one) in self._held


_LIBRARIES: Final = frozenset({"gradmesh", "gradmesh_engine", *sys.stdlib_module_names}) - {"__main__"}

_BUILT: Final = (object, dict, list, OrderedDict, defaultdict)


def _bound(guards: Guards, one: types.BuiltinMethodType) -> None:
    if not isinstance(one.__self__, types.ModuleType | None):
        guards._stack.append(one.__self__)


VISITS: Final[dict[type, Callable[[Guards, Any], None]]] = {
    dict: Guards._full,
    list: Guards._list,
    set: Guards._set,
    frozenset: lambda guards, one: guards._stack.extend(one),
    tuple: lambda guards, one: guards._stack.extend(one),
    types.FunctionType: Guards._function,
    types.ModuleType: Guards._module,
    types.BuiltinMethodType: _bound,
    types.MethodType: lambda guards, one: guards._stack.extend((one.__self__, one.__func__)),
    types.SimpleNamespace: lambda guards, one: guards._full(one.__dict__),
    functools.partial: lambda guards, one: guards._stack.extend((one.func, one.args, one.keywords)),
    staticmethod: lambda guards, one: guards._stack.append(one.__func__),
    classmethod: lambda guards, one: guards._stack.append(one.__func__),
    property: lambda guards, one: guards._stack.extend((one.fget, one.fset)),
    weakref.ref: lambda guards, one: guards._stack.append(one()),
}


def _got(names: Mapping[str, Any], name: str) -> Any:
    return names.get(name, _MISSING)


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    value = tensor._value if tensor._store is None else tensor._store.sync(tensor)
    return value.spec, value.requires_grad, value.meta.__class__ is Leaf


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not set yet
        return None


def _nested(code: CodeType) -> list[CodeType]:
    found = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    for one in found:
        found += [constant for constant in one.co_consts if isinstance(constant, CodeType)]
    return found
