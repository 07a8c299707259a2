"""One device's life with the service: connect, keep the stream alive, reconnect, resume.

What may be sent when, and what a message means, is `isthmus.session`'s business; here are the
sockets, the clock and the back-off:

    down --connect, Hello--> greeting --Welcome--> up --silence, end, Drain--> down --back-off--> …
                                \\--the two sides hold different weights--> refused --later--> …

gRPC streams in Python can hang for many minutes after a network change, keepalive or not; the
heartbeat here is the project's own. All methods run on one event loop.
"""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from isthmus import LinkError, PeerError
from isthmus.session import (
    Answered,
    DeviceEvent,
    DeviceSession,
    Draining,
    Echoed,
    Failed,
    Identity,
    LoadTold,
    Lost,
    Missing,
    Refused,
    Told,
    Welcomed,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.link import Estimator, LinkEstimate
from isthmus_edge.stream.probing import Probing, fitting_bytes
from isthmus_edge.stream.transport import Connection, Transport

BACKOFF_S = (0.1, 1.5)
LONGEST_ANSWER_S = 8.0
LONGEST_WAIT_S = 0.5  # a clock that is set back must not keep the time that is up from being seen
REFUSED_S = 30.0

State = Literal["down", "up", "draining", "refused"]
OnState = Callable[[State, str], None]
OnVerdict = Callable[[pb.Verdict], None]
News = Answered | Failed | Missing | Lost

log = logging.getLogger("isthmus.edge")

__all__ = ["Flight", "News", "OnState", "State", "Uplink"]


@dataclass(slots=True, eq=False)
class Flight:
    """A frame that was sent; what becomes of it comes as `news`."""

    sequence: int
    answer_bytes: int
    news: asyncio.Queue[News] = field(default_factory=asyncio.Queue)
    is_awaited: bool = True  # its answer may be on its way


class Uplink:
    """Keeps one session with the service alive, and brings frames their news."""

    def __init__(
        self,
        transport: Transport,
        identity: Identity,
        silence_s: float,
        estimator: Estimator,
        on_state: OnState,
    ) -> None:
        self._transport = transport
        self._identity = identity
        self._silence_s = silence_s
        self._session = DeviceSession(identity, silence_s)
        self._estimator = estimator
        self._on_state = on_state
        self._connection: Connection | None = None
        self._state: State = "down"
        self._flights: dict[int, Flight] = {}
        self._on_link: dict[int, int] = {}  # the estimator's names of frames without a reply yet
        self._probing = Probing(estimator)
        self._failures = 0
        self._duplicates = 0  # of sessions that are over
        self.connects = 0
        self.queue_ms = 0.0
        self.on_verdict: OnVerdict = lambda _: None

    @property
    def state(self) -> State:
        """What the link is to the agent right now."""
        return self._state

    @property
    def measured(self) -> asyncio.Event:
        """Set as soon as the bandwidth of this stream is known."""
        return self._probing.measured

    @property
    def window(self) -> int:
        """How many frames the service takes at once."""
        return self._session.window

    @property
    def credits(self) -> int:
        """How many more it takes now."""
        return self._session.credits

    @property
    def duplicates(self) -> int:
        """Answers that came for frames that had theirs."""
        return self._duplicates + self._session.duplicates

    @property
    def link_queue_ms(self) -> float:
        """How long the next frame would wait behind those that are still on the link."""
        return self._estimator.queue_s(time.monotonic()) * 1e3

    @property
    def link_queue_bytes(self) -> float:
        """How much of them is still on the link, as it is believed to be."""
        link = self._estimator.estimate(time.monotonic())
        return 0.0 if link is None else self.link_queue_ms * link.bandwidth_bps / 8e3

    def estimate(self) -> LinkEstimate | None:
        """The link as it is believed to be, or None while it is not up."""
        return self._estimator.estimate(time.monotonic()) if self._state == "up" else None

    def explore(self, *, wanted: bool) -> None:
        """Whether a fresh look at an idle link might change what is decided."""
        self._probing.wanted = wanted

    async def run(self, first: asyncio.Future[None]) -> None:
        """Stay connected until cancelled. `first` gets the outcome of the first attempt.

        A service that refuses this device may be replaced by one that does not: it is asked again,
        but rarely.
        """
        while True:
            await self._one_stream(first)
            if self._state == "refused":
                await asyncio.sleep(REFUSED_S)
                self._begin_anew()
            else:
                await asyncio.sleep(_backoff_s(self._failures))

    def _begin_anew(self) -> None:
        """Another session, and another id: a service may still hold the one that is over."""
        self._duplicates += self._session.duplicates
        self._identity = replace(self._identity, session_id=uuid.uuid4().hex)
        self._session = DeviceSession(self._identity, self._silence_s)

    def send(self, frame: pb.Frame, answer_bytes: int) -> Flight:
        """Send a frame; LinkError if there is no stream, SessionError without a credit.

        `answer_bytes` is how large its answer will be.
        """
        if self._connection is None or self._state != "up":
            raise LinkError("the link went down before the frame was sent")
        message = self._session.send(frame)
        number = self._estimator.sent(message.ByteSize(), time.monotonic())
        self._on_link[frame.sequence] = number
        flight = self._flights.setdefault(frame.sequence, Flight(frame.sequence, answer_bytes))
        flight.is_awaited = True
        self._probing.note_frame()
        self._connection.send(message)
        return flight

    def audit(self, sequence: int, raw_input: pb.Frame) -> None:
        """Have a frame's answer compared; dropped in silence where there is no stream."""
        if self._connection is not None and self._state == "up":
            message = self._session.audit(sequence, raw_input)
            number = self._estimator.sent(message.ByteSize(), time.monotonic())
            self._connection.send(message)
            self._estimator.lost(number)  # its verdict comes too late to learn from

    def forget(self, sequence: int) -> None:
        """Nobody waits for this frame any more; the service is told if it still might work.

        What has not left yet stays here: a link that is too slow shall not carry what is stale.
        """
        self._flights.pop(sequence, None)
        message = self._session.cancel(sequence)
        if message is not None and self._connection is not None:
            if self._connection.withdraw(sequence):
                self._estimator.withdrawn(self._on_link.pop(sequence, 0))
            self._connection.send(message)

    def close(self) -> None:
        """End the session; frames in flight learn that it is lost."""
        self._session.close()
        self._over("down", "the agent was closed")

    async def _one_stream(self, first: asyncio.Future[None]) -> None:
        """Connect, and heed messages and time until the stream is over."""
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[pb.CloudMessage | str] = asyncio.Queue()

        def post(item: pb.CloudMessage | str) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(inbox.put_nowait, item)

        hello = self._session.connect(time.monotonic())
        try:
            self._connection = self._transport.connect(post, post)
        except Exception as error:
            log.exception("the transport could not begin a connection")
            self._heed(self._session.lost(f"no connection: {error!r}"), first, time.monotonic())
            return
        self._connection.send(hello)
        while self._connection is not None:
            item = await _next(inbox, self._session.wakes_at() - time.monotonic())
            now = time.monotonic()
            match item:
                case None:
                    self._heed(self._session.tick(now), first, now)
                case str() as reason:
                    was_up = self._session.state != "greeting"
                    what = "the link to the cloud broke" if was_up else "the cloud is not there"
                    self._heed(self._session.lost(f"{what}: {reason}"), first, now)
                case message:
                    self._learn(message)
                    self._heed(self._session.received(message, now), first, now)
                    self._allow_for_answers()
            self._beat_if_due(now)

    def _learn(self, message: pb.CloudMessage) -> None:
        """Every reply about a frame tells when it arrived, also if nobody waits for it any more."""
        match message.WhichOneof("kind"):
            case "result":
                timing = message.result.timing
                number = self._on_link.pop(message.result.sequence, 0)
                self._estimator.received(number, timing.received_ns / 1e9, timing.total_ms / 1e3)
            case "error" if message.error.received_ns:
                number = self._on_link.pop(message.error.sequence, 0)
                self._estimator.received(number, message.error.received_ns / 1e9)
            case "error":
                self._estimator.lost(self._on_link.pop(message.error.sequence, 0))

    def _allow_for_answers(self) -> None:
        """By the link as it is while something is heard: silence itself must buy no time."""
        link = self._estimator.estimate(time.monotonic())
        if link is not None:
            awaited = [
                flight.answer_bytes for flight in self._flights.values() if flight.is_awaited
            ]
            answer_s = link.at(-1).transfer_ms(max(awaited, default=0)) / 1e3
            self._session.allow_for_answers(min(answer_s, LONGEST_ANSWER_S))

    def _heed(self, events: list[DeviceEvent], first: asyncio.Future[None], now: float) -> None:
        for event in events:
            match event:
                case Answered() | Failed() | Missing():
                    self._bring(event)
                case Echoed():
                    self._echoed(event, now)
                case LoadTold(queue_ms):
                    self.queue_ms = queue_ms
                case Told(verdict):
                    self.on_verdict(verdict)
                case Welcomed():
                    self._welcomed(event, first)
                case Draining():
                    self._change("draining", "the service is draining")
                case Lost(reason):
                    self._failures += 1
                    self._over("down", reason)
                    _fail(first, LinkError(reason))
                case Refused(code, text):
                    self._over("refused", text)
                    _fail(first, PeerError(code, text))

    def _welcomed(self, welcomed: Welcomed, first: asyncio.Future[None]) -> None:
        self.connects += 1
        self._failures = 0
        self._estimator.reset()
        self._on_link.clear()
        self._probing.begin()
        resumed = ", session resumed" if welcomed.resumed else ""
        self._change("up", f"connected, tails run on {welcomed.provider}{resumed}")
        for padding_bytes in self._probing.opening():
            self._send_beat(padding_bytes)
        if not first.done():
            first.set_result(None)

    def _bring(self, news: Answered | Failed | Missing) -> None:
        flight = self._flights.get(news.sequence)
        if flight is not None:
            flight.is_awaited = False
            flight.news.put_nowait(news)

    def _echoed(self, echo: Echoed, now: float) -> None:
        if self._probing.echoed(echo, now):
            self._send_beat(fitting_bytes(self.estimate()))

    def _beat_if_due(self, now: float) -> None:
        if self._connection is not None and self._session.wants_beat(now):
            idle = not self._flights
            self._send_beat(self._probing.padding_bytes(self.estimate(), now, idle=idle))

    def _send_beat(self, padding_bytes: int) -> None:
        assert self._connection is not None
        now = time.monotonic()
        message = self._session.beat(now, padding_bytes)
        number = self._estimator.sent(message.ByteSize(), now)
        self._probing.sent(message.heartbeat.id, number, padding_bytes)
        self._connection.send(message)

    def _over(self, state: State, reason: str) -> None:
        """The stream has ended, whoever ended it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        for flight in self._flights.values():
            flight.news.put_nowait(Lost(reason))
        self._change(state, reason)

    def _change(self, state: State, reason: str) -> None:
        was, self._state = self._state, state
        if was != state:
            self._on_state(state, reason)


async def _next(
    inbox: asyncio.Queue[pb.CloudMessage | str], timeout_s: float
) -> pb.CloudMessage | str | None:
    """The next message, or None when the time is up: what has come is heeded before the clock."""
    if not inbox.empty():
        return inbox.get_nowait()
    try:
        async with asyncio.timeout(min(max(timeout_s, 0.0), LONGEST_WAIT_S)):
            return await inbox.get()
    except TimeoutError:
        return None


def _backoff_s(failures: int) -> float:
    """Exponential, with jitter, so that many devices do not come back in step."""
    least, most = BACKOFF_S
    return min(least * 2.0**failures, most) * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)


def _fail(first: asyncio.Future[None], error: Exception) -> None:
    if not first.done():
        first.set_exception(error)
