"""One stream at work: a reader, a writer, and an alarm for what runs out.

What the reader answers itself stands in the outbox, which is bounded: a device that does not read
fills it; then its messages are not read either, and the transport's flow control holds it back.
The outcomes of frames wait in their session, bounded by its window, and are told when the outbox
is empty: so heartbeats come back before results. A message that is not taken for `idle_s` ends the
stream, as one that broke: its session may go on elsewhere.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterable, Awaitable, Callable

from isthmus import LinkError, WireError
from isthmus.session import (
    Answer,
    Check,
    Close,
    GiveUp,
    Greet,
    Reply,
    ServiceEvent,
    complete_echo,
    error_message,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.sessions.alarm import Alarm
from isthmus_cloud.sessions.held import HeldSession
from isthmus_cloud.sessions.outbox import Outbox
from isthmus_cloud.sessions.sessions import Sessions
from isthmus_cloud.sessions.visitor import Visitor
from isthmus_cloud.telemetry import LinkReported, StreamClosed

OUTBOX_MESSAGES = 16

__all__ = ["Stream"]

_logger = logging.getLogger(__name__)


class Stream:
    """Moves one device's messages between the transport and its session."""

    def __init__(
        self,
        sessions: Sessions,
        write: Callable[[pb.CloudMessage], Awaitable[None]],
        visitor: Visitor | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sessions = sessions
        self._held = sessions.begin(self, self._loop.time(), visitor)
        self._visitor = self._held.visitor
        self._why = "the device has said all"
        self._unread = ""
        self._write = write
        self._outbox = Outbox(OUTBOX_MESSAGES)
        self._alarm = Alarm(self._wakes_at, self._on_time)
        self._half_closed = False
        self._ended = asyncio.Event()
        self._last_word: pb.CloudMessage | None = None

    @property
    def name(self) -> str:
        """The session's, for the log; empty before Hello."""
        return self._held.rules.name

    async def serve(self, messages: AsyncIterable[pb.EdgeMessage]) -> None:
        """Until the device has sent its last message and has all answers, is refused or drained,
        or another stream takes its session over.

        Then, or if it breaks off or is cancelled, the session is parked: its frames go on. So it is
        after the last message, too: gRPC may show a link that broke as a device that has said all.
        `messages` raises WireError for bytes that are none; that is refused as any other nonsense.
        LinkError, in a group, if the device does not read.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write_all())
                reader = tasks.create_task(self._read(messages))
                self._alarm.set()
                await self._ended.wait()
                reader.cancel()
        except BaseException:
            self._why = self._unread or "the device hung up, or the link broke"
            raise
        finally:
            self._alarm.stop()
            self._note_end()
            if self._has_session:
                self._sessions.park(self._held, self._loop.time())

    def drain(self, grace_s: float) -> None:
        """Tell the device to go, finish what is in flight, then end."""
        self._why = "the service drained"
        if self._has_session:
            self._heed(self._held.rules.drain(grace_s))

    def end(self) -> None:
        """Give up what is in flight, send what is already answered, then end."""
        if self._has_session:
            self._held.stop()
        self._end()

    def outcome_ready(self, held: HeldSession) -> None:
        """See `Carrier`."""
        self._outbox.wake()

    def let_go(self, held: HeldSession) -> None:
        """See `Carrier`: the device is on another stream, and this one is most often half-open.

        Its last word may have to wait until the transport knows; nothing else is left of it.
        """
        self._alarm.stop()
        self._outbox.clear()
        self._close(error_message(0, pb.ERROR_CODE_SUPERSEDED, _SUPERSEDED))

    def tell(self, message: pb.CloudMessage) -> None:
        """See `Carrier`."""
        self._outbox.put(message)

    @property
    def _has_session(self) -> bool:
        return self._held.carrier is self

    async def _read(self, messages: AsyncIterable[pb.EdgeMessage]) -> None:
        try:
            await self._read_all(messages)
        except WireError as error:
            if not self._ended.is_set():
                _logger.info("session %s: %s", self.name, error)
                self._heed(self._held.rules.refuse(str(error)))

    async def _read_all(self, messages: AsyncIterable[pb.EdgeMessage]) -> None:
        async for message in messages:
            received_ns = time.monotonic_ns()
            # Before the session learns of the message: what it then orders must not get lost.
            await self._outbox.room()
            if self._ended.is_set():  # the session may be another stream's by now
                return
            if not self._visitor.guard.holds(self._visitor.identity):
                self._deny()
                return
            self._heed(self._received(message, received_ns), received_ns)
        self._half_closed = True
        self._end_if_done()

    def _received(self, message: pb.EdgeMessage, received_ns: int) -> list[ServiceEvent]:
        now = self._loop.time()
        if message.heartbeat.HasField("link"):
            self._note_link(message.heartbeat.link)
        if self._held.rules.state != "waiting" or not message.HasField("hello"):
            return self._held.rules.received(message, now, received_ns)
        self._held, events = self._sessions.greet(self._held, message, now)
        self._alarm.set()
        return events

    def _heed(self, events: list[ServiceEvent], received_ns: int = 0) -> None:
        for event in events:
            match event:
                case Answer(frame):
                    self._held.answer(frame, received_ns)
                case GiveUp(sequence):
                    self._held.give_up(sequence)
                case Check(audit):
                    self._held.check(audit)
                case Greet(welcome):
                    self._outbox.put(welcome)
                case Reply(reply):
                    self._outbox.put(reply)
                case Close(reply, resumable):
                    if resumable:
                        self._sessions.park(self._held, self._loop.time())
                    else:
                        self._sessions.end(self._held)
                    self._close(reply)
        self._end_if_done()

    def _wakes_at(self) -> float:
        return self._held.rules.wakes_at() if self._has_session else float("inf")

    def _on_time(self, now: float) -> None:
        for event in self._held.rules.tick(now):
            if isinstance(event, Close):
                self._outbox.clear()  # the device may not have read for long
            if self._outbox.is_empty:  # else there are signs of life enough
                self._heed([event])

    def _close(self, last_word: pb.CloudMessage) -> None:
        self._last_word = last_word
        self._why = last_word.error.message or self._why
        self._end()

    def _end(self) -> None:
        self._ended.set()
        self._outbox.wake()

    def _end_if_done(self) -> None:
        rules = self._held.rules
        has_left = self._half_closed and not rules.in_flight
        if rules.is_drained or has_left or rules.state == "ended":
            self._end()

    def _deny(self) -> None:
        """What the device came in with was taken back; what is in flight is given up."""
        if self._has_session:
            self._sessions.end(self._held)
        self._outbox.clear()
        self._close(error_message(0, pb.ERROR_CODE_DENIED, _DENIED))

    def _note_link(self, link: pb.LinkReport) -> None:
        self._sessions.observer.note(
            LinkReported(
                identity=self._visitor.identity.name,
                session=self.name,
                bandwidth_bps=link.bandwidth_bps,
                rtt_ms=link.rtt_ms,
            )
        )

    def _note_end(self) -> None:
        deployment = self._held.deployment
        if deployment is not None:
            self._sessions.observer.note(
                StreamClosed(
                    identity=self._visitor.identity.name,
                    session=self.name,
                    model=deployment.name,
                    version=deployment.version,
                    why=self._why,
                )
            )

    async def _write_all(self) -> None:
        while (message := await self._next()) is not None:
            self._complete(message)
            await self._written(message)
            if self._has_session:
                self._held.rules.said(self._loop.time())

    def _complete(self, message: pb.CloudMessage) -> None:
        """What is true at the moment of writing: times, and the load."""
        if message.HasField("heartbeat"):
            message.heartbeat.load.CopyFrom(self._sessions.load())
            complete_echo(message.heartbeat, time.monotonic_ns())
        elif message.HasField("result") and message.result.HasField("load"):
            message.result.load.streams = self._sessions.streams

    async def _written(self, message: pb.CloudMessage) -> None:
        """LinkError for a device that does not take it: else it would keep this stream for ever."""
        idle_s = self._sessions.idle_s
        try:
            async with asyncio.timeout(idle_s):
                await self._write(message)
        except TimeoutError as error:
            self._unread = f"the device has read nothing for {idle_s:g} s"
            raise LinkError(self._unread) from error

    async def _next(self) -> pb.CloudMessage | None:
        """What to write next: replies, then outcomes, then the last word; None at the end."""
        while True:
            message = self._outbox.take()
            if message is None and self._has_session:
                message = self._held.next_outcome()
                self._sessions.make_room()
                self._end_if_done()
            if message is not None:
                return message
            if self._ended.is_set():
                last_word, self._last_word = self._last_word, None
                return last_word
            await self._outbox.changed()


_DENIED = "what this device came in with is not valid any more"
_SUPERSEDED = "the device has opened another stream for this session"
