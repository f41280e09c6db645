"""TLS, tokens, principals: who gets in, what they see of each other, and what fails how."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gradmesh import _codec
from gradmesh._blobs import upload_parts
from gradmesh._options import TLS, Retry
from gradmesh._remote import CONSTANT_BYTES, INLINE_BYTES, RemoteSession, connect
from gradmesh._status import decode_error
from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import blob_service_pb2_grpc as blob_grpc
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
from gradmesh_engine.errors import (
    BlobNotFoundError,
    GradmeshError,
    GraphNotFoundError,
    InvalidRequestError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from gradmesh_engine.graph import digest_of_array
from gradmesh_engine.session import Request
from gradmesh_server.blobs import stored_name
from gradmesh_server.config import MIB, Config
from gradmesh_server.server import Server, background
from gradmesh_server.tokens import Tokens, make_token
from tests.service.certificates import Authority, Pair
from tests.service.graphs import chain, chain_request, equal_bits, until

ONCE = Retry(attempts=1)
SERVING = health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True)
class Keys:
    """Everything the servers and clients of these tests show each other."""

    authority: Authority
    other: Authority
    server: Pair
    tokens: Path
    alice: str
    bob: str


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    authority = Authority(folder)
    (alice, alices_line), (bob, bobs_line) = make_token("alice"), make_token("bob")
    tokens = folder / "tokens"
    tokens.write_text(f"# who may call\n{alices_line}\n{bobs_line}\n")
    return Keys(authority, Authority(folder, "another authority"), authority.issue("server"), tokens, alice, bob)


def config_of(keys: Keys, **more: object) -> Config:
    return Config(port=0, tls_cert=str(keys.server.cert), tls_key=str(keys.server.key), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def locked(keys: Keys) -> Iterator[Server]:
    """A server with TLS and tokens."""
    with background(config_of(keys, tokens=str(keys.tokens))) as server:
        yield server


@pytest.fixture(scope="session")
def mutual(keys: Keys) -> Iterator[Server]:
    """A server with mutual TLS and no tokens."""
    with background(config_of(keys, tls_client_ca=str(keys.authority.file))) as server:
        yield server


def enter(server: Server, keys: Keys, token: str = "", **more: object) -> RemoteSession:
    return connect(server.address, timeout=30, tls=TLS(ca=keys.authority.file), token=token, **more)  # type: ignore[arg-type]


def refused(connecting: Callable[[], RemoteSession]) -> GradmeshError:
    """The error of a session that cannot be had; it comes without the pauses of retries."""
    begin = time.monotonic()
    with pytest.raises(GradmeshError) as caught:
        connecting().close()
    assert time.monotonic() - begin < 5
    return caught.value


@contextmanager
def channel_to(server: Server, keys: Keys) -> Iterator[grpc.Channel]:
    credentials = grpc.ssl_channel_credentials(keys.authority.file.read_bytes())
    with grpc.secure_channel(server.address, credentials) as channel:
        yield channel


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


# --- tokens ---------------------------------------------------------------------------------------


def test_a_token_lets_its_principal_in(locked: Server, keys: Keys) -> None:
    with enter(locked, keys, keys.alice) as session:
        assert session.run(chain_request(5)).gradients[0] is not None
        assert len(session.ops()) > 50
        assert "plan" in session.explain(chain_request(5)) or session.explain(chain_request(5))
        assert len(session.run(chain_request(INLINE_BYTES // 2, wrt=(0,))).gradients) == 1  # Up and down as streams.


def test_the_environment_lets_in_too(locked: Server, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADMESH_TOKEN", keys.bob)
    monkeypatch.setenv("GRADMESH_TLS_CA", str(keys.authority.file))
    with connect(locked.address) as session:
        assert session.info().pid == os.getpid()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "",
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token.replace("alice", "bob"),
        lambda token: token.replace("alice", "carol"),
        lambda token: token + ".x",
        lambda token: "zz9",
        lambda token: "." * 500,
    ],
)
def test_a_wrong_token_does_not(locked: Server, keys: Keys, spoil: Callable[[str], str]) -> None:
    token = spoil(keys.alice)
    error = refused(lambda: enter(locked, keys, token))
    assert type(error) is UnauthenticatedError
    assert error.remedy
    assert not token or token not in str(error)


def test_every_call_needs_the_token_but_health(locked: Server, keys: Keys) -> None:
    header = blob_pb.UploadRequest()
    with channel_to(locked, keys) as channel:
        gradients, blobs = pb_grpc.GradientServiceStub(channel), blob_grpc.BlobServiceStub(channel)
        describe = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        calls: dict[str, Callable[..., object]] = {
            "Compute": lambda **m: gradients.Compute(pb.ComputeRequest(), **m),
            "Explain": lambda **m: gradients.Explain(pb.ExplainRequest(), **m),
            "ListOps": lambda **m: gradients.ListOps(pb.ListOpsRequest(), **m),
            "GetServerInfo": lambda **m: gradients.GetServerInfo(pb.GetServerInfoRequest(), **m),
            "FindMissing": lambda **m: blobs.FindMissing(blob_pb.FindMissingRequest(), **m),
            "Upload": lambda **m: blobs.Upload(iter([header]), **m),
            "Download": lambda **m: list(blobs.Download(blob_pb.DownloadRequest(), **m)),
            "reflection": lambda **m: list(describe.ServerReflectionInfo(iter([ask]), **m)),
        }
        methods = {
            method.name
            for file in (pb, blob_pb)
            for service in file.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }
        assert set(calls) == methods | {"reflection"}
        for name, call in calls.items():
            for metadata in ((), bearer("nonsense"), (("authorization", f"Basic {keys.alice}"),)):
                with pytest.raises(grpc.RpcError) as caught:
                    call(timeout=10, metadata=metadata)
                assert type(decode_error(caught.value, "")) is UnauthenticatedError, name
        for name in ("ListOps", "GetServerInfo", "FindMissing", "reflection"):
            calls[name](timeout=10, metadata=bearer(keys.alice))
        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert check.status == SERVING


@pytest.mark.parametrize("method", ["GradientService/Compute", "GradientService/ListOps", "BlobService/Download"])
def test_who_may_not_call_learns_nothing_of_his_message(locked: Server, keys: Keys, method: str) -> None:
    with channel_to(locked, keys) as channel:
        call: Callable[..., Iterable[bytes]] = channel.unary_stream(f"/gradmesh.v1.{method}")
        for metadata, kind in ((bearer("nonsense"), UnauthenticatedError), (bearer(keys.alice), InvalidRequestError)):
            with pytest.raises(grpc.RpcError) as caught:
                list(call(b"\xff no message", timeout=10, metadata=metadata))
            assert type(decode_error(caught.value, "")) is kind


def test_tokens_come_and_go_with_the_file(keys: Keys, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    (first, line), (second, second_line) = make_token("dora"), make_token("dora")

    def replace(text: str) -> None:
        fresh = tmp_path / "fresh"
        fresh.write_text(text)
        fresh.replace(file)

    def works(token: str) -> bool:
        try:
            enter(server, keys, token).close()
        except UnauthenticatedError:
            return False
        return True

    replace(line)
    with background(config_of(keys, tokens=str(file))) as server:
        with enter(server, keys, first, retry=ONCE) as session:
            assert not works(second)
            replace(f"{line}\n{second_line}\n")
            until(lambda: works(second))
            session.info()
            replace("nonsense\n")  # Changes nothing.
            before = server.config
            until(lambda: server._authenticator._stamp == stamp_of(file))
            assert works(first) and works(second)
            assert before is server.config
            replace(second_line)
            until(lambda: not works(first))
            with pytest.raises(UnauthenticatedError):  # On a connection that is open, too.
                session.info()
            assert works(second)
            file.unlink()
            until(lambda: server._authenticator._stamp is None)
            assert works(second)
            replace("")
            until(lambda: not works(second))


def stamp_of(file: Path) -> tuple[int, int, int]:
    facts = file.stat()
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def test_tokens_are_kept_as_hashes_only(tmp_path: Path) -> None:
    token, line = make_token("eve")
    again, other = make_token("eve")
    assert token != again and line != other
    assert token.split(".")[2] not in line
    file = tmp_path / "tokens"
    file.write_text(f"{line}\n{other}\n")
    tokens = Tokens.read(file)
    assert tokens.principal(token) == tokens.principal(again) == "eve"
    assert tokens.principal(line.split()[1]) is None
    for name in ("", "anonymous", "a b", "a.b", "é", "-a", "a" * 65):
        with pytest.raises(InvalidRequestError):
            make_token(name)


def test_a_token_goes_to_other_machines_over_tls_only(keys: Keys) -> None:
    with pytest.raises(InvalidRequestError, match="for everyone to read"):
        connect("192.0.2.1:50051", token=keys.alice)
    with pytest.raises(InvalidRequestError, match="characters"):
        connect("127.0.0.1:50051", token="two words")


# --- certificates ---------------------------------------------------------------------------------


def test_an_expired_certificate_of_the_server(keys: Keys) -> None:
    expired = keys.authority.issue("server", file="expired-server", expired=True)
    with background(Config(port=0, tls_cert=str(expired.cert), tls_key=str(expired.key))) as server:
        error = refused(lambda: enter(server, keys))
        assert type(error) is UnauthenticatedError
        assert "expired" in error.message
        # It is renewed without a restart: the same names, another content.
        fresh = keys.authority.issue("server", file="fresh-server")
        fresh.key.replace(expired.key)
        fresh.cert.replace(expired.cert)
        with enter(server, keys) as session:
            session.info()
            expired.cert.write_text("half a cert")  # Changes nothing.
            with enter(server, keys) as another:
                another.info()


def test_plaintext_to_a_tls_port(locked: Server, keys: Keys) -> None:
    error = refused(lambda: connect(locked.address, timeout=30, token=keys.alice))
    assert type(error) is UnauthenticatedError
    assert "speaks TLS" in error.message
    assert "TLS(ca=" in error.remedy
    with enter(locked, keys, keys.alice) as session:  # And the server goes on.
        session.info()


def test_tls_to_a_plaintext_port(server: Server, keys: Keys) -> None:
    error = refused(lambda: enter(server, keys))
    assert type(error) is UnauthenticatedError
    assert "does not speak TLS" in error.message


def test_a_server_of_another_authority_or_name(locked: Server, keys: Keys) -> None:
    error = refused(lambda: connect(locked.address, tls=TLS(ca=keys.other.file), token=keys.alice))
    assert type(error) is UnauthenticatedError
    assert "authority" in error.message
    error = refused(lambda: connect(locked.address, tls=TLS(ca=keys.authority.file, server_name="example.org")))
    assert type(error) is UnauthenticatedError
    assert "name" in error.message
    with connect(
        locked.address, tls=TLS(ca=keys.authority.file.read_bytes(), server_name="localhost"), token=keys.alice
    ) as session:
        session.info()


def test_files_that_are_not_there(locked: Server, keys: Keys) -> None:
    with pytest.raises(InvalidRequestError, match=r"TLS\(ca=...\) cannot be read"):
        connect(locked.address, tls=TLS(ca="/nowhere/ca.pem"))
    with pytest.raises(InvalidRequestError, match="go together"):
        connect(locked.address, tls=TLS(cert=keys.server.cert))
    assert "secret" not in repr(TLS(key=b"secret"))


def test_mutual_tls_knows_the_client_by_its_certificate(mutual: Server, keys: Keys) -> None:
    pair = keys.authority.issue("carol")
    with connect(mutual.address, tls=TLS(keys.authority.file, pair.cert, pair.key)) as session:
        session.run(chain_request(3))
    assert "carol" in mutual._coordinator._rooms


@pytest.mark.parametrize("case", ["none", "another authority", "expired"])
def test_mutual_tls_refuses_other_certificates(mutual: Server, keys: Keys, case: str) -> None:
    if case == "none":
        tls = TLS(keys.authority.file)
    else:
        issuer = keys.other if case == "another authority" else keys.authority
        pair = issuer.issue("mallory", file=case.replace(" ", "-"), expired=case == "expired")
        tls = TLS(keys.authority.file, pair.cert, pair.key)
    error = refused(lambda: connect(mutual.address, tls=tls))
    assert type(error) is UnauthenticatedError
    assert "certificate" in error.message


@pytest.mark.parametrize("name", ["", "anonymous", "two words"])
def test_a_certificate_that_names_nobody(mutual: Server, keys: Keys, name: str) -> None:
    pair = keys.authority.issue(name, file=f"nobody-{len(name)}")
    error = refused(lambda: connect(mutual.address, tls=TLS(keys.authority.file, pair.cert, pair.key)))
    assert type(error) is PermissionDeniedError
    assert isinstance(error, PermissionError)


def test_a_server_that_would_be_open_by_mistake_does_not_start(keys: Keys) -> None:
    with pytest.raises(InvalidRequestError, match="--insecure"), background(Config(host="0.0.0.0", port=0)):
        pass


# --- what principals see of each other ------------------------------------------------------------


def test_what_others_uploaded_does_not_exist(locked: Server, keys: Keys) -> None:
    array = chain_request(CONSTANT_BYTES, seed=31).inputs[0]
    digest = digest_of_array(array)
    request = Request(chain(CONSTANT_BYTES), (array, array))
    with channel_to(locked, keys) as channel:
        blobs, gradients = blob_grpc.BlobServiceStub(channel), pb_grpc.GradientServiceStub(channel)

        def missing(token: str) -> bool:
            ask = blob_pb.FindMissingRequest(digests=[digest])
            return list(blobs.FindMissing(ask, metadata=bearer(token), timeout=10).missing) == [digest]

        def fails(call: Callable[[], object]) -> GradmeshError:
            with pytest.raises(grpc.RpcError) as caught:
                call()
            return decode_error(caught.value, "")

        with enter(locked, keys, keys.alice) as alice:
            alice.run(request)
        assert (missing(keys.alice), missing(keys.bob)) == (False, True)
        ask = blob_pb.DownloadRequest(digest=digest)
        theirs = fails(lambda: list(blobs.Download(ask, metadata=bearer(keys.bob), timeout=10)))
        nobodys = fails(
            lambda: list(
                blobs.Download(blob_pb.DownloadRequest(digest=b"x" * 16), metadata=bearer(keys.bob), timeout=10)
            )
        )
        assert type(theirs) is type(nobodys) is BlobNotFoundError
        assert str(theirs).replace(digest.hex(), "") == str(nobodys).replace((b"x" * 16).hex(), "")
        # The graph is as unknown: it would tell Alice's source lines.
        message = pb.ComputeRequest(graph_digest=request.graph.digest)
        assert (
            type(fails(lambda: gradients.Compute(message, metadata=bearer(keys.bob), timeout=10))) is GraphNotFoundError
        )
        # A wrong content does not get in under a digest that is known.
        wrong = upload_parts(np.zeros_like(array), digest, lambda count: None)
        assert "hash" in str(fails(lambda: blobs.Upload(wrong, metadata=bearer(keys.bob), timeout=10)))
        # Bob uploads it himself, and the session does so unasked; what he is told is as if he were alone.
        with enter(locked, keys, keys.bob) as bob:
            result = bob.run(request)
            assert result.stats.bytes["sent"] > array.nbytes
            assert result.stats.cache == "new graph"
        assert not missing(keys.bob)
    assert stored_name("alice", digest) != stored_name("bob", digest)


def test_results_of_others_do_not_exist(locked: Server, keys: Keys) -> None:
    request = chain_request(1000, seed=32)
    message = pb.ComputeRequest(graph=_codec.encode_graph(request.graph), inline_result_bytes=1)
    message.inputs.extend(map(_codec.encode_array, request.inputs))
    with channel_to(locked, keys) as channel:
        blobs, gradients = blob_grpc.BlobServiceStub(channel), pb_grpc.GradientServiceStub(channel)
        reply = gradients.Compute(message, metadata=bearer(keys.alice), timeout=30)
        handles = [tensor.handle for tensor in reply.outputs if tensor.handle]
        assert handles
        ask = blob_pb.DownloadRequest(handle=handles[0])
        with pytest.raises(grpc.RpcError) as caught:
            list(blobs.Download(ask, metadata=bearer(keys.bob), timeout=10))
        assert type(decode_error(caught.value, "")) is BlobNotFoundError
        for handle in handles:
            named = blob_pb.DownloadRequest(handle=handle)
            assert len(list(blobs.Download(named, metadata=bearer(keys.alice), timeout=10))) > 1


# --- what goes away in the middle -----------------------------------------------------------------


def test_a_client_that_vanishes_in_the_middle_of_an_upload(server: Server) -> None:
    """Its connection breaks without a word; nothing stays, and others are served meanwhile."""
    with connect(server.address) as session:
        before = session.info()
        array = np.zeros(64 * MIB, np.uint8)
        with relay(server.port) as (port, cut):
            halfway = threading.Event()
            never = threading.Event()

            def advance(count: int, sent: list[int] = [0]) -> None:  # noqa: B006 (counts)
                sent[0] += count
                if sent[0] > array.nbytes // 2:
                    halfway.set()
                    never.wait(20)

            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = blob_grpc.BlobServiceStub(channel)
                call = stub.Upload.future(upload_parts(array, digest_of_array(array), advance), timeout=60)
                assert halfway.wait(20)
                until(lambda: session.info().stored_bytes > before.stored_bytes)  # Room is taken.
                session.run(chain_request(4))
                cut()
                until(lambda: session.info().stored_bytes == before.stored_bytes)
                never.set()
                assert call.exception(20) is not None
        assert session.info().stored_blobs == before.stored_blobs
        assert server._blobs.uploads == 0


@contextmanager
def relay(port: int) -> Iterator[tuple[int, Callable[[], None]]]:
    """A way to a server that can be cut at once, as by a pulled cable and a reset."""
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []

    def copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass

    def accept() -> None:
        try:
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", port))
                ends.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=copy, args=pair, daemon=True).start()
        except OSError:
            pass

    def cut() -> None:
        listener.close()
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            end.shutdown(socket.SHUT_RDWR)
            end.close()
        ends.clear()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], cut
    finally:
        cut()


def test_a_server_that_restarts_in_the_middle_of_a_call(keys: Keys) -> None:
    """The call is answered by the next server, to the same bits; without retries it ends as UnavailableError."""
    from tests.service.test_server import GatedBackend

    request = chain_request(64, 64, seed=33)
    first = GatedBackend()
    config = config_of(keys, tokens=str(keys.tokens), inline="never")
    results: dict[str, object] = {}

    def run(name: str, session: RemoteSession) -> None:
        try:
            results[name] = session.run(request)
        except GradmeshError as error:
            results[name] = error

    with background(config, first) as server:
        patient = enter(server, keys, keys.alice, retry=Retry(attempts=100, max_delay_seconds=0.1))
        impatient = enter(server, keys, keys.alice, retry=ONCE)
        threads = [threading.Thread(target=run, args=pair) for pair in (("patient", patient), ("once", impatient))]
        for thread in threads:
            thread.start()
        until(lambda: first.started == 2)  # Both are in the middle of it, and will not get further.
        port = server.port
    threads[1].join(20)
    assert type(results["once"]) is UnavailableError
    again = Config(port=port, tls_cert=config.tls_cert, tls_key=config.tls_key, tokens=config.tokens)
    with background(again):
        threads[0].join(30)
        got = results["patient"]
        assert not isinstance(got, Exception), got
        expected = impatient.run(request)
    assert equal_bits(got.gradients[0], expected.gradients[0])  # type: ignore[attr-defined]
    patient.close()
    impatient.close()


def test_a_stranger_who_says_nothing_holds_nothing_up(locked: Server, keys: Keys) -> None:
    """Connections that never finish their handshake, and one that sends rubbish."""
    silent = [socket.create_connection(("127.0.0.1", locked.port)) for _ in range(20)]
    try:
        silent[0].sendall(os.urandom(4096))
        with enter(locked, keys, keys.alice) as session:
            session.info()
    finally:
        for connection in silent:
            connection.close()


def test_old_tls_is_refused(locked: Server) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", locked.port)) as plain, context.wrap_socket(plain) as wrapped:
        assert wrapped.version() in ("TLSv1.2", "TLSv1.3")
