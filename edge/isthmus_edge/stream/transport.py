"""The seam to the network: a transport opens connections, a connection moves messages.

`GrpcTransport` is the real one. It runs gRPC's threads, not its asyncio, so that an application
may use grpc.aio in a loop of its own beside an agent. A test or an application may bring another
transport, for instance one that answers in the same process.
"""

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc

from isthmus.session import cleaned
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitStub
from isthmus_edge.stream.credentials import Credentials, Shown
from isthmus_edge.stream.handshake import trouble_of

MAX_ANSWER_BYTES = 64 * 1024 * 1024

DENIED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})  # another stream does not mend it
BUSY = frozenset({"RESOURCE_EXHAUSTED", "OVERLOADED"})  # before Welcome: there is no place now
RETRY_AFTER_MS = "retry-after-ms"  # beside a status: coming back sooner does not help

# Of gRPC's details, where a server or a proxy has closed the connection on purpose.
_ORDERLY = ("GOAWAY", "Cancelling all calls", "max connection age", "max connection idle")
_DIGITS = re.compile("[0-9]{1,10}")

__all__ = [
    "BUSY",
    "DENIED",
    "Break",
    "Connection",
    "GrpcTransport",
    "OnEnd",
    "OnMessage",
    "Transport",
]


@dataclass(frozen=True, slots=True)
class Break:
    """Why a stream ended: in words, and as far as is known the name of gRPC's status.

    `retry_after_s` is how long the other side asks to be left alone, `way_out` what somebody can do
    about it, and `is_orderly` that the other side has closed the stream and nothing has broken.
    """

    reason: str
    status: str = ""
    retry_after_s: float = 0.0
    way_out: str = ""
    is_orderly: bool = False

    @classmethod
    def of(cls, end: "str | Break") -> "Break":
        """A transport that knows no more than words gives them alone."""
        return end if isinstance(end, Break) else cls(end)

    def __str__(self) -> str:
        return self.reason


OnMessage = Callable[[pb.CloudMessage], None]
OnEnd = Callable[[str | Break], None]


class Connection(Protocol):
    """One stream to the service."""

    def send(self, message: pb.EdgeMessage) -> None:
        """Queue a message; never blocks. A broken connection says so through `on_end`."""
        ...

    def withdraw(self, sequence: int) -> bool:
        """Take a frame back that has not begun to leave; False if there is none."""
        ...

    def finish(self) -> None:
        """Nothing more is sent, and the service is told so behind what is queued; never blocks.

        `on_end` says when it has ended the stream; what is sent after this is dropped.
        """
        ...

    def close(self) -> None:
        """End the stream at once; idempotent, and does not block for the network."""
        ...


class Transport(Protocol):
    """Opens connections."""

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> Connection:
        """Begin a new stream; returns at once.

        `on_message` and `on_end` are called from a thread of the transport; `on_end` exactly once,
        with the reason (a `Break`, or only words), unless `close` was called first.
        """
        ...


class GrpcTransport:
    """The service at `address` (HOST:PORT).

    `credentials` says whom to trust and what to show; a path is that of the certificate to trust,
    and None is plain text. The files are read here: ConfigError if that cannot be. `server_name`
    is whom the service's certificate must be for, where that is not the host of `address`.
    """

    def __init__(
        self,
        address: str,
        credentials: Credentials | Path | None,
        max_frame_bytes: int,
        server_name: str = "",
    ) -> None:
        if not isinstance(credentials, Credentials):
            credentials = Credentials(tls_ca=credentials)
        self._address = address
        self._shown = credentials.read()
        self._server_name = server_name
        self._options = (
            ("grpc.max_send_message_length", max_frame_bytes),
            ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
            # A new attempt must not share a dead connection; our own back-off does the waiting.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
        )

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> Connection:
        """Begin a new stream on a channel of its own."""
        channel = self._shown.channel(self._address, self._options, self._server_name)
        host = self._server_name or self._address.rpartition(":")[0]
        return _GrpcConnection(channel, self._shown, host, on_message, on_end)


class _GrpcConnection:
    def __init__(
        self, channel: grpc.Channel, shown: Shown, host: str, on_message: OnMessage, on_end: OnEnd
    ) -> None:
        self._channel = channel
        self._shown = shown
        self._host = host
        self._outbox = _Outbox()
        self._closed = threading.Event()
        stub = SplitStub(channel)  # type: ignore[no-untyped-call]
        self._call = stub.Stream(iter(self._outbox), metadata=shown.metadata)
        self._reader = threading.Thread(
            target=self._read, args=(on_message, on_end), name="isthmus-answers", daemon=True
        )
        self._reader.start()

    def send(self, message: pb.EdgeMessage) -> None:
        self._outbox.put(message)

    def withdraw(self, sequence: int) -> bool:
        return self._outbox.withdraw(sequence)

    def finish(self) -> None:
        self._outbox.finish()

    def close(self) -> None:
        if not self._closed.is_set():
            self._closed.set()
            self._outbox.close()
            self._call.cancel()
            self._channel.close()

    def _read(self, on_message: OnMessage, on_end: OnEnd) -> None:
        end = Break("the service ended the stream", is_orderly=True)
        try:
            for message in self._call:
                on_message(message)
        except grpc.RpcError as error:
            end = self._broken(str(self._call.details() or error))
        if not self._closed.is_set():
            on_end(end)

    def _broken(self, details: str) -> Break:
        status = self._call.code().name
        trouble = trouble_of(details, self._shown, self._host)
        return Break(
            reason=f"{status}: {cleaned(details) if trouble is None else trouble.cause}",
            status=status,
            retry_after_s=_retry_after_s(self._call.trailing_metadata()),
            way_out="" if trouble is None else trouble.way_out,
            is_orderly=any(words in details for words in _ORDERLY),
        )


def _retry_after_s(metadata: Iterable[tuple[str, str | bytes]] | None) -> float:
    """What the service asks for, 0 for nothing or nonsense."""
    asked = dict(metadata or ()).get(RETRY_AFTER_MS, "")
    return int(asked) / 1e3 if isinstance(asked, str) and _DIGITS.fullmatch(asked) else 0.0


class _Outbox:
    """What gRPC has not taken yet. It takes one message at a time, as fast as the link allows."""

    def __init__(self) -> None:
        self._messages: deque[pb.EdgeMessage] = deque()
        self._changed = threading.Condition()
        self._is_finished = False  # what is here still leaves

    def put(self, message: pb.EdgeMessage) -> None:
        with self._changed:
            if not self._is_finished:
                self._messages.append(message)
                self._changed.notify()

    def withdraw(self, sequence: int) -> bool:
        with self._changed:
            for place, message in enumerate(self._messages):
                if message.HasField("frame") and message.frame.sequence == sequence:
                    del self._messages[place]
                    return True
        return False

    def finish(self) -> None:
        with self._changed:
            self._is_finished = True
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._is_finished = True
            self._messages.clear()
            self._changed.notify()

    def __iter__(self) -> Iterator[pb.EdgeMessage]:
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> pb.EdgeMessage | None:
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._is_finished)
            return self._messages.popleft() if self._messages else None
