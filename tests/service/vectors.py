"""Makes the conformance vectors: `python -m tests.service.vectors` writes client/gradmesh/vectors anew.

Each case is a function that PyTorch could run too. It is recorded by the client, computed by the engine, and, in
test_conformance.py, compared with PyTorch.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import json_format

import gradmesh as gm
from gradmesh import _codec
from gradmesh._session import enter_session, leave_session
from gradmesh.nn import functional
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import graph_pb2 as graph_pb
from gradmesh_engine import dtypes
from gradmesh_engine.errors import all_errors
from gradmesh_engine.graph import Graph, Node, TensorSpec, digest_of_array, encode_canonical
from gradmesh_engine.local import LocalSession
from gradmesh_engine.program import grad_fns
from gradmesh_engine.session import Request, Result

FOLDER = Path(__file__).resolve().parents[2] / "client" / "gradmesh" / "vectors"

INF, NAN = float("inf"), float("nan")
EDGES = [0.0, -0.0, 1.0, -1.5, INF, -INF, NAN, 3.0]
OTHERS = [0.0, 2.0, -0.0, INF, INF, 1.0, 2.0, NAN]
FLOATS = ("float16", "bfloat16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
INTS = ("uint8", "int8", "int16", "int32", "int64")

# For values around 1, between CPUs whose vector units round and add in other orders.
TOLERANCES = {
    "float16": 4e-3,
    "bfloat16": 3e-2,
    "float32": 2e-5,
    "complex64": 2e-5,
    "float64": 1e-11,
    "complex128": 1e-11,
}


@dataclass(frozen=True)
class Case:
    """One vector to be: `f(t, F, *tensors)` with t and F gradmesh and its nn.functional, or PyTorch's.

    Attributes:
        name: of the vector.
        f: gives a tensor, or a tuple of them.
        arrays: one per tensor. Those of a floating point or complex dtype are differentiated.
        cotangents: one per result that is to be differentiated; None for the cotangent 1 of a scalar.
        order: 0 for values alone, 1 for gradients, 2 for the gradients of <first gradients, directions>.
        directions: the cotangents of the first gradients, for order 2.
        exact: whether every machine must give the same bits.
        constants: positions of tensors that are not differentiated.
    """

    name: str
    f: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    cotangents: tuple[np.ndarray | None, ...] = (None,)
    order: int = 1
    directions: tuple[np.ndarray, ...] = ()
    exact: bool = False
    constants: tuple[int, ...] = ()

    @property
    def wrt(self) -> list[int]:
        kinds = [dtypes.is_differentiable(array.dtype) for array in self.arrays]
        return [i for i, yes in enumerate(kinds) if yes and i not in self.constants]


def made(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """Values around 1, the same in every dtype that holds them: multiples of 1/8."""
    rng = np.random.default_rng([seed, *shape])
    target = dtypes.parse(dtype)
    if dtypes.is_complex(target):
        return (rng.integers(-16, 17, shape) / 8 + 1j * rng.integers(-16, 17, shape) / 8).astype(target)
    return (rng.integers(-16, 17, shape) / 8).astype(target)


def array(values: Any, dtype: str = "float32") -> np.ndarray:
    return np.asarray(values).astype(dtypes.parse(dtype))


def _by_dtype() -> list[Case]:
    cases = []
    for d in (*FLOATS, *COMPLEX):
        x, y, g = made(2, 3, dtype=d), made(2, 3, dtype=d, seed=1), made(2, 3, dtype=d, seed=2)
        cases += [
            Case(f"product {d}", lambda t, F, x, y: x * y - x, (x, y), (g,), exact=not d.startswith("complex")),
            Case(f"tanh and exp {d}", lambda t, F, x, y: t.tanh(x) * t.exp(y), (x / 2, y / 2), (g,)),
            Case(f"matrix product {d}", lambda t, F, x, y: x @ y, (x, made(3, 2, dtype=d)), (made(2, 2, dtype=d),)),
        ]
    for d in INTS:
        x, y = array([0, 1, 2, 3, 100, 127], d), array([3, 2, 1, 5, 7, 127], d)
        cases.append(Case(f"integers {d}", lambda t, F, x, y: (x * y, x // y, x % y, x.sum(), x < y), (x, y), order=0))
    p, q = array([False, False, True, True], "bool"), array([False, True, False, True], "bool")
    cases.append(
        Case("truth values bool", lambda t, F, p, q: (p & q, p ^ q, ~p, p.sum(), t.where(p, p, q)), (p, q), order=0)
    )
    for d in (*dtypes.BY_NAME,):
        x = array([0, 1, 1, 0] if d == "bool" else [0, 1, 2, 100], d)
        real = ("bool", "uint8", "int64", "float16", "bfloat16", "float32", "float64")
        kinds = (*(real if d not in COMPLEX else ()), *COMPLEX)
        cases.append(
            Case(
                f"conversions of {d}",
                lambda t, F, x, kinds=kinds: tuple(x.to(getattr(t, k)) for k in kinds),
                (x,),
                order=0,
            )
        )
    cases.append(
        Case("promotion", lambda t, F, x, y: x * y, (made(3, dtype="float16"), made(3, dtype="bfloat16")), (made(3),))
    )
    return [replace(case, exact=True) if case.order == 0 else case for case in cases]


def _special() -> list[Case]:
    cases = []
    # The derivative of a kink at NaN is a matter of taste; what a kink makes of NaN is not.
    smooth = ["exp", "log", "sqrt", "tanh", "sigmoid", "reciprocal", "sin", "erf", "log1p"]
    edges = array([0.5, -0.0, 0.0, INF, -INF, NAN, 1.0], "float64")
    g = array([1.0, INF, 2.0, 1.0, 1.0, 1.0, NAN], "float64")
    for name in (*smooth, "abs", "sign"):
        cases.append(Case(f"{name} at the edges", lambda t, F, x, name=name: getattr(t, name)(x), (edges,), (g,)))
    pair = (array(EDGES), array(OTHERS))
    ones = array([1.0, 1.0, INF, 1.0, NAN, 1.0, 1.0, -INF])
    for name in ("add", "mul", "div", "hypot", "atan2"):
        cases.append(Case(f"{name} at the edges", lambda t, F, x, y, name=name: getattr(t, name)(x, y), pair, (ones,)))
    cases.append(Case("kinks of NaN", lambda t, F, x, y: (t.relu(x), t.maximum(x, y), t.minimum(x, y)), pair, order=0))
    numbers = tuple(each[~np.isnan(pair[0] + pair[1])] for each in pair)
    for name in ("maximum", "minimum"):
        found = ones[: len(numbers[0])]
        f = lambda t, F, x, y, name=name: getattr(t, name)(x, y)  # noqa: E731
        cases.append(Case(f"{name} at the edges", f, numbers, (found,)))
    relu = np.delete(edges, 5), np.delete(g, 5)
    cases.append(Case("relu at the edges", lambda t, F, x: t.relu(x), relu[:1], relu[1:]))
    x = array([1.0, NAN, -INF, 2.0])
    cases += [
        Case("a NaN cotangent", lambda t, F, x: x * x, (made(3),), (array([1.0, NAN, 0.0]),), exact=True),
        Case(
            "infinite cotangents",
            lambda t, F, x: x * x * x,
            (array([1.0, 0.0, -2.0]),),
            (array([INF, INF, -INF]),),
            exact=True,
        ),
        Case("NaN and infinity in a sum", lambda t, F, x: x.sum(), (x,), exact=True),
        Case("a masked NaN", lambda t, F, x: t.where(x > 0, x, t.zeros_like(x)).sum(), (x,), exact=True),
        Case(
            "softmax with -inf",
            lambda t, F, x: F.softmax(x, dim=0),
            (array([0.0, -INF, 1.0]),),
            (array([1.0, 2.0, 3.0]),),
        ),
        Case(
            "signed zeros",
            lambda t, F, x: (-x, x.abs(), x * -1.0),
            (array([0.0, -0.0], "float64"),),
            order=0,
            exact=True,
        ),
        Case(
            "largest and smallest",
            lambda t, F, x: (x * 2.0, x / 2.0),
            (array([3e38, -3e38, 1e-38, 1e-45]),),
            order=0,
            exact=True,
        ),
    ]
    return cases


def _shapes() -> list[Case]:
    none = np.zeros((0, 3), "float32")
    scalar = array(1.5, "float64")
    return [
        Case("a scalar", lambda t, F, x: x * x * x, (scalar,), exact=True),
        Case(
            "a scalar beside a matrix",
            lambda t, F, x, y: x * y,
            (scalar, made(2, 3, dtype="float64")),
            (made(2, 3, dtype="float64"),),
            exact=True,
        ),
        Case("broadcasting", lambda t, F, x, y: x * y, (made(4, 1, 2), made(3, 1)), (made(4, 3, 2),), exact=True),
        Case("empty", lambda t, F, x: t.exp(x) * x, (none,), (none,), exact=True),
        Case("a sum of nothing", lambda t, F, x: x.sum(), (none,), exact=True),
        Case("a mean of nothing", lambda t, F, x: x.mean(), (none,), exact=True),
        Case("a product of nothing", lambda t, F, x: x.prod(), (none,), exact=True),
        Case("sums of empty columns", lambda t, F, x: x.sum(0), (none,), (made(3),), exact=True),
        Case(
            "a matrix product over nothing",
            lambda t, F, x, y: x @ y,
            (np.zeros((2, 0), "float32"), np.zeros((0, 3), "float32")),
            (made(2, 3),),
            exact=True,
        ),
        Case("empty broadcast", lambda t, F, x, y: x * y, (none, made(1, 3)), (none,), exact=True),
        Case(
            "many dims",
            lambda t, F, x: x.permute(5, 4, 3, 2, 1, 0),
            (made(1, 2, 1, 2, 1, 2),),
            (made(2, 1, 2, 1, 2, 1),),
            exact=True,
        ),
        Case(
            "several results",
            lambda t, F, x: t.split(x, 2),
            (made(5),),
            (made(2), made(2, seed=1), made(1)),
            exact=True,
        ),
        Case(
            "values and indices", lambda t, F, x: x.max(1)[0], (array([[1, 5, 2], [7, 7, 3]]),), (made(2),), exact=True
        ),
        Case("a view of a view", lambda t, F, x: x.t()[1:, 0].reshape(2, 1), (made(2, 3),), (made(2, 1),), exact=True),
    ]


def _networks() -> list[Case]:
    classes = np.array([2, 0, 1, 2])
    image, kernel = made(2, 2, 5, 5), made(3, 2, 3, 3)
    return [
        Case(
            "linear and gelu",
            lambda t, F, x, w, b: F.gelu(F.linear(x, w, b)),
            (made(4, 3), made(5, 3), made(5)),
            (made(4, 5),),
        ),
        Case("softmax", lambda t, F, x: F.softmax(x, dim=1), (made(4, 3),), (made(4, 3, seed=1),)),
        Case("cross entropy", lambda t, F, x, y: F.cross_entropy(x, y), (made(4, 3), classes)),
        Case(
            "logistic loss",
            lambda t, F, x, w, b, y: F.binary_cross_entropy_with_logits(t.mv(x, w) + b, y),
            (made(4, 3), made(3), made(), array([0, 1, 1, 0])),
            constants=(0, 3),
        ),
        Case(
            "layer norm",
            lambda t, F, x, w, b: F.layer_norm(x, (3,), w, b),
            (made(4, 3, dtype="float64"), made(3, dtype="float64"), made(3, dtype="float64", seed=1)),
            (made(4, 3, dtype="float64", seed=1),),
        ),
        Case(
            "convolution and pooling",
            lambda t, F, x, w: F.max_pool2d(F.relu(F.conv2d(x, w)), 3),
            (image, kernel),
            (made(2, 3, 1, 1),),
        ),
        Case(
            "embedding",
            lambda t, F, w, i: F.embedding(i, w),
            (made(4, 3), np.array([1, 3, 1])),
            (made(3, 3),),
            exact=True,
        ),
        Case("mean squared error", lambda t, F, x, y: F.mse_loss(x, y), (made(3, 4), made(3, 4, seed=1))),
        Case("logsumexp", lambda t, F, x: t.logsumexp(x, 1), (made(3, 4),), (made(3),)),
        Case("cumulative sum", lambda t, F, x: t.cumsum(x, 0), (made(5),), (made(5, seed=1),), exact=True),
        Case("variance", lambda t, F, x: x.var(), (made(7, dtype="float64"),)),
        Case("einsum", lambda t, F, x, y: t.einsum("bij,bjk->ik", x, y), (made(2, 3, 2), made(2, 2, 3)), (made(3, 3),)),
        Case(
            "the tutorial",
            lambda t, F, x: ((x + 2.0) * (x + 2.0) * 3.0).mean(),
            (np.ones((2, 2), "float32"),),
            exact=True,
        ),
    ]


def _second() -> list[Case]:
    def case(name: str, f: Callable[..., Any], *arrays: np.ndarray, **fields: Any) -> Case:
        directions = tuple(made(*a.shape, dtype=a.dtype.name, seed=9) for a in arrays)
        return Case(name, f, arrays, order=2, directions=directions, **fields)

    x, w = made(4, 3, dtype="float64"), made(3, dtype="float64", seed=3)
    return [
        case("cubes", lambda t, F, x: (x * x * x).sum(), made(3), exact=True),
        case("a scalar", lambda t, F, x: t.exp(x * x), array(0.5, "float64")),
        case("a product", lambda t, F, x, y: (x * y * x).sum(), made(3), made(3, seed=1), exact=True),
        case("logsumexp", lambda t, F, x: t.logsumexp(x, 0), made(4, dtype="float64")),
        case("a small network", lambda t, F, x, w: t.tanh(x @ w).sum(), x, w),
        case("logistic loss", lambda t, F, w: F.softplus(w * 2.0).mean(), w),
        case("complex", lambda t, F, z: (z * z * z).abs().sum(), made(2, dtype="complex128") + 3),
        case("empty", lambda t, F, x: (x * x).sum(), np.zeros((0, 3), "float32"), exact=True),
    ]


FAMILIES: dict[str, tuple[str, Sequence[Case]]] = {
    "dtypes": ("Every dtype: arithmetic, conversion, promotion.", _by_dtype()),
    "special": ("NaN, infinities, signed zeros, subnormals; cotangents that are not finite.", _special()),
    "shapes": ("Scalars, empty tensors, broadcasting, views, several results, values no path leads to.", _shapes()),
    "networks": ("What models are made of.", _networks()),
    "second": ("Hessian-vector products: the gradient, recorded as a graph, and differentiated again.", _second()),
}


# --- recording --------------------------------------------------------------------------------------


class Recorder:
    """A session that keeps its requests, and answers them in process."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._local = LocalSession()

    def run(self, request: Request) -> Result:
        self.requests.append(request)
        return self._local.run(request)

    def explain(self, request: Request) -> str:
        return self._local.explain(request)

    def close(self) -> None:
        self._local.close()


