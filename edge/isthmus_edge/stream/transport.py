"""The seam to the network: a transport opens connections, a connection moves messages.

`GrpcTransport` is the real one. It runs gRPC's threads, not its asyncio, so that an application
may use grpc.aio in a loop of its own beside an agent. A test or an application may bring another
transport, for instance one that answers in the same process.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import grpc

from isthmus import ConfigError
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitStub

MAX_ANSWER_BYTES = 64 * 1024 * 1024

OnMessage = Callable[[pb.CloudMessage], None]
OnEnd = Callable[[str], None]

__all__ = ["Connection", "GrpcTransport", "OnEnd", "OnMessage", "Transport"]


class Connection(Protocol):
    """One stream to the service."""

    def send(self, message: pb.EdgeMessage) -> None:
        """Queue a message; never blocks. A broken connection says so through `on_end`."""
        ...

    def withdraw(self, sequence: int) -> bool:
        """Take a frame back that has not begun to leave; False if there is none."""
        ...

    def close(self) -> None:
        """End the stream at once; idempotent, and does not block for the network."""
        ...


class Transport(Protocol):
    """Opens connections."""

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> Connection:
        """Begin a new stream; returns at once.

        `on_message` and `on_end` are called from a thread of the transport; `on_end` exactly once,
        with the reason in words, unless `close` was called first.
        """
        ...


class GrpcTransport:
    """The service at `address` (HOST:PORT), over TLS if the certificate in `tls_ca` is given."""

    def __init__(self, address: str, tls_ca: Path | None, max_frame_bytes: int) -> None:
        self._address = address
        self._options = (
            ("grpc.max_send_message_length", max_frame_bytes),
            ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
            # A new attempt must not share a dead connection; our own back-off does the waiting.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
        )
        self._credentials = None if tls_ca is None else _credentials(tls_ca)

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> Connection:
        """Begin a new stream on a channel of its own."""
        if self._credentials is None:
            channel = grpc.insecure_channel(self._address, self._options)
        else:
            channel = grpc.secure_channel(self._address, self._credentials, self._options)
        return _GrpcConnection(channel, on_message, on_end)


def _credentials(tls_ca: Path) -> grpc.ChannelCredentials:
    try:
        return grpc.ssl_channel_credentials(tls_ca.read_bytes())
    except OSError as error:
        raise ConfigError(f"{tls_ca}: {error.strerror}; tls_ca is a file in PEM format") from error


class _GrpcConnection:
    def __init__(self, channel: grpc.Channel, on_message: OnMessage, on_end: OnEnd) -> None:
        self._channel = channel
        self._outbox = _Outbox()
        self._closed = threading.Event()
        self._call = SplitStub(channel).Stream(iter(self._outbox))  # type: ignore[no-untyped-call]
        self._reader = threading.Thread(
            target=self._read, args=(on_message, on_end), name="isthmus-answers", daemon=True
        )
        self._reader.start()

    def send(self, message: pb.EdgeMessage) -> None:
        self._outbox.put(message)

    def withdraw(self, sequence: int) -> bool:
        return self._outbox.withdraw(sequence)

    def close(self) -> None:
        if not self._closed.is_set():
            self._closed.set()
            self._outbox.close()
            self._call.cancel()
            self._channel.close()

    def _read(self, on_message: OnMessage, on_end: OnEnd) -> None:
        reason = "the service ended the stream"
        try:
            for message in self._call:
                on_message(message)
        except grpc.RpcError as error:
            reason = f"{self._call.code().name}: {self._call.details() or error}"
        if not self._closed.is_set():
            on_end(reason)


class _Outbox:
    """What gRPC has not taken yet. It takes one message at a time, as fast as the link allows."""

    def __init__(self) -> None:
        self._messages: deque[pb.EdgeMessage] = deque()
        self._changed = threading.Condition()
        self._is_open = True

    def put(self, message: pb.EdgeMessage) -> None:
        with self._changed:
            self._messages.append(message)
            self._changed.notify()

    def withdraw(self, sequence: int) -> bool:
        with self._changed:
            for place, message in enumerate(self._messages):
                if message.HasField("frame") and message.frame.sequence == sequence:
                    del self._messages[place]
                    return True
        return False

    def close(self) -> None:
        with self._changed:
            self._is_open = False
            self._changed.notify()

    def __iter__(self) -> Iterator[pb.EdgeMessage]:
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> pb.EdgeMessage | None:
        with self._changed:
            self._changed.wait_for(lambda: self._messages or not self._is_open)
            return self._messages.popleft() if self._is_open else None
