"""One device's life with the service: connect, keep the stream alive, reconnect, resume.

What may be sent when, and what a message means, is `isthmus.session`'s business; here are the
sockets, the clock and the back-off:

    down --connect, Hello--> greeting --Welcome--> up --silence, end, Drain--> down --next way--> …
                                \\--other weights, no such token--> refused --next way, later--> …

Where there are several ways to the cloud, one that ends is followed by the next at once; each has
a back-off of its own (`ways.py`). The session goes along: a service that does not hold it says so,
and frames are sent once more. Where a look has shown that another service is clearly less loaded
(`balancing.py`), the device leaves as it does when its service drains.

gRPC streams in Python can hang for many minutes after a network change, keepalive or not; the
heartbeat here is the project's own. All methods run on one event loop.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

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
    UpdateOffered,
    Welcomed,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.answer import Service
from isthmus_edge.link import Estimator, LinkEstimate
from isthmus_edge.stream.addresses import LONGEST_RETRY_S
from isthmus_edge.stream.balance import Balance
from isthmus_edge.stream.balancing import Balancing
from isthmus_edge.stream.carried import Carried
from isthmus_edge.stream.flight import Flight, Flights
from isthmus_edge.stream.inbox import Inbox
from isthmus_edge.stream.moving import GOODBYE_S
from isthmus_edge.stream.probing import Probing, fitting_bytes
from isthmus_edge.stream.standing import OnState, Standing, State
from isthmus_edge.stream.transport import BUSY, DENIED, Break, Connection
from isthmus_edge.stream.ways import Way, Ways
from isthmus_edge.stream.wording import end_text, refusal_text

LONGEST_ANSWER_S = 8.0
REFUSED_S = 30.0
log = logging.getLogger("isthmus.edge")

__all__ = ["OnState", "State", "Uplink"]


class Uplink:
    """Keeps one session with the service alive, and brings frames their news."""

    def __init__(
        self,
        ways: Ways,
        identity: Identity,
        silence_s: float,
        estimator: Estimator,
        on_state: OnState,
        policy: Balance | None = None,
    ) -> None:
        """Without a `policy` of when to look at other services it stays while its own lasts."""
        self._ways = ways
        self._identity = identity
        self._silence_s = silence_s
        self._session = DeviceSession(identity, silence_s)
        self._carried = Carried(estimator)
        self._standing = Standing(on_state)
        self.balancing = Balancing(ways, self._standing, policy)
        self._way: Way  # of the present stream
        self._connection: Connection | None = None
        self._is_leaving = False
        self._has_left = asyncio.Event()
        self._flights = Flights()
        self._probing = Probing(estimator)
        self._quiet_until = 0.0
        self._duplicates = 0  # of sessions that are over
        self.connects = 0
        self.queue_ms = 0.0
        self.update: UpdateOffered | None = None
        self.on_verdict: Callable[[pb.Verdict], None] = lambda _: None
        self.on_update: Callable[[UpdateOffered], None] = lambda _: None
        self.on_failed: Callable[[Failed], None] = lambda _: None

    @property
    def state(self) -> State:
        """What the link is to the agent right now."""
        return self._standing.state

    @property
    def service(self) -> Service | None:
        """Who is at the other end; None while nobody is."""
        return self._standing.service

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
        return self._carried.queue_ms(time.monotonic())

    @property
    def link_queue_bytes(self) -> float:
        """How much of them is still on the link, as it is believed to be."""
        return self._carried.queue_bytes(time.monotonic())

    def estimate(self) -> LinkEstimate | None:
        """The link as it is believed to be, or None while nothing can be sent on it.

        That is while it is not up, and as long as the service has asked to be sent nothing.
        """
        now = time.monotonic()
        return self._carried.estimate(now) if self._takes_frames(now) else None

    def _takes_frames(self, now: float) -> bool:
        return self.state == "up" and now >= self._quiet_until

    def explore(self, *, wanted: bool) -> None:
        """Whether a fresh look at an idle link might change what is decided."""
        self._probing.wanted = wanted

    async def run(self, first: asyncio.Future[None]) -> None:
        """Stay connected until cancelled. `first` gets the outcome of the first round of ways.

        A service that refuses this device may be replaced by one that does not: it is asked again,
        but rarely.
        """
        try:
            while not self._is_leaving:
                try:
                    way = await self._ways.next()
                except LinkError as error:
                    self._standing.tell_refusals()
                    self._standing.change("down", str(error))
                    _fail(first, error)
                    continue
                if self._session.state == "refused":
                    self._begin_anew()
                await self._one_stream(way, first)
        finally:
            self._has_left.set()
            await self.balancing.close()
            await self._ways.close()

    def _begin_anew(self) -> None:
        """Another session, and another id: a service may still hold the one that is over."""
        self._duplicates += self._session.duplicates
        self._identity = replace(self._identity, session_id=uuid.uuid4().hex)
        self._session = DeviceSession(self._identity, self._silence_s)

    def send(self, frame: pb.Frame, answer_bytes: int) -> Flight:
        """Send a frame; LinkError if there is no stream, SessionError without a credit.

        `answer_bytes` is how large its answer will be.
        """
        if self._connection is None or not self._takes_frames(time.monotonic()):
            raise LinkError("the link is down, or the service wants to be sent nothing")
        message = self._session.send(frame)
        self._carried.frame(frame.sequence, message.ByteSize(), time.monotonic())
        self._probing.note_frame()
        self._connection.send(message)
        return self._flights.sent(frame.sequence, answer_bytes)

    def audit(self, sequence: int, raw_input: pb.Frame) -> None:
        """Have a frame's answer compared; dropped in silence where there is no stream."""
        if self._connection is not None and self._takes_frames(time.monotonic()):
            message = self._session.audit(sequence, raw_input)
            self._carried.audit(message.ByteSize(), time.monotonic())
            self._connection.send(message)

    def forget(self, sequence: int) -> bool:
        """Nobody waits for this frame any more; the service is told if it still might work.

        What has not left yet stays here: a link that is too slow shall not carry what is stale.
        True if that is so.
        """
        self._flights.forget(sequence)
        message = self._session.cancel(sequence)
        if message is None or self._connection is None:
            return False
        is_here = self._connection.withdraw(sequence)
        if is_here:
            self._carried.withdrawn(sequence)
        self._connection.send(message)
        return is_here

    async def leave(self) -> None:
        """Tell the service that nothing is needed any more, so that it keeps nothing; then `close`.

        Without a stream that is at once; a service that does not end it is not waited for long.
        """
        if self._connection is not None and self._session.state in {"open", "draining"}:
            self._is_leaving = True
            self._say_goodbye(self._connection)
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._has_left.wait()
        self.close()

    def close(self) -> None:
        """End the session at once; frames in flight learn that it is lost."""
        self._session.close()
        self._over("down", "the agent was closed")

    async def _one_stream(self, way: Way, first: asyncio.Future[None]) -> None:
        """Connect, and heed messages and time until the stream is over."""
        self._way, inbox = way, Inbox()
        self.balancing.new_stream(inbox.wake)
        hello = self._session.connect(time.monotonic())
        try:
            self._connection = way.transport.connect(inbox.post, inbox.post)
        except Exception as error:
            log.exception("the transport could not begin a connection")
            self._heed(self._session.lost(f"no connection: {error!r}"), first, time.monotonic())
            return
        self._connection.send(hello)
        while self._connection is not None:
            item = await inbox.next(self._session.wakes_at() - time.monotonic())
            now = time.monotonic()
            match item:
                case None:
                    self._heed(self._session.tick(now), first, now)
                case Break() if self._is_leaving:
                    self.close()
                case Break() as end:
                    text = end_text(end, self._session.state)
                    self._heed(self._session.lost(text, end.status, end.retry_after_s), first, now)
                case message:
                    self._carried.learn(message)
                    self._heed(self._session.received(message, now), first, now)
                    self._allow_for_answers()
            self._beat_if_due(now)
            self._look_or_move_on(first, now)

    def _allow_for_answers(self) -> None:
        """By the link as it is while something is heard: silence itself must buy no time."""
        link = self._carried.estimate(time.monotonic())
        if link is not None:
            answer_s = link.at(-1).transfer_ms(self._flights.largest_answer_bytes) / 1e3
            self._session.allow_for_answers(min(answer_s, LONGEST_ANSWER_S))

    def _heed(self, events: list[DeviceEvent], first: asyncio.Future[None], now: float) -> None:
        for event in events:
            match event:
                case Answered() | Failed() | Missing():
                    self._bring(event, now)
                case Echoed():
                    self._echoed(event, now)
                case LoadTold():
                    self.queue_ms = event.queue_ms
                    self.balancing.told(event)
                case Told(verdict):
                    self.on_verdict(verdict)
                case UpdateOffered():
                    self.update = event
                    self.on_update(event)
                case _:
                    self._heed_stream(event, first)

    def _heed_stream(
        self, event: Welcomed | Draining | Lost | Refused, first: asyncio.Future[None]
    ) -> None:
        """What changes the state of the link."""
        match event:
            case Welcomed():
                self._welcomed(event, first)
            case Draining():
                self._standing.change("draining", "the service is draining")
            case Lost(reason) if self.balancing.is_moving:
                self._over("down", f"left for another service: {reason}")
            case Lost(reason, code, retry_after_s):
                denied = code in DENIED
                is_busy = code in BUSY and self.state not in {"up", "draining"}
                asked_s = min(retry_after_s, LONGEST_RETRY_S)
                self._ways.failed(self._way, max(asked_s, REFUSED_S) if denied else asked_s)
                self._end("refused" if denied or is_busy else "down", LinkError(reason), first)
            case Refused(code, text):
                self._ways.failed(self._way, REFUSED_S)
                self._end("refused", PeerError(code, refusal_text(code, text)), first)

    def _end(self, state: State, error: LinkError | PeerError, first: asyncio.Future[None]) -> None:
        """The stream is over; while there is another way, it is that which counts."""
        reason = f"{self._way.address}: {error}"
        if self._ways.has_fresh():
            if state == "refused":
                self._standing.refused_by(self._way.address, reason)
            self._over("down", reason)
        else:
            self._standing.tell_refusals()
            self._over(state, reason)
            _fail(first, error)

    def _welcomed(self, welcomed: Welcomed, first: asyncio.Future[None]) -> None:
        self.connects += 1
        self._ways.worked(self._way)
        self._quiet_until = 0.0
        self.balancing.welcomed(self._way, self._identity)
        self._carried.begin()
        self._probing.begin()
        self._standing.let_in(str(self._way.address), welcomed)
        for padding_bytes in self._probing.opening():
            self._send_beat(padding_bytes)
        if not first.done():
            first.set_result(None)

    def _bring(self, news: Answered | Failed | Missing, now: float) -> None:
        if isinstance(news, Failed):
            self.on_failed(news)
            rest_s = min(news.retry_after_s, LONGEST_RETRY_S)
            self._quiet_until = max(self._quiet_until, now + rest_s)
        self._flights.bring(news)

    def _look_or_move_on(self, first: asyncio.Future[None], now: float) -> None:
        if self._connection is None:
            return
        match self.balancing.step(now, self._measured_link, awaits=self._flights.are_awaited):
            case "goodbye":
                self._say_goodbye(self._connection)
            case "leave":
                self._heed(self._session.lost("it was waited for long enough"), first, now)

    def _measured_link(self) -> LinkEstimate | None:
        """Also while the service wants no frames: then above all is another one of use."""
        is_known = self.state == "up" and self.measured.is_set()
        return self._carried.estimate(time.monotonic()) if is_known else None

    def _say_goodbye(self, connection: Connection) -> None:
        """The service hears what it may forget, and that nothing follows."""
        self._send_beat(0)
        connection.finish()

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
        message = self._session.beat(now, padding_bytes, link=self._carried.report(now))
        number = self._carried.beat(message.ByteSize(), now)
        self._probing.sent(message.heartbeat.id, number, padding_bytes)
        self._connection.send(message)

    def _over(self, state: State, reason: str) -> None:
        """The stream has ended, whoever ended it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.balancing.lost()
        self._flights.lose(reason)
        self._standing.change(state, reason)


def _fail(first: asyncio.Future[None], error: Exception) -> None:
    if not first.done():
        first.set_exception(error)