def evaluate(
    t: Any, functional: Any, case: Case, tensors: Sequence[Any], into: Callable[[np.ndarray], Any]
) -> tuple[list[Any], list[Any]]:
    """Results and gradients of a case, as tensors of `t`; `into` makes a tensor of an array."""
    found = case.f(t, functional, *tensors)
    results = list(found) if isinstance(found, tuple) else [found]
    if case.order == 0:
        return results, []
    leaves = [tensors[i] for i in case.wrt]
    seeds = [None if g is None else into(g) for g in case.cotangents]
    second = case.order == 2
    grads = t.autograd.grad(results, leaves, seeds, create_graph=second, allow_unused=True)
    if second:
        results, grads = list(grads), t.autograd.grad(grads, leaves, [into(g) for g in case.directions])
    return results, list(grads)


def record(case: Case) -> tuple[Request, list[int]]:
    """The request the client makes of a case, its results among the graph's outputs; and which results those are."""
    if case.order:
        recorder = Recorder()
        _read(case, recorder, None)
        (request,) = recorder.requests
        graph = replace(request.graph, outputs=request.query.of, sources=())
        return replace(request, graph=graph), list(range(len(case.cotangents)))
    # Results are read one by one, each in a graph of its own, so that nothing depends on what is fused.
    requests, which = [], []
    for number in range(len(case.f(gm, functional, *map(gm.tensor, case.arrays)))):
        recorder = Recorder()
        _read(case, recorder, number)
        which += [number] * len(recorder.requests)  # None for a result that is the operand itself.
        requests += recorder.requests
    return _joined(requests), which


