"""Frames through an agent, and an account of how every one of them ended."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.commands import PATIENCE_S, until
from tests.integration.faults.device_held import DeviceHeld
from tests.integration.faults.tally import Tally
from tests.reference import Reference
from tests.tinybundle import tiny_pictures

from isthmus import IsthmusError, max_frame_bytes
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import (
    Agent,
    AgentConfig,
    Answer,
    Connection,
    GrpcTransport,
    OnEnd,
    OnMessage,
    Pace,
    Transport,
)
from isthmus_edge.device.calloff import CallOff

PICTURES = tiny_pictures(4)
CANDIDATES = ("cut-256", "input-jpeg-q95", "cut-16", "input-raw")  # each frame pins the next one
FRAMES_PER_S = 100
SLOW_S = 0.05  # that `SlowRests` take
WINDOW = 8  # frames that the service lets one device have in flight, unless told otherwise

Result = TypeVar("Result")
Ended = Callable[[Future[Answer]], None]

__all__ = [
    "CANDIDATES",
    "FRAMES_PER_S",
    "PICTURES",
    "WINDOW",
    "SlowRests",
    "Traffic",
    "opened",
]


class SlowRests:
    """A pace at which the device takes its time over what the cloud would have done."""

    def __init__(self) -> None:
        self._never = threading.Event()

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        """See `Pace`."""
        if "@" not in kind:  # the head of a candidate's rung has one
            self._never.wait(SLOW_S)
        return work(), 1.0


class CountingTransport:
    """The real one; counts the `frames` that it was given to send, and those that the service still
    `held` when the device came back.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.frames = 0
        self.held = 0

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> Connection:
        """See `Transport`."""

        def heard(message: pb.CloudMessage) -> None:
            self.held += len(message.welcome.held)
            on_message(message)

        return _CountingConnection(self, self._transport.connect(heard, on_end))


class _CountingConnection:
    def __init__(self, transport: CountingTransport, connection: Connection) -> None:
        self._transport = transport
        self._connection = connection
        self.withdraw = connection.withdraw
        self.finish = connection.finish
        self.close = connection.close

    def send(self, message: pb.EdgeMessage) -> None:
        self._connection.send(message)
        self._transport.frames += message.HasField("frame")


