"""A store that a service has, over gRPC."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import grpc

from isthmus import BundleError, LinkError, PeerError
from isthmus.session import cleaned
from isthmus.v1 import store_pb2 as pb
from isthmus.v1.store_pb2_grpc import StoreStub
from isthmus_cli.store_places import Moved, Outgoing, Progress, Pushed, Row
from isthmus_edge.stream.credentials import Credentials

# A connection that is dead is known by this, however long a push takes.
_OPTIONS = (("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000))

CLOSE_S = 0.5
_MOST_CHARACTERS = 1000  # of what a service says

__all__ = ["RemoteStore"]


class RemoteStore:
    """The store of the service at `address`; a context, which closes the connection.

    `timeout_s` bounds every call but a push, which takes as long as its bytes do.
    """

    def __init__(self, address: str, credentials: Credentials, timeout_s: float) -> None:
        shown = credentials.read()
        self._address = address
        self._channel = shown.channel(address, _OPTIONS)
        self._metadata = shown.metadata
        self._timeout_s = timeout_s
        self._stub: Any = StoreStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Never waits for long: gRPC does, in the middle of an upload to somebody who stalls."""
        closing = threading.Thread(target=self._channel.close, daemon=True)
        closing.start()
        closing.join(CLOSE_S)

    def versions(self, name: str | None, *, verify: bool) -> list[Row]:
        """See `StorePlace.versions`."""
        reply = self._ask("List", pb.ListRequest(name=name or "", verify=verify))
        rows = [_row(each) for each in reply.versions]
        if verify and not all(row.verified or row.fault for row in rows):
            raise PeerError(
                "UNIMPLEMENTED",
                f"{self._address}: this service is too old to compare files; list without "
                "--verify, or update it",
            )
        return rows

    def push(self, bundle: Outgoing, name: str, version: str, progress: Progress) -> Pushed:
        """See `StorePlace.push`."""
        begin = pb.PushBegin(
            name=name,
            version=version,
            manifest=bundle.manifest,
            signature=bundle.signature or b"",
        )
        sending = _Sending(bundle, begin, progress)
        with self._translated(), sending:
            replies = self._stub.Push(iter(sending), metadata=self._metadata)
            try:
                sending.begun.put(_next(replies).lacks)
                done = _next(replies).done
                next(replies, None)  # it has ended well
            finally:
                replies.cancel()  # Ctrl-C, for instance: what has arrived stays there
        row = _row(done.stored)
        return Pushed(
            name=row.name,
            version=row.version,
            fingerprint=row.fingerprint,
            size_bytes=row.size_bytes,
            sent_bytes=sending.sent_bytes,
            signed=row.signed,
            was_there=done.was_there,
            state=row.state,
            way_out=row.way_out,
        )

    def activate(self, name: str, version: str) -> Moved:
        """See `StorePlace.activate`."""
        return _moved(self._ask("Activate", pb.ActivateRequest(name=name, version=version)))

    def rollback(self, name: str) -> Moved:
        """See `StorePlace.rollback`."""
        return _moved(self._ask("Rollback", pb.RollbackRequest(name=name)))

    def remove(self, name: str, version: str) -> None:
        """See `StorePlace.remove`."""
        self._ask("Remove", pb.RemoveRequest(name=name, version=version))

    def _ask(self, call: str, request: Any) -> Any:
        with self._translated():
            return getattr(self._stub, call)(
                request, metadata=self._metadata, timeout=self._timeout_s
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """gRPC's errors as ours, with the way out."""
        try:
            yield
        except grpc.RpcError as error:
            code, text = error.code(), cleaned(str(error.details()), _MOST_CHARACTERS)
            if code is grpc.StatusCode.UNAVAILABLE:
                raise LinkError(
                    f"{self._address} cannot be reached, or the link broke ({text}); see that "
                    "`isthmus cloud --store DIR` runs there and that the TLS flags are right"
                ) from error
            if code is grpc.StatusCode.UNIMPLEMENTED:
                raise LinkError(
                    f"the service at {self._address} has no store; start it with --store DIR"
                ) from error
            if code is grpc.StatusCode.DEADLINE_EXCEEDED and text == "Deadline Exceeded":  # ours
                text = (
                    f"no answer within {self._timeout_s:g} s; what was asked may still go on "
                    "there: see `isthmus list`, or wait longer with --timeout"
                )
            if code is grpc.StatusCode.UNAUTHENTICATED:  # who is known is told the way out there
                text += "; give the --token-file or the --tls-cert of an operator"
            raise PeerError(code.name, f"{self._address}: {text}") from error


class _Sending:
    """The messages of one push, made in a thread of gRPC's; `failure` is what went wrong there."""

    def __init__(self, bundle: Outgoing, begin: pb.PushBegin, progress: Progress) -> None:
        self.begun: queue.SimpleQueue[pb.PushLacks | None] = queue.SimpleQueue()
        self.failure: BundleError | None = None
        self.sent_bytes = 0
        self._bundle = bundle
        self._begin = begin
        self._progress = progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.begun.put(None)  # that thread must not wait for ever
        if self.failure is not None:
            raise self.failure

    def __iter__(self) -> Iterator[pb.PushMessage]:
        yield pb.PushMessage(begin=self._begin)
        lacks = self.begun.get()
        if lacks is None:
            return
        try:
            for piece in self._pieces(lacks):
                yield pb.PushMessage(piece=piece)
                self.sent_bytes += len(piece.data)
        except BundleError as error:
            self.failure = error

    def _pieces(self, lacks: pb.PushLacks) -> Iterator[pb.PushPiece]:
        sizes = self._bundle.sizes
        files = [file for file in lacks.files if file.path in sizes]  # nothing else is read here
        lacking_bytes = sum(sizes[file.path] - file.offset for file in files)
        whole = max(self._bundle.size_bytes, 1)
        for file in files:
            for offset, data in self._bundle.pieces(file.path, file.offset, lacks.piece_bytes):
                share = (whole - lacking_bytes + self.sent_bytes) / whole
                self._progress(share, file.path)
                yield pb.PushPiece(path=file.path, offset=offset, data=data)
        self._progress(1.0, "sent; the service verifies it")


def _next(replies: Iterator[pb.PushReply]) -> pb.PushReply:
    try:
        return next(replies)
    except StopIteration:
        raise PeerError("INTERNAL", "the service ended the push without a word") from None


def _row(stored: pb.StoredVersion) -> Row:
    return Row(
        name=stored.name,
        version=stored.version,
        fingerprint=stored.fingerprint,
        size_bytes=stored.size_bytes,
        signed=stored.signed,
        active=stored.active,
        loaded=stored.loaded,
        streams=stored.streams,
        fault=stored.fault,
        verified=stored.verified,
        new_devices=stored.new_devices if stored.HasField("new_devices") else None,
    )


def _moved(activation: pb.Activation) -> Moved:
    return Moved(
        name=activation.name, version=activation.version, previous=activation.previous or None
    )