def _read(case: Case, recorder: Recorder, number: int | None) -> None:
    enter_session(recorder)
    try:
        wrt = case.wrt if case.order else []
        tensors = [gm.tensor(a, requires_grad=i in wrt) for i, a in enumerate(case.arrays)]
        results, grads = evaluate(gm, functional, case, tensors, gm.tensor)
        wanted = [g for g in grads if g is not None] if number is None else [results[number]]
        del results, grads
        for value in wanted:
            value.numpy()
    finally:
        leave_session(recorder)


def _joined(requests: Sequence[Request]) -> Request:
    """One request for the outputs of several; equal inputs become one."""
    inputs: list[np.ndarray] = []
    places = []
    for request in requests:
        names = [_place(inputs, each) for each in request.inputs]
        places.append(names)
    nodes: list[Node] = []
    outputs: list[int] = []
    for request, names in zip(requests, places, strict=True):
        number = [*names]
        for node in request.graph.nodes:
            number += range(len(inputs) + len(nodes), len(inputs) + len(nodes) + len(node.outputs))
            assert len(node.outputs) == 1
            nodes.append(replace(node, inputs=tuple(number[i] for i in node.inputs)))
        outputs += [number[i] for i in request.graph.outputs]
    specs = tuple(TensorSpec(each.shape, each.dtype) for each in inputs)
    return Request(Graph(specs, tuple(nodes), tuple(outputs)), tuple(inputs))


