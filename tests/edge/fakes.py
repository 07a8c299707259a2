"""A service in the same process, behind the transport seam, that misbehaves on demand."""

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tests.commands import PATIENCE_S
from tests.tinybundle import PICTURE, PROBABILITIES
from tests.widebundle import GAIN

from isthmus import (
    Kept,
    KeyFrameNeededError,
    Manifest,
    SymbolCoder,
    TensorSpec,
    decode_frame,
    encode_answer,
)
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Connection, OnEnd, OnMessage
from isthmus_edge.device.calloff import CallOff
from isthmus_edge.stream.transport import Break

MARK = 7  # the class that the fake service always answers: no picture of the tests is of it

Respond = Callable[[pb.Frame], pb.CloudMessage | None]
Result = TypeVar("Result")


def wide_item(picture: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    """The wide bundle's inputs for a picture."""
    return {PICTURE.name: picture, GAIN.name: np.array(1, np.float32)}


def marked_answer(frame: pb.Frame, spec: TensorSpec = PROBABILITIES) -> pb.CloudMessage:
    row = np.zeros((1, *spec.shape), np.float32)
    row[0, MARK] = 1.0
    timing = pb.Timing(received_ns=time.monotonic_ns(), run_ms=1.0, total_ms=1.0)
    result = pb.Result(
        sequence=frame.sequence, outputs=[encode_answer(spec, row, 0)], timing=timing
    )
    return pb.CloudMessage(result=result)


def frame_error(code: pb.ErrorCode) -> Callable[[pb.Frame], pb.CloudMessage]:
    return lambda frame: pb.CloudMessage(
        error=pb.Error(sequence=frame.sequence, code=code, message="on demand")
    )


class Decoder:
    """Responds as the cloud does, with a memory of one frame; the tensors stay here."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._coder = SymbolCoder()
        self.kept: Kept | None = None
        self.tensors: dict[int, tuple[NDArray[np.generic], ...]] = {}

    def __call__(self, frame: pb.Frame) -> pb.CloudMessage | None:
        candidate = self._manifest.candidate(frame.candidate)
        cut = self._manifest.cut_of(candidate)
        try:
            tensors, self.kept = decode_frame(frame, candidate, cut, self._coder, self.kept)
        except KeyFrameNeededError:
            return frame_error(pb.ERROR_CODE_KEY_FRAME_NEEDED)(frame)
        self.tensors[frame.sequence] = tensors
        return marked_answer(frame)


class PlannedPace:
    """Computes at full speed and reports the plan's times, so that the policy has a choice."""

    def __init__(self, manifest: Manifest) -> None:
        self._ms = {
            f"{candidate.id}@{index}": rung.figures.device_ms
            for candidate in manifest.candidates
            for index, rung in enumerate(candidate.rungs)
        }
        whole_ms = manifest.local.figures.device_ms
        segments = max(len(chain.segments) for chain in manifest.chains)
        self._ms["whole"], self._segment_ms = whole_ms, whole_ms / segments

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        return work(), self._ms.get(kind, self._segment_ms)


class SlowRest:
    """Heads take no time; what follows after an outage waits for the test."""

    def __init__(self) -> None:
        self.go_on = Event()
        self.begun: list[str] = []

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        if kind.startswith("segment"):
            self.begun.append(kind)
            assert self.go_on.wait(PATIENCE_S)
        return work(), 1.0


class FakeService:
    """Answers Welcome, heartbeats and frames at once, unless told otherwise.

    `link_bps` is the bandwidth of the link that the time stamps of its answers tell of: below
    that of links so fast that nothing is entropy coded.
    """

    def __init__(self) -> None:
        self.respond: Respond = marked_answer
        self.greeting: pb.CloudMessage | None = pb.CloudMessage(
            welcome=pb.Welcome(protocol=PROTOCOL, window=4, provider="fake")
        )
        self.reachable = True
        self.echo = True
        self.link_bps = 1e8
        self.frames: list[pb.Frame] = []
        self.audits: list[pb.Audit] = []
        self.heard: Callable[[pb.EdgeMessage], None] = lambda _: None
        self.judge: Callable[[pb.Audit], pb.Verdict | None] = lambda _: None
        self.hellos: list[pb.Hello] = []
        self.goodbyes = 0
        self.cancelled: list[int] = []
        self.connections: list[_FakeConnection] = []
        self._link_free_at = 0.0

    @property
    def connects(self) -> int:
        return len(self.connections)

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> Connection:
        connection = _FakeConnection(self, on_message, on_end)
        self.connections.append(connection)
        if not self.reachable:
            on_end("UNAVAILABLE: nobody listens")
        return connection

    def arrival_ns(self, size_bytes: int) -> int:
        """When a message that is sent now would have come over the link."""
        begins = max(self._link_free_at, time.monotonic())
        self._link_free_at = begins + size_bytes * 8 / self.link_bps
        return int(self._link_free_at * 1e9)

    def say(self, message: pb.CloudMessage) -> None:
        """A message of the service's own accord."""
        self.connections[-1].on_message(message)

    def hang_up(self) -> None:
        """The stream breaks, seen from the service's side."""
        self.connections[-1].on_end("the peer hung up")


class _FakeConnection:
    def __init__(self, service: FakeService, on_message: OnMessage, on_end: OnEnd) -> None:
        self._service = service
        self.on_message = on_message
        self.on_end = on_end
        self.frames: list[pb.Frame] = []

    def withdraw(self, sequence: int) -> bool:
        return False  # all has left at once

    def finish(self) -> None:
        self._service.goodbyes += 1
        if self._service.reachable:
            self.on_end(Break("the service ended the stream", is_orderly=True))

    def send(self, message: pb.EdgeMessage) -> None:
        if not self._service.reachable:
            return
        self._service.heard(message)
        answer: pb.CloudMessage | None = None
        match message.WhichOneof("kind"):
            case "cancel":
                self._service.cancelled.extend(message.cancel.sequences)
            case "hello":
                self._service.hellos.append(message.hello)
                answer = self._service.greeting
            case "heartbeat" if self._service.echo:
                arrival_ns = self._service.arrival_ns(message.heartbeat.ByteSize())
                beat = pb.Heartbeat(id=message.heartbeat.id, received_ns=arrival_ns)
                answer = pb.CloudMessage(heartbeat=beat)
            case "frame":
                arrival_ns = self._service.arrival_ns(message.frame.ByteSize())
                self.frames.append(message.frame)
                self._service.frames.append(message.frame)
                answer = self._service.respond(message.frame)
                if answer is not None and answer.WhichOneof("kind") == "result":
                    answer.result.timing.received_ns = arrival_ns
            case "audit":
                self._service.audits.append(message.audit)
                verdict = self._service.judge(message.audit)
                answer = None if verdict is None else pb.CloudMessage(verdict=verdict)
            case _:
                pass
        if answer is not None:
            self.on_message(answer)

    def close(self) -> None:
        pass
