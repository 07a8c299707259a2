"""One stream between an agent and a fake cloud."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from isthmus import Manifest
from isthmus.session import ServiceLimits, ServiceSession
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.stream.transport import OnEnd, OnMessage
from isthmus_edge.testing.received import Received, Receiver

__all__ = ["Line", "Task"]

Heard = Callable[["Line", pb.EdgeMessage], None]


class Line:
    """The agent's end is a `Connection`; the cloud's has the session and what was received."""

    def __init__(
        self,
        manifest: Manifest,
        terms: pb.Welcome,
        heard: Heard,
        on_message: OnMessage,
        on_end: OnEnd,
    ) -> None:
        self.session = ServiceSession(terms, ServiceLimits(), time.monotonic())
        self.receiver = Receiver(manifest)
        self.is_over = False
        self.is_welcome = False
        self.say = on_message
        self._on_end = on_end
        self._heard = heard

    def send(self, message: pb.EdgeMessage) -> None:
        """A message of the agent; it arrives at once."""
        self._heard(self, message)

    def withdraw(self, sequence: int) -> bool:
        """False: all has left at once."""
        return False

    def finish(self) -> None:
        """The agent has said all: the cloud ends the stream, as a service does."""
        self.hang_up("the fake cloud ended the stream")

    def close(self) -> None:
        """The agent ends it."""
        self.is_over = True

    def hang_up(self, reason: str) -> None:
        """The cloud ends it."""
        if not self.is_over:
            self.is_over = True
            self._on_end(reason)


@dataclass(frozen=True, slots=True)
class Task:
    """A frame to be answered, not before `due_s`; times by the monotonic clock."""

    line: Line
    received: Received
    received_ns: int
    due_s: float