def _place(inputs: list[np.ndarray], each: np.ndarray) -> int:
    key = digest_of_array(each)
    for number, known in enumerate(inputs):
        if digest_of_array(known) == key:
            return number
    inputs.append(each)
    return len(inputs) - 1


# --- vectors ----------------------------------------------------------------------------------------


def vector_of(case: Case) -> dict[str, Any]:
    """The vector of a case, as it stands in the file."""
    request, _ = record(case)
    graph, query = request.graph, request.query
    result = LocalSession().run(request)
    message = pb.ComputeRequest(graph=_codec.encode_graph(graph), inputs=map(_codec.encode_array, request.inputs))
    cotangents = iter(request.cotangents)
    for value, given in zip(query.of, query.given, strict=True):
        cotangent = _codec.encode_array(next(cotangents)) if given else None
        message.of.append(pb.Objective(value=value, cotangent=cotangent))
    message.wrt.extend(query.wrt)
    message.want_grad_fns = case.order == 1
    reply = pb.ComputeResponse(outputs=map(_codec.encode_array, result.outputs))
    for gradient in result.gradients:
        reply.gradients.append(pb.Gradient(tensor=None if gradient is None else _codec.encode_array(gradient)))
    if case.order == 1:
        leaves = frozenset(query.wrt)
        reply.grad_fns.extend(_codec.encode_grad_fns(grad_fns(graph, leaves)))
    narrowest = max([TOLERANCES.get(spec.dtype.name, 0.0) for spec in graph.specs], default=0.0)
    vector: dict[str, Any] = {"name": case.name, "graph": _named(graph)}
    vector["inputDigests"] = [digest_of_array(each).hex() for each in request.inputs]
    vector["request"], vector["reply"] = json_format.MessageToDict(message), json_format.MessageToDict(reply)
    return vector if case.exact else {**vector, "tolerance": narrowest}


