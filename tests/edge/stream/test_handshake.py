"""Why a connection does not come about: told by the real gRPC, explained by the real transport."""

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from tests.edge.doctor.certificates import (
    OVER,
    TO_COME,
    Certificate,
    Listener,
    make_certificate,
)

from isthmus.session import DeviceState
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitServicer, add_SplitServicer_to_server
from isthmus_edge import Credentials
from isthmus_edge.stream.transport import Break, GrpcTransport
from isthmus_edge.stream.wording import end_text

PATIENT = 20.0


@dataclass(frozen=True)
class Pems:
    """Certificates that vouch for themselves: the service's, and others."""

    good: Certificate
    other: Certificate
    over: Certificate
    to_come: Certificate


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Pems:
    folder = tmp_path_factory.mktemp("certificates")
    return Pems(
        make_certificate(folder / "good"),
        make_certificate(folder / "other"),
        make_certificate(folder / "over", OVER),
        make_certificate(folder / "to_come", TO_COME),
    )


@contextmanager
def serving(shown: Certificate | None, client_ca: Certificate | None = None) -> Iterator[str]:
    """A gRPC server that offers nothing; in plain text without a certificate."""
    server = grpc.server(ThreadPoolExecutor(1))
    if shown is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        trust = None if client_ca is None else client_ca.pem.read_bytes()
        own = [(shown.key.read_bytes(), shown.pem.read_bytes())]
        credentials = grpc.ssl_server_credentials(own, trust, client_ca is not None)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait(PATIENT)


def end_of(address: str, credentials: Credentials, name: str = "") -> Break:
    """How the first stream to this service ends."""
    ends: queue.SimpleQueue[str | Break] = queue.SimpleQueue()
    transport = GrpcTransport(address, credentials, 1_000_000, name)
    connection = transport.connect(lambda _: None, ends.put)
    connection.send(pb.EdgeMessage(hello=pb.Hello()))
    try:
        return Break.of(ends.get(timeout=PATIENT))
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("shown", "trusted", "cause", "way_out"),
    [
        ("good", "other", "tls_ca does not vouch for", "--tls-ca"),
        ("over", "over", "has expired", "renew it"),
        ("to_come", "to_come", "is not valid yet", "set the clock"),
        (None, "good", "speaks no TLS", "--insecure"),
        ("good", None, "hangs up", "--tls-ca"),
    ],
)
def test_a_certificate_that_will_not_do_is_named_with_the_way_out(
    pems: Pems, shown: str | None, trusted: str | None, cause: str, way_out: str
) -> None:
    ca = None if trusted is None else getattr(pems, trusted).pem
    with serving(None if shown is None else getattr(pems, shown)) as address:
        end = end_of(address, Credentials(tls_ca=ca))
    text = end_text(end, "greeting")
    assert end.status == "UNAVAILABLE"
    assert cause in text
    assert way_out in text
    assert "isthmus cloud" not in text  # it runs already


def test_a_service_of_another_name_is_named(pems: Pems) -> None:
    with serving(pems.good) as address:
        end = end_of(address, Credentials(tls_ca=pems.good.pem), "cloud.example")
    assert "is not for cloud.example" in end.reason
    assert "subjectAltName" in end.way_out


def test_a_service_that_asks_for_a_certificate_says_which_one_to_give(pems: Pems) -> None:
    with serving(pems.good, client_ca=pems.other) as address:
        without = end_of(address, Credentials(tls_ca=pems.good.pem))
        stranger = Credentials(
            tls_ca=pems.good.pem, tls_certificate=pems.over.pem, tls_key=pems.over.key
        )
        with_another = end_of(address, stranger)
        known = Credentials(
            tls_ca=pems.good.pem, tls_certificate=pems.other.pem, tls_key=pems.other.key
        )
        let_in = end_of(address, known)
    assert "tls_certificate and tls_key" in without.way_out
    assert "--client-ca" in with_another.way_out
    assert let_in.status == "UNIMPLEMENTED"  # the handshake is behind it


