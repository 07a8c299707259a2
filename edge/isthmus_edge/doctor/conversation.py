"""A short talk with the service in the split protocol: greeting, round trips, a burst each way.

Times are read where a message comes in, on the transport's thread. `isthmus.session` knows what may
be said; nothing is computed and no frame is sent.
"""

import queue
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from isthmus import LinkError, PeerError
from isthmus.session import DeviceSession, Echoed, Identity, Lost, Refused, Welcomed
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.stream.moving import GOODBYE_S
from isthmus_edge.stream.probing import PROBE_BYTES, PROBE_SHARE_S
from isthmus_edge.stream.transport import Break, Connection, Transport

SILENCE_S = 5.0
WARMING = 2  # the first messages of a connection are slow
BURST = 8  # heartbeats, one behind the other, that are padded on their way up or down
_LEAST_S = 1e-6  # between two times that a coarse clock took for one

__all__ = ["BURST", "SILENCE_S", "WARMING", "Conversation", "Echo"]


@dataclass(frozen=True, slots=True)
class Echo:
    """A heartbeat that came back; `received_s` is the service's clock, the others this one's.

    It took `up_bytes` on its way up, and its answer was padded with `padding_bytes`.
    """

    sent_s: float
    received_s: float
    back_s: float
    held_s: float
    up_bytes: int
    padding_bytes: int

    @property
    def round_trip_ms(self) -> float:
        """Less what the service held it."""
        return (self.back_s - self.sent_s - self.held_s) * 1e3


class Conversation:
    """One stream, from Hello to its end; LinkError if it breaks, PeerError if it is refused."""

    def __init__(
        self, transport: Transport, fingerprint: str, clock_s: Callable[[], float]
    ) -> None:
        self._clock_s = clock_s
        self._session = DeviceSession(Identity(uuid.uuid4().hex, fingerprint), SILENCE_S)
        self._inbox: queue.SimpleQueue[tuple[float, pb.CloudMessage | Break]] = queue.SimpleQueue()
        self._connection: Connection = transport.connect(self._came, self._came)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._take_leave()
        finally:
            self._connection.close()

    def greet(self) -> str:
        """Hello; what runs the tails, as the service's Welcome says it."""
        self._connection.send(self._session.connect(self._clock_s()))
        until_s = self._clock_s() + SILENCE_S
        while True:
            for event, _ in self._events("Welcome", until_s):
                if isinstance(event, Welcomed):
                    return event.provider

    def round_trips_ms(self, count: int) -> list[float]:
        """Of small heartbeats, one after another."""
        taken = [self.beats(1)[0].round_trip_ms for _ in range(count + WARMING)]
        return taken[WARMING:]

    def up_bps(self) -> float:
        """What the link carries upwards, from when the heartbeats of a burst had arrived.

        A single probe says first how large the burst may be; the clocks of the two sides are never
        compared.
        """
        small, probe = self.beats(1)[0], self.beats(1, PROBE_BYTES[0])[0]
        extra_s = (probe.received_s - probe.sent_s) - (small.received_s - small.sent_s)
        echoes = self.beats(BURST, _burst_bytes(PROBE_BYTES[0], extra_s))
        passed_s = echoes[-1].received_s - echoes[0].received_s
        return _bps(sum(echo.up_bytes for echo in echoes[1:]), passed_s)

    def down_bps(self) -> float | None:
        """The same downwards, from when padded answers are back; None if the service pads none."""
        small, probe = self.beats(1)[0], self.beats(1, answer_bytes=PROBE_BYTES[0])[0]
        extra_s = (probe.round_trip_ms - small.round_trip_ms) / 1e3
        asked = _burst_bytes(probe.padding_bytes, extra_s)
        echoes = self.beats(BURST, answer_bytes=asked)
        came = sum(echo.padding_bytes for echo in echoes[1:])
        return _bps(came, echoes[-1].back_s - echoes[0].back_s) if came else None

    def beats(self, count: int, padding_bytes: int = 0, answer_bytes: int = 0) -> list[Echo]:
        """So many heartbeats at once, and their echoes in order.

        SILENCE_S is for each echo: a slow link may take its time for a burst, but signs of life are
        no answer.
        """
        sent: list[tuple[float, int]] = []
        for _ in range(count):
            now = self._clock_s()
            message = self._session.beat(now, padding_bytes, answer_bytes)
            sent.append((now, message.ByteSize()))
            self._connection.send(message)
        echoes: list[Echo] = []
        until_s = self._clock_s() + SILENCE_S
        while len(echoes) < count:
            for event, now in self._events("echo of a heartbeat", until_s):
                if isinstance(event, Echoed):
                    until_s = now + SILENCE_S
                    began, up_bytes = sent[len(echoes)]
                    padding = event.padding_bytes
                    echoes.append(
                        Echo(began, event.received_s, now, event.held_s, up_bytes, padding)
                    )
        return echoes

    def _events(self, awaited: str, until_s: float) -> Iterator[tuple[object, float]]:
        """Of the next message; LinkError unless it came before `until_s`."""
        try:
            now, item = self._inbox.get(timeout=max(0.0, until_s - self._clock_s()))
        except queue.Empty as error:
            raise LinkError(f"SILENT: no {awaited} within {SILENCE_S:g} s") from error
        if now > until_s:
            raise LinkError(f"SILENT: no {awaited} within {SILENCE_S:g} s")
        if isinstance(item, Break):
            raise LinkError(item.reason)
        for event in self._session.received(item, now):
            match event:
                case Refused(code, text):
                    raise PeerError(code, text)
                case Lost(reason):
                    raise LinkError(reason)
                case _:
                    yield event, now

    def _take_leave(self) -> None:
        """The service ends the stream, and need not take it for one that broke."""
        self._connection.finish()
        until_s = self._clock_s() + GOODBYE_S
        with suppress(queue.Empty):
            item: pb.CloudMessage | Break | None = None
            while not isinstance(item, Break):
                _, item = self._inbox.get(timeout=max(0.0, until_s - self._clock_s()))

    def _came(self, item: pb.CloudMessage | str | Break) -> None:
        given = item if isinstance(item, pb.CloudMessage) else Break.of(item)
        self._inbox.put((self._clock_s(), given))


def _burst_bytes(probe_bytes: int, extra_s: float) -> int:
    """For each heartbeat of a burst, where a probe took so much longer than a small heartbeat."""
    rough = probe_bytes / max(extra_s, _LEAST_S)
    return int(min(max(rough * PROBE_SHARE_S, PROBE_BYTES[0]), PROBE_BYTES[1]))


def _bps(count: int, passed_s: float) -> float:
    return count * 8 / max(passed_s, _LEAST_S)
