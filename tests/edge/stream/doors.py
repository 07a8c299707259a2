"""A real gRPC server on the loopback that lets in who shows the right token or certificate."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from tests.edge.doctor.certificates import Certificate
from tests.edge.fakes import marked_answer

from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitServicer, add_SplitServicer_to_server

__all__ = ["Door", "door"]


class Door(SplitServicer):
    """Wants `token`, or none where that is None; `retry_after_ms` goes with a refusal."""

    def __init__(self, token: str | None) -> None:
        self.token = token
        self.retry_after_ms: str | None = None
        self.shown: list[str | None] = []
        self.names: list[tuple[object, ...]] = []  # in the certificates of devices
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def Stream(  # noqa: N802 - the name that the contract gives the call
        self, request_iterator: Iterator[pb.EdgeMessage], context: grpc.ServicerContext
    ) -> Iterator[pb.CloudMessage]:
        shown = dict(context.invocation_metadata()).get("authorization")
        self.shown.append(None if shown is None else str(shown))
        found = context.auth_context().get("x509_subject_alternative_name")
        self.names.append(() if found is None else tuple(found))
        if self.token is not None and shown != f"Bearer {self.token}":
            if self.retry_after_ms is not None:
                context.set_trailing_metadata((("retry-after-ms", self.retry_after_ms),))
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such token")
        for message in request_iterator:
            answer = _answer(message)
            if answer is not None:
                yield answer


def _answer(message: pb.EdgeMessage) -> pb.CloudMessage | None:
    match message.WhichOneof("kind"):
        case "hello":
            return pb.CloudMessage(welcome=pb.Welcome(protocol=PROTOCOL, window=4, provider="door"))
        case "heartbeat":
            now_ns = time.monotonic_ns()
            beat = pb.Heartbeat(id=message.heartbeat.id, received_ns=now_ns, answered_ns=now_ns)
            return pb.CloudMessage(heartbeat=beat)
        case "frame":
            return marked_answer(message.frame)
        case _:
            return None


@contextmanager
def door(
    token: str | None = None,
    certificate: Certificate | None = None,
    client_ca: Certificate | None = None,
) -> Iterator[Door]:
    """Open as long as the context lasts; over TLS with a `certificate`."""
    made = Door(token)
    with ThreadPoolExecutor(8) as workers:
        server = grpc.server(workers)
        add_SplitServicer_to_server(made, server)  # type: ignore[no-untyped-call]
        if certificate is None:
            made.port = server.add_insecure_port("127.0.0.1:0")
        else:
            pair = (certificate.key.read_bytes(), certificate.pem.read_bytes())
            credentials = grpc.ssl_server_credentials(
                [pair],
                None if client_ca is None else client_ca.pem.read_bytes(),
                require_client_auth=client_ca is not None,
            )
            made.port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        try:
            yield made
        finally:
            server.stop(None).wait()
