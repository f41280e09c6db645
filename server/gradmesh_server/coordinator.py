"""The way of a request: decode, check, admit, plan, run, encode. Knows nothing of gRPC."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, TypeAlias, TypeVar

import numpy as np

from gradmesh import _codec
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import graph_pb2 as graph_pb
from gradmesh.v1 import tensor_pb2 as tensor_pb
from gradmesh_engine.backend import Backend, Operand, Outcome, Pieces, Tensor
from gradmesh_engine.budget import Budget, spending
from gradmesh_engine.check import check
from gradmesh_engine.errors import (
    CancelledError,
    GradmeshError,
    GraphNotFoundError,
    GraphTooLargeError,
    InputMismatchError,
    InvalidRequestError,
    LimitError,
    MemoryLimitError,
)
from gradmesh_engine.graph import DIGEST_BYTES, Graph
from gradmesh_engine.plan import plan_text
from gradmesh_engine.program import Program, ProgramCache, arrays_of, grad_fns
from gradmesh_engine.session import GradFn, Query, Request
from gradmesh_engine.threads import available
from gradmesh_server.blobs import BlobStore, spec_of_tensor, stored_name
from gradmesh_server.config import Config
from gradmesh_server.inline import INLINE, InlineBackend, run_here
from gradmesh_server.metrics import CacheUse
from gradmesh_server.recall import Recall, Written
from gradmesh_server.telemetry import ANONYMOUS, current_call

logger = logging.getLogger("gradmesh.server")

WORKERS: Final = "workers"
HIT: Final = "hit"

# Graph messages up to this size are decoded and checked on the event loop: a fraction of a millisecond.
_SMALL_GRAPH_BYTES: Final = 4096

# Steps of checking a graph on the event loop: some milliseconds. One that takes more is checked elsewhere.
_LOOP_STEPS: Final = 500

# Nodes of a program that may run on the event loop: each is a call or two of a microsecond.
_LOOP_NODES: Final = 64

# So many principals' empty rooms are kept.
_ROOMS: Final = 256

_T = TypeVar("_T")
_Computes: TypeAlias = "pb.ComputeRequest | pb.ExplainRequest"


class _Room:
    """The graphs and programs of one principal.

    None are shared: source lines come back with them, and finding one tells that someone has used it.
    """

    def __init__(self, capacity: int) -> None:
        self.graphs: OrderedDict[bytes, Graph] = OrderedDict()
        self.cache = ProgramCache(capacity)
        self.programs: OrderedDict[tuple[bytes, Query], Program] = OrderedDict()


class Coordinator:
    """Answers requests with a backend's help. All methods run on the event loop and never block it."""

    def __init__(self, config: Config, backend: Backend | None, blobs: BlobStore) -> None:
        """`backend` is None when everything runs in the coordinator's own process."""
        self._config = config
        self._backend = backend
        self._blobs = blobs
        self._inline = InlineBackend(available())
        # Compiling and checking: away from the loop, and from the threads that compute.
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="gradmesh-plan")
        self._rooms: dict[str, _Room] = {}
        # Keys of programs that may run on the event loop.
        self._quick: set[bytes] = set()
        self._recall = Recall(config.programs)
        self._graph_nodes = 0
        self._program_nodes = 0
        self.graph_uses = CacheUse()
        self.program_uses = CacheUse()

    @property
    def graphs(self) -> int:
        """Number of graphs known by digest."""
        return sum([len(room.graphs) for room in list(self._rooms.values())])

    @property
    def programs(self) -> int:
        """Number of compiled programs."""
        return sum([len(room.cache) for room in list(self._rooms.values())])

    def recall(self, content: bytes, owner: str = ANONYMOUS) -> Written | None:
        """The reply to a message that has been answered before with other tensors, of microseconds; None for any other.

        Everything but the content of its tensors was checked then. None as well where running fails.
        """
        begin = time.perf_counter()
        known = self._recall.find(owner, content)
        if known is None:
            return None
        room, key, program = self._rooms.get(owner), known.key, known.program
        if room is None or key[0] not in room.graphs or room.programs.get(key) is not program:
            self._recall.forget(owner, content)
            return None
        arrays = known.arrays(content)
        decoded = time.perf_counter()
        room.graphs.move_to_end(key[0])
        room.programs.move_to_end(key)
        planned = time.perf_counter()
        try:
            outputs = program.run(arrays)
        except Exception:  # The ordinary way says what is wrong, a defect included.
            return None
        self.graph_uses.hits += 1
        self.program_uses.hits += 1
        return known.written(outputs, begin, decoded, planned)

    def learn(self, content: bytes, request: pb.ComputeRequest, response: pb.ComputeResponse, owner: str) -> None:
        """Be able to recall a message that `compute_now` has answered."""
        tensors = _tensors_of(request)
        results = [*response.outputs, *[gradient.tensor for gradient in response.gradients]]
        if any([t.WhichOneof("content") not in ("data", None) for t in results]) or not tensors:
            return
        room = self._rooms.get(owner)
        key = request.graph_digest, _query_of(request)
        program = None if room is None else room.programs.get(key)
        if program is not None and program.key in self._quick and all(map(_codec.is_plain, tensors)):
            arrays = list(map(_codec.decode_array, tensors))
            self._recall.learn(owner, content, arrays, key, program, response)

    def compute_now(self, request: pb.ComputeRequest, owner: str = ANONYMOUS) -> pb.ComputeResponse | None:
        """The reply to a request of microseconds whose graph, plan and tensors are all here; None for any other.

        Going to a thread and back, or through a queue, would take longer than such a request does.
        Raises GradmeshError subclasses for what is the request's fault.
        """
        room = self._rooms.get(owner)
        graph = None if room is None else room.graphs.get(request.graph_digest)
        if room is None or graph is None:
            return None
        times = [0.0, time.perf_counter()]
        self._check_counts(request)
        query = _query_of(request)
        program = room.programs.get((graph.digest, query))
        if program is None or program.key not in self._quick:
            return None
        arrays = []
        for tensor in _tensors_of(request):
            if tensor.WhichOneof("content") != "data":
                return None
            arrays.append(_codec.decode_array(tensor))
        count = len(request.inputs)
        times.append(time.perf_counter())
        arrays = arrays_of(program, Request(graph, tuple(arrays[:count]), query, tuple(arrays[count:])))
        room.graphs.move_to_end(graph.digest)
        room.programs.move_to_end((graph.digest, query))
        self.graph_uses.hits += 1
        self.program_uses.hits += 1
        times.append(time.perf_counter())
        ran = run_here(program, [Operand(array) for array in arrays])
        times.append(time.perf_counter())
        return self._reply(request, program, ran, HIT, INLINE, times, owner)

    async def compute(
        self, request: pb.ComputeRequest, deadline: float, waited: float, owner: str = ANONYMOUS
    ) -> pb.ComputeResponse:
        """Run a request. Raises GradmeshError subclasses for what is the request's fault.

        Args:
            request: the message.
            deadline: on the clock of time.monotonic().
            waited: seconds the request waited for its turn.
            owner: the principal it is for.
        """
        times = [waited, time.perf_counter()]
        room = self._room(owner)
        self._check_counts(request)
        graph, fresh = await self._graph_of(request, room)
        used: list[bytes] = []
        try:
            names, engine_request = await self._operands(request, graph, used, owner)
            times.append(time.perf_counter())
            program, outcome = await self._program(graph, engine_request.query, room)
            try:
                self._check_plan(program)
                arrays = arrays_of(program, engine_request)
            except GradmeshError:
                if outcome != HIT:
                    self._forget(program, room)
                raise
            operands = [Operand(array, name) for array, name in zip(arrays, names, strict=True)]
            times.append(time.perf_counter())
            if fresh:
                self._remember(graph, room)
            where = self._place(program)
            ran = await self._run(program, operands, where, deadline)
            call = current_call()
            if call is not None:
                call.stages = ran.stages
        except GradmeshError as error:
            # A worker that runs the same program for several principals may name another's line.
            if error.node >= 0:
                error.source = graph.source(error.node)
            raise
        finally:
            for handle in used:
                self._blobs.drop(handle)
        times.append(time.perf_counter())
        return self._reply(request, program, ran, outcome, where, times, owner)

    async def explain(self, request: pb.ExplainRequest, owner: str = ANONYMOUS) -> pb.ExplainResponse:
        """Plan a request, and say how it would run."""
        room = self._room(owner)
        self._check_counts(request)
        graph, fresh = await self._graph_of(request, room)
        program, _ = await self._program(graph, _query_of(request), room)
        if fresh:
            self._remember(graph, room)
        where = self._place(program)
        plan = program.plan
        workers = len(self._backend.workers()) if self._backend is not None else 0
        place = (
            "inline, in the coordinator's process" if where == INLINE else f"on {workers} worker{'s' * (workers != 1)}"
        )
        return pb.ExplainResponse(
            text=f"{plan_text(plan)}\nruns {place}",
            where=where,
            peak_bytes=plan.peak_bytes,
            flops=plan.flops,
            result_bytes=plan.output_bytes,
            graph_digest=graph.digest,
        )

    async def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        await self._inline.close()

    # --- steps, in order --------------------------------------------------------------------------

    def _room(self, owner: str) -> _Room:
        room = self._rooms.get(owner)
        if room is None:
            if len(self._rooms) >= _ROOMS:
                for name in [name for name, old in self._rooms.items() if not old.graphs and not old.programs]:
                    del self._rooms[name]
            room = self._rooms[owner] = _Room(self._config.programs)
        return room

    def _check_counts(self, request: _Computes) -> None:
        """Raises LimitError for more tensors than one request may be about."""
        counts = {
            "inputs": len(request.graph.inputs),
            "results": len(request.graph.outputs) + len(request.wrt),
            "objectives": len(request.of),
        }
        if isinstance(request, pb.ComputeRequest):
            counts["tensors"] = len(request.inputs)
        for what, count in counts.items():
            if count > self._config.max_tensors:
                raise LimitError(
                    f"the request has too many {what}",
                    expected=f"at most {self._config.max_tensors}",
                    got=str(count),
                    remedy="compute in several requests, or raise the server's limit max_tensors",
                )

    async def _graph_of(self, request: _Computes, room: _Room) -> tuple[Graph, bool]:
        """The graph a request is about, and whether it is not remembered yet."""
        source = request.WhichOneof("graph_source")
        if source is None:
            raise InvalidRequestError("the request has no graph", expected="graph or graph_digest", got="neither")
        if source == "graph_digest":
            digest = request.graph_digest
            found = room.graphs.get(digest)
            if found is None:
                check_name(digest, "graph_digest")
                self.graph_uses.misses += 1
                raise GraphNotFoundError(
                    "the server knows no graph of this digest", got=digest.hex(), remedy="send the graph itself"
                )
            room.graphs.move_to_end(digest)
            self.graph_uses.hits += 1
            return found, False
        message = request.graph
        if len(message.nodes) > self._config.max_graph_nodes:
            raise GraphTooLargeError(
                "the graph has too many nodes",
                expected=f"at most {self._config.max_graph_nodes} nodes",
                got=f"{len(message.nodes)} nodes",
                remedy="compute in several requests, or raise the server's limit",
            )
        nbytes = message.ByteSize()
        if nbytes > self._config.max_graph_bytes:
            raise GraphTooLargeError(
                "the graph has too many bytes",
                expected=f"at most {self._config.max_graph_bytes} bytes",
                got=f"{nbytes} bytes",
                remedy="send tensors as inputs rather than as attributes, or raise the server's limit",
            )
        if nbytes <= _SMALL_GRAPH_BYTES:
            budget = Budget(_LOOP_STEPS)
            try:
                with spending(budget):
                    return _decode_and_check(message, self._config), True
            except GraphTooLargeError:
                if not budget.overdrawn:
                    raise
        return await self._planned(lambda: _decode_and_check(message, self._config)), True

    def _remember(self, graph: Graph, room: _Room) -> None:
        known = room.graphs.get(graph.digest)
        self._graph_nodes += len(graph.nodes) - (0 if known is None else len(known.nodes))
        room.graphs[graph.digest] = graph
        room.graphs.move_to_end(graph.digest)
        while self.graphs > self._config.graphs or self._graph_nodes > self._config.cached_nodes:
            # Whoever has most makes room.
            fullest = max(self._rooms.values(), key=lambda r: len(r.graphs))
            _, dropped = fullest.graphs.popitem(last=False)
            self._graph_nodes -= len(dropped.nodes)
            self.graph_uses.evictions += 1

    async def _operands(
        self, request: pb.ComputeRequest, graph: Graph, used: list[bytes], owner: str
    ) -> tuple[list[bytes], Request]:
        """The request with its arrays, and the name of each, b"" for those that came inline.

        The handles they came by are appended to `used`.
        """
        count = len(request.inputs)
        names: list[bytes] = []
        arrays: list[np.ndarray] = []
        for number, tensor in enumerate(_tensors_of(request)):
            if tensor.WhichOneof("content") == "data":
                names.append(b"")
                arrays.append(_codec.decode_array(tensor))
                continue
            name, stored = self._stored(tensor, number, used, owner)
            names.append(name)
            arrays.append(await self._away(stored.assemble) if isinstance(stored, Pieces) else stored)
        return names, Request(graph, tuple(arrays[:count]), _query_of(request), tuple(arrays[count:]))

    def _stored(self, tensor: tensor_pb.Tensor, number: int, used: list[bytes], owner: str) -> tuple[bytes, Tensor]:
        """Name and content of a tensor that was uploaded before."""
        stored: Tensor
        content = tensor.WhichOneof("content")
        if content is None:
            raise InvalidRequestError(
                f"tensor {number} of the request has no content", expected="data, digest or handle", got="none"
            )
        if content == "digest":
            check_name(tensor.digest, "digest")
            name = stored_name(owner, tensor.digest)
            stored = self._blobs.get(tensor.digest, owner)
        else:
            name = tensor.handle
            check_name(name, "handle")
            stored = self._blobs.peek(name, owner)
            used.append(name)
        if tensor.dtype:
            said = _codec.spec_of(tensor.dtype, tuple(tensor.shape))
            if said != spec_of_tensor(stored):
                raise InputMismatchError(
                    f"tensor {number} is not stored as the request says",
                    expected=str(spec_of_tensor(stored)),
                    got=str(said),
                )
        return name, stored

    async def _program(self, graph: Graph, query: Query, room: _Room) -> tuple[Program, str]:
        key = graph.digest, query
        found = room.programs.get(key)
        if found is not None:
            room.programs.move_to_end(key)
            self.program_uses.hits += 1
            return found, HIT
        program, outcome = await self._planned(lambda: room.cache.get(graph, query))
        self.program_uses.hits += outcome == HIT
        self.program_uses.misses += outcome != HIT
        known = room.programs.get(key)
        self._program_nodes += _nodes_of(program) - (0 if known is None else _nodes_of(known))
        room.programs[key] = program
        while True:
            too_many = sum([len(r.programs) for r in self._rooms.values()]) > self._config.programs
            too_large = self._program_nodes > self._config.cached_nodes
            if not too_many and not too_large:
                return program, outcome
            fullest = max(self._rooms.values(), key=lambda r: len(r.programs))
            _, dropped = fullest.programs.popitem(last=False)
            self._program_nodes -= _nodes_of(dropped)
            # Alone, a room's cache has the same bound on their number, and remembers what it dropped.
            if too_large or len(self._rooms) > 1:
                fullest.cache.forget(dropped)
            self._quick.discard(dropped.key)
            self.program_uses.evictions += 1

    def _forget(self, program: Program, room: _Room) -> None:
        """Keep nothing of a request that turned out to be bad."""
        dropped = room.programs.pop((program.graph.digest, program.query), None)
        if dropped is not None:
            self._program_nodes -= _nodes_of(dropped)
        room.cache.forget(program)

    def _check_plan(self, program: Program) -> None:
        plan = program.plan
        if plan.flops > self._config.max_flops:
            raise LimitError(
                "the request needs more floating point operations than the server grants one request",
                expected=f"at most {self._config.max_flops:g}",
                got=f"{plan.flops:g}",
                remedy="compute less at once, or raise the server's limit max_flops",
            )
        need = plan.output_bytes + plan.peak_bytes
        if need > self._config.max_request_bytes:
            raise MemoryLimitError(
                "the request needs more memory than the server grants one request",
                expected=f"at most {self._config.max_request_bytes} bytes",
                got=f"{plan.output_bytes} bytes of results and {plan.peak_bytes} bytes while it runs",
                remedy="ask for fewer or smaller results, or raise the server's limit",
            )

    def _place(self, program: Program) -> str:
        """Where a program runs. A rule of the program alone, so that it runs at the same place each time."""
        if self._backend is None:
            return INLINE
        if self._config.inline == "auto" and _cost(program) <= self._config.inline_cost:
            return INLINE
        return WORKERS

    async def _run(self, program: Program, operands: Sequence[Operand], where: str, deadline: float) -> Outcome:
        if where == WORKERS:
            assert self._backend is not None
            return await self._backend.run(program, operands, deadline=deadline)
        outcome = await self._inline.run(program, operands, deadline=deadline)
        # Not before the first run, which compiles: that takes milliseconds.
        if _cost(program) <= self._config.loop_cost and len(program.plan.graph.nodes) <= _LOOP_NODES:
            self._quick.add(program.key)
        return outcome

    def _reply(
        self,
        request: pb.ComputeRequest,
        program: Program,
        ran: Outcome,
        cache: str,
        where: str,
        times: Sequence[float],
        owner: str,
    ) -> pb.ComputeResponse:
        """The reply; `times` are the seconds waited, and when each phase so far began."""
        tensors = self._encode(request, ran, owner)
        count = len(program.graph.outputs)
        gradients = iter(tensors[count:])
        waited, begin, decoded, planned, done = times
        plan = program.plan
        split = plan.split
        return pb.ComputeResponse(
            outputs=tensors[:count],
            gradients=[pb.Gradient(tensor=next(gradients)) if c else pb.Gradient() for c in program.connected],
            grad_fns=_codec.encode_grad_fns(placed_grad_fns(program, ran)) if request.want_grad_fns else (),
            graph_digest=program.graph.digest,
            stats=pb.Stats(
                cache=cache,
                where=where,
                stages=len(plan.stages),
                blocks=1 if split is None else split.blocks,
                groups=1 if split is None else split.groups,
                workers=len({worker for stage in ran.stages for worker in stage.workers}),
                wait_seconds=waited,
                decode_seconds=decoded - begin,
                plan_seconds=planned - decoded,
                run_seconds=done - planned,
                encode_seconds=time.perf_counter() - done,
                placed_bytes=ran.placed_bytes,
                peak_bytes=plan.peak_bytes,
                flops=plan.flops,
            ),
        )

    def _encode(self, request: pb.ComputeRequest, ran: Outcome, owner: str) -> list[tensor_pb.Tensor]:
        """The messages of the results: small ones inline, others held for a download."""
        limit = self._config.inline_result_bytes
        if request.inline_result_bytes:
            limit = min(limit, request.inline_result_bytes)
        # All inline results together have to fit one message.
        budget = self._config.max_message_bytes // 2
        held: list[bytes] = []
        tensors: list[tensor_pb.Tensor] = []
        try:
            for output in ran.outputs:
                nbytes = output.spec.nbytes if isinstance(output, Pieces) else output.nbytes
                if nbytes <= min(limit, budget):
                    budget -= nbytes
                    tensors.append(_codec.encode_array(_whole(output)))
                else:
                    tensors.append(self._hold(output, held, owner))
        except BaseException:
            for handle in held:
                self._blobs.drop(handle)
            raise
        return tensors

    def _hold(self, tensor: Tensor, held: list[bytes], owner: str) -> tensor_pb.Tensor:
        spec = spec_of_tensor(tensor)
        handle = self._blobs.hold(tensor, owner)
        held.append(handle)
        return tensor_pb.Tensor(dtype=spec.dtype.name, shape=spec.shape, handle=handle)

    async def _planned(self, work: Callable[[], _T]) -> _T:
        """What `work` on a graph gives, on another thread, within the limit; it stops when nobody waits for it."""
        stopped = threading.Event()

        def checkpoint() -> None:
            if stopped.is_set():
                raise CancelledError("the call was cancelled")

        def bounded() -> _T:
            with spending(Budget(self._config.max_planning_steps, checkpoint)):
                checkpoint()
                return work()

        try:
            return await self._away(bounded)
        finally:
            stopped.set()

    async def _away(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def placed_grad_fns(program: Program, ran: Outcome) -> tuple[GradFn, ...]:
    """Metadata of the graph's differentiable nodes, with the stages and workers that ran them."""
    query = program.query
    inputs = len(program.graph.inputs)
    # Asked for gradients of inputs only, those are the leaves; otherwise every input may be one.
    leaves = frozenset(query.wrt) if query.wrt and all(v < inputs for v in query.wrt) else None
    stages: dict[int, set[int]] = {}
    for stage in program.plan.stages:
        for index in (*stage.whole, *stage.body):
            stages.setdefault(program.plan.graph.nodes[index].origin, set()).add(stage.index)
    placed = []
    for fn in grad_fns(program.graph, leaves):
        ran_in = tuple(sorted(stages.get(fn.node, ())))
        workers = {worker: None for stage in ran_in if stage < len(ran.stages) for worker in ran.stages[stage].workers}
        placed.append(replace(fn, stages=ran_in, workers=tuple(workers)))
    return tuple(placed)


def _decode_and_check(message: graph_pb.Graph, config: Config) -> Graph:
    for number, node in enumerate(message.nodes):
        if len(node.inputs) > config.max_tensors:
            raise LimitError(
                "the operation has too many operands",
                op=node.op,
                node=number,
                source=node.source,
                expected=f"at most {config.max_tensors}",
                got=str(len(node.inputs)),
                remedy="join them in several steps, or raise the server's limit max_tensors",
            )
        for name, attr in node.attrs.items():
            if attr.ByteSize() > config.max_attribute_bytes:
                raise GraphTooLargeError(
                    f"the attribute {name} has too many bytes",
                    op=node.op,
                    node=number,
                    expected=f"at most {config.max_attribute_bytes} bytes",
                    got=f"{attr.ByteSize()} bytes",
                    remedy="send tensors as inputs rather than as attributes, or raise the server's limit",
                )
    graph = _codec.decode_graph(message)
    check(graph)
    first = len(graph.inputs)
    for value, spec in enumerate(graph.specs):
        if len(spec.shape) > config.max_rank or math.prod(spec.shape) > config.max_elements:
            dims = len(spec.shape) > config.max_rank
            number = next((i for i, outs in enumerate(_first_values(graph)) if value < outs), -1)
            raise LimitError(
                f"{'input' if value < first else 'value'} {value} has too many {'dims' if dims else 'elements'}",
                op=graph.nodes[number].op if value >= first else "",
                node=number if value >= first else -1,
                source=graph.source(number) if value >= first else "",
                expected=f"at most {config.max_rank if dims else config.max_elements}",
                got=str(len(spec.shape) if dims else math.prod(spec.shape)),
                remedy="use smaller tensors, or raise the server's limit",
            )
    return graph


def _first_values(graph: Graph) -> Iterator[int]:
    """For each node the number of the first value behind its own."""
    count = len(graph.inputs)
    for node in graph.nodes:
        count += len(node.outputs)
        yield count


def _tensors_of(request: pb.ComputeRequest) -> list[tensor_pb.Tensor]:
    """The inputs, then the given cotangents."""
    return [*request.inputs, *[objective.cotangent for objective in request.of if objective.HasField("cotangent")]]


def _query_of(request: _Computes) -> Query:
    return Query(
        tuple([objective.value for objective in request.of]),
        tuple(request.wrt),
        tuple([objective.HasField("cotangent") for objective in request.of]),
        tuple(request.segments),
    )


def check_name(name: bytes, field: str) -> None:
    """Raises InvalidRequestError unless `name` can be a digest or handle."""
    if len(name) != DIGEST_BYTES:
        raise InvalidRequestError(
            f"{field} is not a name",
            expected=f"{DIGEST_BYTES} bytes",
            got=f"{len(name)} bytes",
            remedy="see the contract",
        )


def _nodes_of(program: Program) -> int:
    return len(program.graph.nodes) + len(program.plan.graph.nodes)


def _cost(program: Program) -> float:
    return program.plan.flops + program.plan.touched_bytes


def _whole(tensor: Tensor) -> np.ndarray:
    return tensor.assemble() if isinstance(tensor, Pieces) else tensor