def _named(graph: Graph) -> dict[str, str]:
    return {"text": encode_canonical(graph).decode(), "digest": graph.digest.hex()}


def wire(values: Any, dtype: str = "float32") -> dict[str, Any]:
    """A tensor as JSON."""
    return json_format.MessageToDict(_codec.encode_array(array(values, dtype)))


def by_hand(name: str, graph: dict[str, Any], reply: dict[str, Any] | None, **fields: Any) -> dict[str, Any]:
    """A vector that is written down here: shapes of nodes, defaults, specs are left out as a person would."""
    decoded = _codec.decode_graph(json_format.ParseDict(graph, graph_pb.Graph()))
    request = {"graph": graph, **fields.pop("request", {})}
    return {"name": name, "graph": _named(decoded), **fields, "request": request, "reply": reply}


def blob(values: Any, dtype: str, shape: Sequence[int]) -> dict[str, Any]:
    """A large tensor, as the bytes that are repeated."""
    pattern = array(values, dtype)
    whole = np.resize(pattern, shape)
    spec = {"dtype": dtype, "shape": [str(n) for n in shape]}
    return {"spec": spec, "repeat": pattern.tobytes().hex(), "digest": digest_of_array(whole).hex()}


def named(whole: np.ndarray) -> dict[str, Any]:
    """A large tensor of a reply, as the digest of its content."""
    digest = base64.b64encode(digest_of_array(whole)).decode()
    return {"dtype": whole.dtype.name, "shape": [str(n) for n in whole.shape], "digest": digest}


