"""A service in the same process, behind the transport seam, that misbehaves on demand."""

import time
from collections.abc import Callable

import numpy as np
from tests.tinybundle import PROBABILITIES

from isthmus import TensorSpec, encode_answer
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Connection, OnEnd, OnMessage

MARK = 7  # the class that the fake service always answers: no picture of the tests is of it

Respond = Callable[[pb.Frame], pb.CloudMessage | None]


def marked_answer(frame: pb.Frame, spec: TensorSpec = PROBABILITIES) -> pb.CloudMessage:
    row = np.zeros((1, *spec.shape), np.float32)
    row[0, MARK] = 1.0
    timing = pb.Timing(received_ns=time.monotonic_ns(), run_ms=1.0, total_ms=1.0)
    result = pb.Result(
        sequence=frame.sequence, outputs=[encode_answer(spec, row, 0)], timing=timing
    )
    return pb.CloudMessage(result=result)


def frame_error(code: pb.ErrorCode) -> Respond:
    return lambda frame: pb.CloudMessage(
        error=pb.Error(sequence=frame.sequence, code=code, message="on demand")
    )


class FakeService:
    """Answers Welcome, heartbeats and frames at once, unless told otherwise."""

    def __init__(self) -> None:
        self.respond: Respond = marked_answer
        self.greeting: pb.CloudMessage | None = pb.CloudMessage(
            welcome=pb.Welcome(protocol=PROTOCOL, window=4, provider="fake")
        )
        self.reachable = True
        self.echo = True
        self.connects = 0
        self.frames: list[pb.Frame] = []
        self._connection: _FakeConnection | None = None

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> Connection:
        self.connects += 1
        self._connection = _FakeConnection(self, on_message, on_end)
        if not self.reachable:
            on_end("UNAVAILABLE: nobody listens")
        return self._connection

    def say(self, message: pb.CloudMessage) -> None:
        """A message of the service's own accord."""
        assert self._connection is not None
        self._connection.on_message(message)

    def hang_up(self) -> None:
        """The stream breaks, seen from the service's side."""
        assert self._connection is not None
        self._connection.on_end("the peer hung up")


class _FakeConnection:
    def __init__(self, service: FakeService, on_message: OnMessage, on_end: OnEnd) -> None:
        self._service = service
        self.on_message = on_message
        self.on_end = on_end

    def send(self, message: pb.EdgeMessage) -> None:
        if not self._service.reachable:
            return
        answer: pb.CloudMessage | None = None
        match message.WhichOneof("kind"):
            case "hello":
                answer = self._service.greeting
            case "heartbeat" if self._service.echo:
                beat = pb.Heartbeat(id=message.heartbeat.id, received_ns=time.monotonic_ns())
                answer = pb.CloudMessage(heartbeat=beat)
            case "frame":
                self._service.frames.append(message.frame)
                answer = self._service.respond(message.frame)
            case _:
                pass
        if answer is not None:
            self.on_message(answer)

    def close(self) -> None:
        pass
