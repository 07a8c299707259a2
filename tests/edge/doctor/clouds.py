"""Networks and services that a test makes up: dead ones, slow ones, and one with another bundle."""

import socket
from dataclasses import dataclass, field

from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.doctor.network import Address
from isthmus_edge.stream.credentials import Credentials
from isthmus_edge.stream.transport import OnEnd, OnMessage


@dataclass
class FakeNetwork:
    """Addresses of every name, and what becomes of connections to some of them."""

    addresses: list[Address] | OSError
    errors: dict[str, OSError] = field(default_factory=dict)

    def resolve(self, host: str, port: int) -> list[Address]:
        if isinstance(self.addresses, OSError):
            raise self.addresses
        return self.addresses

    def connect(self, address: Address, longest_s: float) -> socket.socket:
        if address.ip in self.errors:
            raise self.errors[address.ip]
        return socket.socket()  # bound to nothing


class Clock:
    """Stands at `now`; while a message is brought, at the time of its arrival."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.arrival: float | None = None

    def __call__(self) -> float:
        return self.now if self.arrival is None else self.arrival


@dataclass
class FakeCloud:
    """A service behind a link of `up_bps`, `down_bps` and `rtt_s`, whose clock is far off.

    Hello gets `greeting` in place of a Welcome, if there is one; a text ends the stream. Answers
    are padded with at most `gives_bytes`; an older service gives none.
    """

    up_bps: float = 10e6
    rtt_s: float = 0.040
    down_bps: float = 20e6
    gives_bytes: int = 65_536
    greeting: pb.CloudMessage | str | None = None
    clock: Clock = field(default_factory=Clock)
    is_closed: bool = False
    heard: list[pb.Heartbeat] = field(default_factory=list)
    _up_free_at: float = 0.0
    _down_free_at: float = 0.0

    def __call__(self, address: str, credentials: Credentials) -> "FakeCloud":
        return self

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> "FakeCloud":
        self._on_message, self._on_end = on_message, on_end
        return self

    def send(self, message: pb.EdgeMessage) -> None:
        took_s = message.ByteSize() * 8 / self.up_bps
        self._up_free_at = max(self._up_free_at, self.clock.now) + took_s
        received = self._up_free_at + self.rtt_s / 2
        if message.HasField("hello"):
            answer = self.greeting
            if isinstance(answer, str):
                self._on_end(answer)
                return
            self._bring(answer or _welcome(message.hello.bundle_fingerprint), received)
            return
        asked = message.heartbeat
        self.heard.append(asked)
        stamp = int((received + 5e5) * 1e9)
        given = bytes(min(asked.answer_bytes, self.gives_bytes))
        beat = pb.Heartbeat(id=asked.id, received_ns=stamp, answered_ns=stamp, padding=given)
        self._bring(pb.CloudMessage(heartbeat=beat), received)
        if not asked.padding and not asked.answer_bytes:
            self.clock.now = self._down_free_at + self.rtt_s / 2  # else the next leaves before it

    def withdraw(self, sequence: int) -> bool:
        return False

    def finish(self) -> None:
        """The service ends the stream."""
        self._on_end("the service ended the stream")

    def close(self) -> None:
        self.is_closed = True

    def _bring(self, message: pb.CloudMessage, answered: float) -> None:
        took_s = message.ByteSize() * 8 / self.down_bps
        self._down_free_at = max(self._down_free_at, answered) + took_s
        self.clock.arrival = self._down_free_at + self.rtt_s / 2
        self._on_message(message)
        self.clock.arrival = None


class SilentCloud(FakeCloud):
    """Takes everything and says nothing."""

    def send(self, message: pb.EdgeMessage) -> None:
        """Say nothing."""


class ChattyCloud(FakeCloud):
    """Gives signs of life, one a second, and answers after a hundred of them."""

    def send(self, message: pb.EdgeMessage) -> None:
        """Talk, then answer."""
        if message.HasField("heartbeat"):
            for second in range(100):
                self._bring(pb.CloudMessage(heartbeat=pb.Heartbeat()), self.clock.now + second)
        super().send(message)


def refusal(code: pb.ErrorCode, text: str) -> pb.CloudMessage:
    """An Error about the stream."""
    return pb.CloudMessage(error=pb.Error(code=code, message=text))


def _welcome(fingerprint: str) -> pb.CloudMessage:
    welcome = pb.Welcome(
        protocol=PROTOCOL, bundle_fingerprint=fingerprint, window=8, provider="FakeProvider"
    )
    return pb.CloudMessage(welcome=welcome)