def _protocol() -> list[dict[str, Any]]:
    f32, many = "float32", 1_000_000
    rows, squares = blob([1.0, 2.0, 4.0], "float64", (200_000, 3)), blob([1.0, -2.0], f32, (many,))
    digest = {
        key: base64.b64encode(bytes.fromhex(b["digest"])).decode() for key, b in (("rows", rows), ("squares", squares))
    }
    return [
        by_hand(
            "a value no path leads to",
            {"inputs": [{"dtype": f32}, {"dtype": f32}], "nodes": [{"op": "exp", "inputs": [0]}], "outputs": [2]},
            {"outputs": [wire(1.0)], "gradients": [{"tensor": wire(1.0)}, {}]},
            request={"inputs": [wire(0.0), wire(5.0)], "of": [{"value": 2}], "wrt": [0, 1]},
        ),
        by_hand(
            "the gradient of an intermediate value",
            {
                "inputs": [{"dtype": f32, "shape": [2]}],
                "nodes": [{"op": "neg", "inputs": [0]}, {"op": "mul", "inputs": [1, 1]}],
            },
            {"gradients": [{"tensor": wire([-4.0, 6.0])}, {"tensor": wire([4.0, -6.0])}]},
            request={"inputs": [wire([1.0, -3.0])], "of": [{"value": 2, "cotangent": wire([2.0, 1.0])}], "wrt": [1, 0]},
        ),
        by_hand(
            "several objectives add up",
            {"inputs": [{"dtype": f32}], "nodes": [{"op": "mul", "inputs": [0, 0]}, {"op": "neg", "inputs": [0]}]},
            {"gradients": [{"tensor": wire(11.0)}]},
            request={"inputs": [wire(3.0)], "of": [{"value": 1, "cotangent": wire(2.0)}, {"value": 2}], "wrt": [0]},
        ),
        by_hand(
            "a graph without nodes",
            {"inputs": [{"dtype": "bool", "shape": [2]}], "outputs": [0, 0]},
            {"outputs": [wire([True, False], "bool")] * 2},
            request={"inputs": [wire([True, False], "bool")]},
        ),
        by_hand(
            "numbers from a key",
            {
                "inputs": [{"dtype": "int64"}],
                "nodes": [{"op": "rand", "inputs": [0], "attrs": {"shape": {"intsValue": {"values": ["2", "3"]}}}}],
                "outputs": [1],
            },
            {"outputs": [wire(_drawn(7, (2, 3)))]},
            request={"inputs": [wire(7, "int64")]},
        ),
        by_hand(
            "a large input by digest",
            {
                "inputs": [{"dtype": "float64", "shape": [200_000, 3]}],
                "nodes": [{"op": "sum", "inputs": [0], "attrs": {"dim": {"intsValue": {"values": ["0"]}}}}],
                "outputs": [1],
            },
            {"outputs": [wire([2e5, 4e5, 8e5], "float64")]},
            blobs=[rows],
            request={"inputs": [{"digest": digest["rows"]}]},
        ),
        by_hand(
            "a large result by handle",
            {"inputs": [{"dtype": f32, "shape": [many]}], "nodes": [{"op": "neg", "inputs": [0]}], "outputs": [1]},
            {"outputs": [named(np.resize(array([-1.0, 2.0]), many))]},
            blobs=[squares],
            request={"inputs": [{"digest": digest["squares"]}]},
        ),
        by_hand(
            "a large gradient by handle",
            {
                "inputs": [{"dtype": f32, "shape": [many]}],
                "nodes": [{"op": "mul", "inputs": [0, 0]}, {"op": "sum", "inputs": [1]}],
                "outputs": [2],
            },
            {"outputs": [wire(2.5 * many)], "gradients": [{"tensor": named(np.resize(array([2.0, -4.0]), many))}]},
            blobs=[squares],
            request={"inputs": [{"digest": digest["squares"]}], "of": [{"value": 2}], "wrt": [0]},
        ),
    ]


