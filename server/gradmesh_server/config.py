"""Everything about a coordinator that can be set, in one frozen value. Settings are declared here and nowhere else."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh_engine.errors import InvalidRequestError
from gradmesh_engine.threads import available

MIB = 1 << 20
GIB = 1 << 30

_T = TypeVar("_T")


def _set(
    default: _T,
    doc: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    kind: str = "",
) -> _T:
    """One setting at the top level of the file."""
    facts = {"doc": doc, "least": least, "most": most, "choices": choices, "kind": kind, "table": ""}
    return dataclasses.field(default=default, metadata=facts)


def _limit(default: _T, doc: str, *, least: float | None = 1, kind: str = "") -> _T:
    """One setting in the file's table `limits`."""
    facts = {"doc": doc, "least": least, "most": None, "choices": (), "kind": kind, "table": "limits"}
    return dataclasses.field(default=default, metadata=facts)


@dataclass(frozen=True, slots=True)
class Config:
    """Address, credentials, limits and times of one coordinator. docs/configuration.md lists the settings.

    Raises InvalidRequestError, naming the setting, for a value outside what is allowed.
    """

    host: str = _set("127.0.0.1", "interface to listen on; other than loopback needs TLS and authentication")
    port: int = _set(50051, "port to listen on; 0 picks a free one", least=0, most=65535)
    workers: int = _set(2, "Ray workers; 0 computes in the coordinator's process", least=0)
    ray_address: str = _set("", "an existing Ray cluster to use; a local one is started if not")
    inline: Literal["auto", "never"] = _set(
        "auto", "whether small graphs may run in the coordinator's process", choices=("auto", "never")
    )
    inline_cost: float = _set(2e7, "greatest cost, in FLOPs and bytes moved, that `auto` runs inline", least=0)
    loop_cost: float = _set(2e4, "greatest cost that runs without leaving the event loop", least=0)

    tls_cert: str = _set("", "file of the server's certificate chain (PEM)", kind="file")
    tls_key: str = _set("", "file of the certificate's private key (PEM)", kind="file")
    tls_client_ca: str = _set("", "file of the authorities whose client certificates are required (PEM)", kind="file")
    tokens: str = _set("", "file of the salted hashes of bearer tokens; see `gradmesh token`", kind="file")
    insecure: bool = _set(
        False,
        "listen on other interfaces than loopback although TLS or authentication is missing: "
        "whoever reaches the port may read the traffic or use the service",
    )

    metrics_port: int | None = _set(
        None, "port of /metrics and /healthz over HTTP; 0 picks a free one, absent: off", least=0, most=65535
    )
    metrics_host: str = _set("127.0.0.1", "interface of that port")
    health_port: int | None = _set(
        None,
        "port of `host` that answers gRPC health checks and nothing else, without TLS, which probes of Kubernetes "
        "cannot speak; 0 picks a free one, absent: off",
        least=0,
        most=65535,
    )
    log_level: str = _set("warning", "least level that is logged", choices=("debug", "info", "warning", "error"))
    log_format: Literal["json", "text"] | None = _set(
        None,
        "how log lines look, with one for each request; absent: text, and none for requests",
        choices=("json", "text"),
    )
    drain_seconds: float = _set(30.0, "how long running requests may take to finish on SIGTERM", least=0)

    max_message_bytes: int = _limit(16 * MIB, "of one message, in either direction", least=1024, kind="bytes")
    max_graph_nodes: int = _limit(100_000, "of one graph")
    max_graph_bytes: int = _limit(8 * MIB, "of one serialised graph", kind="bytes")
    max_attribute_bytes: int = _limit(MIB // 4, "of one serialised attribute of a node", kind="bytes")
    max_tensors: int = _limit(
        16384, "inputs of one request, its results, what it differentiates; operands of one operation"
    )
    max_planning_steps: int = _limit(
        2_000_000, "of checking and planning one graph, each some microseconds, for a primitive operation"
    )
    max_rank: int = _limit(32, "dims of any tensor of a graph")
    max_elements: int = _limit(1 << 34, "of any tensor of a graph, stored or not")
    max_tensor_bytes: int = _limit(4 * GIB, "of one uploaded tensor", kind="bytes")
    max_request_bytes: int = _limit(8 * GIB, "results and planned peak of one request", kind="bytes")
    max_flops: float = _limit(1e16, "planned floating point operations of one request")
    max_seconds: float = _limit(3600.0, "of one request, waiting included; a longer deadline is cut", least=0.001)
    default_timeout_seconds: float = _limit(600.0, "for calls that come without a deadline", least=0.001)

    max_running: int = _limit(max(4, 2 * available()), "requests that run at once")
    max_waiting: int = _limit(256, "requests that wait for their turn", least=0)
    max_wait_seconds: float = _limit(
        0.002,
        "where requests wait all the time: how long one may wait, by what the latest took; one may always wait",
        least=0,
    )
    max_waiting_bytes: int = _limit(256 * MIB, "messages of the requests that wait", kind="bytes")
    max_uploads: int = _limit(64, "uploads in progress at once")
    max_stored_bytes: int = _limit(8 * GIB, "of all stored tensors and uploads in progress", kind="bytes")

    principal_running: int = _limit(0, "requests of one principal that run at once; 0: as max_running", least=0)
    principal_waiting: int = _limit(0, "requests of one principal that wait; 0: as max_waiting", least=0)
    principal_uploads: int = _limit(16, "uploads of one principal in progress; 0: as max_uploads", least=0)
    principal_stored_bytes: int = _limit(
        4 * GIB, "stored tensors of one principal; 0: as max_stored_bytes", least=0, kind="bytes"
    )

    graphs: int = _limit(1024, "graphs remembered by digest")
    programs: int = _limit(512, "compiled programs remembered")
    cached_nodes: int = _limit(1_000_000, "operations of all the graphs and programs remembered, about 4 KiB each")
    inline_result_bytes: int = _limit(2 * MIB, "results of more bytes come back as handles", least=0, kind="bytes")
    adopt_bytes: int = _limit(8 * MIB, "uploads of at least this size go to the workers' shared memory", kind="bytes")
    handle_ttl_seconds: float = _limit(120.0, "how long a result waits to be downloaded", least=0.001)
    upload_idle_seconds: float = _limit(30.0, "how long an upload may pause", least=0.001)

    def __post_init__(self) -> None:
        for setting in SETTINGS.values():
            setting.check(getattr(self, setting.name), "given to Config")

    @property
    def authenticates(self) -> bool:
        """Whether callers have to say who they are."""
        return bool(self.tokens or self.tls_client_ca)

    def check_together(self) -> None:
        """Raises InvalidRequestError for settings that contradict each other, or would open the service by mistake."""
        if bool(self.tls_cert) != bool(self.tls_key):
            missing, given = ("tls_key", "tls_cert") if self.tls_cert else ("tls_cert", "tls_key")
            raise InvalidRequestError(
                f"{given} is set and {missing} is not",
                expected="a certificate and its key, or neither",
                remedy=f"set {missing} too",
            )
        if self.tls_client_ca and not self.tls_cert:
            raise InvalidRequestError(
                "tls_client_ca is set, but the server has no certificate of its own",
                expected="tls_cert and tls_key beside it",
                remedy="set them, or leave tls_client_ca out",
            )
        if not is_loopback(self.host) and not self.insecure:
            lacks = [
                name for name, given in (("TLS", self.tls_cert), ("authentication", self.authenticates)) if not given
            ]
            if lacks:
                raise InvalidRequestError(
                    f"host {self.host} can be reached from other machines, and there is no {' and no '.join(lacks)}",
                    expected="a loopback host, or tls_cert, tls_key and one of tokens and tls_client_ca",
                    got=self.host,
                    remedy="set them; or allow it with --insecure: then whoever reaches the port may "
                    + " and ".join(
                        what
                        for what, given in (
                            ("read the traffic", self.tls_cert),
                            ("use the service", self.authenticates),
                        )
                        if not given
                    ),
                )

    def limits(self) -> pb.Limits:
        """What clients are told."""
        return pb.Limits(
            max_message_bytes=self.max_message_bytes,
            max_graph_nodes=self.max_graph_nodes,
            max_graph_bytes=self.max_graph_bytes,
            max_request_bytes=self.max_request_bytes,
            max_tensor_bytes=self.max_tensor_bytes,
            max_stored_bytes=self.max_stored_bytes,
            max_running=self.max_running,
            max_waiting=self.max_waiting,
            inline_result_bytes=self.inline_result_bytes,
            handle_ttl_seconds=self.handle_ttl_seconds,
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of Config.

    Attributes:
        name: of the field, and its key in the file.
        type: "int", "float", "bool" or "str".
        default: its value when nothing sets it.
        doc: what it means, in one line.
        least: smallest value allowed, or None.
        most: greatest value allowed, or None.
        choices: the strings allowed; empty for any.
        kind: "bytes" for sizes, "file" for names of files, "" otherwise.
        table: of the file, "" for the top level.
    """

    name: str
    type: str
    default: Any
    doc: str
    least: float | None
    most: float | None
    choices: tuple[str, ...]
    kind: str
    table: str

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"GRADMESH_{self.name.upper()}"

    @property
    def allowed(self) -> str:
        """The values it may have, in words."""
        if self.choices:
            return " or ".join(self.choices)
        if self.type == "bool":
            return "true or false"
        if self.type == "str":
            return "the name of a file" if self.kind == "file" else "a string"
        what = {"int": "an integer", "float": "a number"}[self.type]
        if self.kind == "bytes":
            what = "a number of bytes, or one with a unit such as 16MiB,"
        if self.least is not None and self.most is not None:
            return f"{what} from {self.least:g} to {self.most:g}"
        return what.rstrip(",") if self.least is None else f"{what} of at least {self.least:g}"

    @property
    def metavar(self) -> str:
        """What stands for its value in the help."""
        return "|".join(self.choices) or (self.kind or self.type).upper()

    @property
    def default_text(self) -> str:
        """Its default, for people."""
        return self.text(self.default)

    def text(self, value: Any) -> str:
        """A value of this setting, for people."""
        if self.kind == "bytes":
            for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", 1024)):
                if value and value % size == 0:
                    return f"{value // size}{unit}"
        if isinstance(value, bool):
            return str(value).lower()
        return f"{value:g}" if isinstance(value, float) else str(value)

    def check(self, value: Any, source: str) -> None:
        """Raises InvalidRequestError unless `value`, which comes from `source`, is allowed."""
        if value is None and self.default is None:
            return
        types: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
        right = isinstance(value, types[self.type]) and (self.type == "bool" or not isinstance(value, bool))
        if right and self.type in ("int", "float"):
            right = math.isfinite(value)
            right = right and (self.least is None or value >= self.least) and (self.most is None or value <= self.most)
        if right and self.choices:
            right = value in self.choices
        if not right:
            raise self.wrong(value, source)

    def wrong(self, value: Any, source: str) -> InvalidRequestError:
        """What is raised for a value that is not allowed."""
        return InvalidRequestError(
            f"{self.name} is wrong, {source}",
            expected=self.allowed,
            got=value if isinstance(value, str) else repr(value),
            remedy=f"see {self.flag} in `gradmesh serve --help`",
        )


def _settings() -> dict[str, Setting]:
    # The annotations are strings here: "int | None" is an int that may be absent.
    types = {"int": "int", "int | None": "int", "float": "float", "bool": "bool"}
    return {
        field.name: Setting(field.name, types.get(str(field.type), "str"), field.default, **field.metadata)
        for field in dataclasses.fields(Config)
    }


SETTINGS: Final = _settings()
"""Every setting by name, in the order they are declared in."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