def test_files_that_are_none_are_named(pems: Pems, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with serving(pems.good) as address:
        end = end_of(address, Credentials(tls_ca=file))
    assert "tls_ca" in end.way_out


def test_where_nobody_listens_it_says_how_to_start_a_service() -> None:
    with Listener() as listener:
        address = f"127.0.0.1:{listener.port}"
    end = end_of(address, Credentials())
    assert "nothing listens there" in end.reason
    assert "isthmus cloud" in end.way_out


def test_another_grpc_service_is_no_isthmus() -> None:
    with serving(None) as address:
        end = end_of(address, Credentials())
    assert "is the port right?" in end_text(end, "greeting")


class _Refusing(SplitServicer):
    """Ends every stream with these details."""

    def __init__(self, details: str) -> None:
        self._details = details

    def Stream(self, _: object, context: grpc.ServicerContext) -> Iterator[pb.CloudMessage]:  # noqa: N802
        context.abort(grpc.StatusCode.UNAVAILABLE, self._details)


def refused_with(details: str) -> Break:
    """How a stream ends that a service, or a proxy before it, ends with these details."""
    server = grpc.server(ThreadPoolExecutor(1))
    add_SplitServicer_to_server(_Refusing(details), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        return end_of(f"127.0.0.1:{port}", Credentials())
    finally:
        server.stop(0).wait(PATIENT)


def test_a_refused_connection_that_a_service_tells_of_is_not_the_devices() -> None:
    details = "upstream connect error: Connection refused"
    end = refused_with(details)
    assert (end.reason, end.way_out) == (f"UNAVAILABLE: {details}", "")


def test_details_are_cut_and_cannot_move_a_terminals_cursor() -> None:
    end = refused_with("one\n\x1b[2Jtwo" + "!" * 5000)
    assert end.reason == "UNAVAILABLE: " + ("one??[2Jtwo" + "!" * 5000)[:500]


class _Greeting(SplitServicer):
    """Welcomes every device."""

    def Stream(self, messages: Iterator[pb.EdgeMessage], _: object) -> Iterator[pb.CloudMessage]:  # noqa: N802
        for _message in messages:
            yield pb.CloudMessage(welcome=pb.Welcome())


def test_a_server_that_is_stopped_closes_the_stream_and_nothing_breaks() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    add_SplitServicer_to_server(_Greeting(), server)  # type: ignore[no-untyped-call]
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    ends: queue.SimpleQueue[str | Break] = queue.SimpleQueue()

    def stop(_: pb.CloudMessage) -> None:
        server.stop(None)

    connection = GrpcTransport(address, Credentials(), 1_000_000).connect(stop, ends.put)
    connection.send(pb.EdgeMessage(hello=pb.Hello()))
    end = Break.of(ends.get(timeout=PATIENT))
    connection.close()
    assert end.is_orderly
    assert end_text(end, "open").startswith("the service, or what stands before it, closed")


@pytest.mark.parametrize(
    ("end", "state", "words"),
    [
        (Break("the service ended the stream", is_orderly=True), "draining", "left in order"),
        (Break("CANCELLED: over", "CANCELLED"), "draining", "left in order"),
        (Break("the service ended the stream", is_orderly=True), "open", "closed the stream"),
        (Break("UNAVAILABLE: Socket closed", "UNAVAILABLE"), "open", "broke: UNAVAILABLE"),
        (Break("the peer hung up"), "open", "broke: the peer hung up"),
        (Break("UNAUTHENTICATED: no", "UNAUTHENTICATED"), "greeting", "token_file"),
        (Break("UNAVAILABLE: no route", "UNAVAILABLE"), "greeting", "isthmus cloud"),
        (Break("RESOURCE_EXHAUSTED: full", "RESOURCE_EXHAUSTED"), "greeting", "takes no stream"),
    ],
)
def test_what_an_end_means_depends_on_where_the_session_stood(
    end: Break, state: DeviceState, words: str
) -> None:
    assert words in end_text(end, state)
    assert ("broke" in end_text(end, state)) == ("broke" in words)