def _drawn(key: int, shape: tuple[int, ...]) -> np.ndarray:
    """What `rand` makes of a key."""
    spec = TensorSpec(shape, dtypes.float32)
    node = Node("rand", (0,), (("dtype", "float32"), ("shape", shape)), (spec,))
    graph = Graph((TensorSpec((), dtypes.int64),), (node,), (1,))
    return LocalSession().run(Request(graph, (np.array(key),))).outputs[0]


def _errors() -> list[dict[str, Any]]:
    f32 = {"dtype": "float32", "shape": [2]}
    pair = wire([1.0, 2.0])
    exp = {"op": "exp", "inputs": [0], "source": "main.go:7"}

    def wrong(name: str, error: str, request: dict[str, Any], **fields: Any) -> dict[str, Any]:
        return {
            "name": name,
            "request": request,
            "error": {"status": all_errors()[error].status, "error": error, **fields},
        }

    def node(name: str, error: str, node: dict[str, Any], inputs: Sequence[Any] = (f32,)) -> dict[str, Any]:
        request = {"graph": {"inputs": [*inputs], "nodes": [{**node, "source": "main.go:7"}]}}
        return wrong(name, error, request, op=node["op"], node=0, source="main.go:7")

    def upload(name: str, error: str, *parts: dict[str, Any]) -> dict[str, Any]:
        return {**wrong(name, error, {}), "upload": [*parts]}

    graph = {"inputs": [f32], "nodes": [exp], "outputs": [1]}
    unknown = base64.b64encode(bytes(16)).decode()
    header = {"spec": {"dtype": "float32", "shape": ["2"]}, "length": "8"}
    chunk = {"chunk": pair["data"]}
    inverse = {"op": "linalg_inv_ex", "inputs": [0], "attrs": {"check": {"stringValue": "linalg.inv"}}}
    index = {"op": "index_select", "inputs": [0, 1], "attrs": {"dim": {"intValue": "0"}}, "source": "main.go:7"}
    return [
        node("no such operation", "UnknownOpError", {"op": "expo", "inputs": [0]}),
        node("too many operands", "ArityError", {"op": "exp", "inputs": [0, 0]}),
        node(
            "an unknown attribute",
            "AttributeTypeError",
            {"op": "exp", "inputs": [0], "attrs": {"base": {"intValue": "2"}}},
        ),
        node("a missing attribute", "AttributeTypeError", {"op": "softmax", "inputs": [0]}),
        node(
            "a mistyped attribute",
            "AttributeTypeError",
            {"op": "softmax", "inputs": [0], "attrs": {"dim": {"stringValue": "0"}}},
        ),
        node(
            "an attribute without a value", "AttributeTypeError", {"op": "softmax", "inputs": [0], "attrs": {"dim": {}}}
        ),
        node(
            "shapes that do not fit",
            "ShapeError",
            {"op": "add", "inputs": [0, 1]},
            (f32, {"dtype": "float32", "shape": [3]}),
        ),
        node(
            "a declared shape that is wrong",
            "ShapeError",
            {"op": "exp", "inputs": [0], "outputs": [{"dtype": "float32", "shape": [3]}]},
        ),
        node("a dtype that does not fit", "DTypeError", {"op": "bitwise_and", "inputs": [0, 0]}),
        node("a dim outside", "AxisError", {"op": "softmax", "inputs": [0], "attrs": {"dim": {"intValue": "1"}}}),
        node("a later value", "CycleError", {"op": "exp", "inputs": [1]}),
        wrong("an unknown dtype", "UnknownDTypeError", {"graph": {"inputs": [{"dtype": "float8"}]}}),
        wrong(
            "no cotangent for a matrix",
            "NotDifferentiableError",
            {"graph": graph, "inputs": [pair], "of": [{"value": 1}], "wrt": [0]},
        ),
        wrong(
            "a gradient of integers",
            "NotDifferentiableError",
            {"graph": {"inputs": [{"dtype": "int64"}]}, "inputs": [wire(1, "int64")], "of": [{"value": 0}], "wrt": [0]},
        ),
        wrong(
            "a gradient of no value",
            "InvalidGraphError",
            {"graph": graph, "inputs": [pair], "of": [{"value": 9}], "wrt": [0]},
        ),
        wrong("an input is missing", "MissingInputError", {"graph": graph}),
        wrong("an input too many", "MissingInputError", {"graph": graph, "inputs": [pair, pair]}),
        wrong("an input of another shape", "InputMismatchError", {"graph": graph, "inputs": [wire([1.0])]}),
        wrong(
            "an input of another dtype", "InputMismatchError", {"graph": graph, "inputs": [wire([1.0, 2.0], "float64")]}
        ),
        wrong("too few bytes", "LengthError", {"graph": graph, "inputs": [{**pair, "data": "AACAPw=="}]}),
        wrong("a negative dim", "LengthError", {"graph": {"inputs": [{"dtype": "float32", "shape": [-1]}]}}),
        wrong(
            "a truth value of 2",
            "InvalidRequestError",
            {"graph": {"inputs": [{"dtype": "bool"}], "outputs": [0]}, "inputs": [{"dtype": "bool", "data": "Ag=="}]},
        ),
        wrong("no graph", "InvalidRequestError", {}),
        wrong("no content", "InvalidRequestError", {"graph": graph, "inputs": [f32]}),
        wrong("an unknown graph", "GraphNotFoundError", {"graphDigest": unknown}),
        wrong("an unknown blob", "BlobNotFoundError", {"graph": graph, "inputs": [{"digest": unknown}]}),
        wrong("an unknown handle", "BlobNotFoundError", {"graph": graph, "inputs": [{"handle": unknown}]}),
        wrong(
            "an index outside",
            "OutOfRangeError",
            {
                "graph": {"inputs": [f32, {"dtype": "int64", "shape": [1]}], "nodes": [index], "outputs": [2]},
                "inputs": [pair, wire([2], "int64")],
            },
        ),
        wrong(
            "a singular matrix",
            "LinAlgError",
            {
                "graph": {"inputs": [{"dtype": "float32", "shape": [1, 1]}], "nodes": [inverse], "outputs": [1]},
                "inputs": [wire([[0.0]])],
            },
        ),
        upload("an upload that ends early", "TruncatedUploadError", {"header": header}, {"chunk": "AACAPw=="}),
        upload("an upload that is too long", "LengthError", {"header": header}, chunk, chunk),
        upload("an upload of another length than its spec", "LengthError", {"header": {**header, "length": "9"}}),
        upload("an upload of other content", "DigestMismatchError", {"header": {**header, "digest": unknown}}, chunk),
        upload("an upload without a header", "InvalidRequestError", chunk),
    ]


def make() -> dict[str, str]:
    """The text of every file, by name."""
    families = {name: (about, [vector_of(case) for case in cases]) for name, (about, cases) in FAMILIES.items()}
    families["protocol"] = ("Gradients, blobs and handles through hand-written requests.", _protocol())
    families["errors"] = ("Requests that are wrong, and the errors they end in.", _errors())
    return {
        f"{name}.json": json.dumps({"about": about, "vectors": vectors}, indent=1) + "\n"
        for name, (about, vectors) in families.items()
    }


if __name__ == "__main__":
    for file, text in make().items():
        (FOLDER / file).write_text(text)