class Traffic:
    """Sends frames and remembers them; `ended` hears of every end, on the agent's thread."""

    def __init__(
        self,
        agent: Agent,
        transport: "CountingTransport | None",
        reference: Reference,
        ended: Ended,
    ) -> None:
        self.agent = agent
        self._transport = transport
        self._reference = reference
        self._ended = ended
        self._futures: list[Future[Answer]] = []
        self._places: Counter[str] = Counter()
        self._never = threading.Event()
        self._held: DeviceHeld | None = None

    @property
    def resumed(self) -> int:
        """Frames under way that the service still had when the link was back."""
        assert self._transport is not None, "only one service is counted"
        return self._transport.held

    def answered_by(self, place: str) -> int:
        """How many answers came from there ("cloud", "device") so far."""
        return self._places[place]

    def send(self, count: int, deadline_ms: float | None = None) -> list[Future[Answer]]:
        """Hand over so many frames at once."""
        return [self._send(deadline_ms) for _ in range(count)]

    def fill(self) -> None:
        """Fill the window of a service that has answered everything and does not answer now.

        On a machine that is too busy for it the device may give up the link before.
        """
        transport = self._transport
        assert transport is not None, "only one service is counted"
        enough = transport.frames + WINDOW
        self.send(WINDOW)
        until(
            lambda: transport.frames >= enough or self.agent.stats().link_state != "up",
            "the window is full",
        )

    def flow(self, happened: Callable[[], bool], what: str) -> None:
        """Frames at a camera's pace until it has happened."""
        last_s = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < last_s, f"not within {PATIENCE_S:g} s of frames: {what}"
            self._send(None)
            self._never.wait(1 / FRAMES_PER_S)

    def flow_for(self, duration_s: float) -> None:
        """Frames at a camera's pace for so long."""
        end_s = time.monotonic() + duration_s
        self.flow(lambda: time.monotonic() >= end_s, f"{duration_s:g} s have passed")

    def flow_until_answered_by(self, place: str, count: int = 3) -> None:
        """Frames at a camera's pace until so many more answers have come from there; then none is
        under way.
        """
        enough = self.answered_by(place) + count
        self.flow(lambda: self.answered_by(place) >= enough, f"the {place} answers")
        wait(self._futures, PATIENCE_S)

    def tally(self) -> Tally:
        """Wait for every frame that was sent; how they ended.

        A second end would come from what still works for a frame, so that is waited for, too.
        """
        _, undone = wait(self._futures, PATIENCE_S)
        if not undone:
            self._held = self._held_in_the_end()
        done = [number for number, future in enumerate(self._futures) if future not in undone]
        failed = [number for number in done if self._futures[number].exception() is not None]
        answers = {n: self._futures[n].result() for n in done if n not in set(failed)}
        places = Counter(answer.place for answer in answers.values())
        sequences = Counter(answer.sequence for answer in answers.values())
        return Tally(
            accepted=len(self._futures),
            cloud=places["cloud"],
            device=places["device"],
            errors=len(failed),
            lost=len(undone),
            twice=_repeated(sequences) + self.agent.stats().ended_twice,
            wrong=sum(not self._is_right(n, answer) for n, answer in answers.items())
            + sum(not isinstance(self._futures[n].exception(), IsthmusError) for n in failed),
        )

    def assert_settled(self, tally: Tally) -> None:
        """Each frame ended once, the agent counts the same, and holds nothing of them any more."""
        assert tally.balances, tally
        assert self._held is not None, "tally() comes before"
        assert self._held.is_nothing, self._held
        stats = self.agent.stats()
        assert stats.ended_twice == 0
        assert stats.accepted == tally.accepted
        assert (stats.answered_cloud, stats.answered_device) == (tally.cloud, tally.device)
        assert (stats.errors, stats.pending) == (tally.errors, 0)

    def _held_in_the_end(self) -> DeviceHeld:
        """Nothing, within some time; `assert_settled` asks, once the tally is noted."""
        last_s = time.monotonic() + PATIENCE_S
        while not (held := DeviceHeld.by(self.agent)).is_nothing and time.monotonic() < last_s:
            self._never.wait(1 / FRAMES_PER_S)
        return held

    def _send(self, deadline_ms: float | None) -> Future[Answer]:
        number = len(self._futures)
        future = self.agent.submit(PICTURES[number % 4], deadline_ms, _candidate(number))
        self._futures.append(future)
        future.add_done_callback(self._note_end)
        return future

    def _note_end(self, future: Future[Answer]) -> None:
        if future.exception() is None:
            self._places[future.result().place] += 1
        self._ended(future)

    def _is_right(self, number: int, answer: Answer) -> bool:
        asked = answer.candidate == _candidate(number)
        return asked and self._reference.is_right(answer, PICTURES[number % 4])


@contextmanager
def opened(
    bundle: Path,
    cloud: str,
    ended: Ended = lambda future: None,
    pace: Pace | None = None,
    **settings: object,
) -> Iterator[Traffic]:
    """An agent with its traffic; once it is closed, none of its threads is left.

    What is sent is counted where `cloud` is one address.
    """
    # Submit never waits: what is asked here is not whether the camera is held back.
    common = {"bundle": bundle, "cloud": cloud, "max_queued": 10_000, "patience_ms": 2000.0}
    config = AgentConfig(**(common | settings))  # type: ignore[arg-type]
    reference = Reference(bundle)
    limit = max_frame_bytes(reference.manifest)
    is_one = "," not in cloud and not cloud.startswith("dns:")
    transport = CountingTransport(GrpcTransport(cloud, None, limit)) if is_one else None
    with Agent.open(config, pace=pace, transport=transport) as agent:
        yield Traffic(agent, transport, reference, ended)
    until(_no_thread_is_left, "the agent's threads have ended")


def _candidate(number: int) -> str:
    return CANDIDATES[number // 4 % len(CANDIDATES)]


def _repeated(counts: Counter[int]) -> int:
    return sum(count - 1 for count in counts.values())


def _no_thread_is_left() -> bool:
    return not any(thread.name.startswith("isthmus") for thread in threading.enumerate())
