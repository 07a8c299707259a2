"""One device's life with the service: connect, hello, heartbeats, a dead link noticed, reconnect.

    down --connect--> greeting --Welcome--> up --silence, end or Drain--> down --back-off--> …
                         |Error BUNDLE_MISMATCH
                         v
                      refused (for good: the two sides hold different weights)

gRPC streams in Python can hang for many minutes after a network change, keepalive or not; the
heartbeat here is the project's own. All methods run on one event loop.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Literal, NoReturn

from isthmus import LinkError, PeerError
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.link import LinkEstimate, LinkEstimator
from isthmus_edge.transport import Connection, Transport

HEARTBEAT_S = 0.4
LONGEST_BACKLOG_S = 8.0
GREETING_S = 2.0
BACKOFF_S = (0.2, 2.0)
PROBE_EVERY = 2  # heartbeats of an idle link; every second one is padded to measure bandwidth
PROBE_BYTES = (2_000, 32_000)
OPENING_PROBES = 2
PROBE_SHARE_S = 0.05  # a probe may occupy the link this long

State = Literal["down", "up", "draining", "refused"]
OnState = Callable[[State, str], None]

log = logging.getLogger("isthmus.edge")

__all__ = ["OnState", "State", "Uplink"]


class Uplink:
    """Keeps one stream to the service alive and matches answers to frames."""

    def __init__(
        self, transport: Transport, hello: pb.Hello, silence_s: float, on_state: OnState
    ) -> None:
        self._transport = transport
        self._hello = hello
        self._silence_s = silence_s
        self._on_state = on_state
        self._estimator = LinkEstimator()
        self._connection: Connection | None = None
        self._state: State = "down"
        self._waiting: dict[int, tuple[asyncio.Future[pb.Result], int]] = {}
        self._heartbeats: dict[int, tuple[int, bool]] = {}
        self._next_heartbeat = 0
        self._heard_at = 0.0
        self._frames_since_beat = 0
        self.window = 0
        self.queue_ms = 0.0
        self.measured = asyncio.Event()
        self._probes = 0

    @property
    def state(self) -> State:
        """What the link is to the agent right now."""
        return self._state

    @property
    def link_queue_ms(self) -> float:
        """How long the next frame would wait behind those that are still on the link."""
        return self._estimator.queue_s(time.monotonic()) * 1e3

    def estimate(self) -> LinkEstimate | None:
        """The link as it is believed to be, or None while it is not up."""
        return self._estimator.estimate(time.monotonic()) if self._state == "up" else None

    async def run(self, first: asyncio.Future[None]) -> None:
        """Stay connected until cancelled. `first` gets the outcome of the first attempt."""
        failures = 0
        while True:
            try:
                await self._stay_connected(first)
            except PeerError as error:
                self._lose("refused", str(error))
                _fail(first, error)
                return
            except LinkError as error:
                failures = failures + 1 if self._state == "down" else 0
                self._lose("down", str(error))
                _fail(first, error)
            await asyncio.sleep(_backoff_s(failures))

    def send(self, frame: pb.Frame) -> asyncio.Future[pb.Result]:
        """Send a frame; the future fails with LinkError or PeerError if no answer will come."""
        future: asyncio.Future[pb.Result] = asyncio.get_running_loop().create_future()
        if self._connection is None or self._state != "up":
            future.set_exception(LinkError("the link went down before the frame was sent"))
            return future
        message = self._estimator.sent(frame.ByteSize(), time.monotonic())
        self._waiting[frame.sequence] = (future, message)
        self._frames_since_beat += 1
        self._connection.send(pb.EdgeMessage(frame=frame))
        return future

    def forget(self, sequence: int) -> None:
        """Nobody waits for this frame any more; a late answer will be dropped."""
        self._waiting.pop(sequence, None)

    def close(self) -> None:
        """End the stream; frames in flight fail with LinkError."""
        self._lose("down", "the agent was closed")

    async def _stay_connected(self, first: asyncio.Future[None]) -> NoReturn:
        """Connect, greet, and heed messages until the link breaks."""
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[pb.CloudMessage | LinkError] = asyncio.Queue()

        def post(item: pb.CloudMessage | LinkError) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(inbox.put_nowait, item)

        self._connection = self._transport.connect(
            post, lambda reason: post(LinkError(f"the link to the cloud broke: {reason}"))
        )
        self._estimator.reset()
        self._heartbeats.clear()
        self.measured.clear()
        self._probes = 0
        self._connection.send(pb.EdgeMessage(hello=self._hello))
        self._welcome(await _greeting(inbox))
        if not first.done():
            first.set_result(None)
        beat = asyncio.create_task(self._beat())
        try:
            while True:
                self._heed(await _next(inbox, self._silence_left_s()))
        finally:
            beat.cancel()

    def _welcome(self, welcome: pb.Welcome) -> None:
        self.window = max(1, welcome.window)
        self._heard_at = time.monotonic()
        self._state = "up"
        self._on_state("up", f"connected, tails run on {welcome.provider}")

    async def _beat(self) -> None:
        """Quick heartbeats and a probe warm the stream up; then one every HEARTBEAT_S."""
        for padding_bytes in (0, 0, 0, PROBE_BYTES[0]):
            self._send_heartbeat(padding_bytes)
        for count in range(1, 1 << 62):
            await asyncio.sleep(HEARTBEAT_S)
            idle = self._frames_since_beat == 0 and not self._waiting
            self._frames_since_beat = 0
            self._send_heartbeat(self._probe_bytes() if idle and count % PROBE_EVERY == 0 else 0)

    def _probe_bytes(self) -> int:
        estimate = self.estimate()
        wanted = 0.0 if estimate is None else estimate.bandwidth_bps / 8 * PROBE_SHARE_S
        return int(min(max(wanted, PROBE_BYTES[0]), PROBE_BYTES[1]))

    def _send_heartbeat(self, padding_bytes: int) -> None:
        if self._connection is None:
            return
        self._next_heartbeat += 1
        beat = pb.Heartbeat(id=self._next_heartbeat, padding=bytes(padding_bytes))
        message = self._estimator.sent(beat.ByteSize(), time.monotonic())
        self._heartbeats[beat.id] = (message, padding_bytes > 0)
        self._connection.send(pb.EdgeMessage(heartbeat=beat))

    def _silence_left_s(self) -> float:
        """How much longer the service may stay silent before the link counts as dead."""
        backlog_s = min(self._estimator.backlog_s(), LONGEST_BACKLOG_S)
        return self._heard_at + self._silence_s + backlog_s - time.monotonic()

    def _heed(self, message: pb.CloudMessage) -> None:
        self._heard_at = time.monotonic()
        match message.WhichOneof("kind"):
            case "result":
                self._on_result(message.result)
            case "heartbeat":
                self._on_heartbeat(message.heartbeat)
            case "error":
                self._on_error(message.error)
            case "load":
                self.queue_ms = message.load.queue_ms
            case "drain":
                self._state = "draining"
                self._on_state("draining", "the service is draining")
            case _:
                log.debug("message of an unknown kind ignored: %s", message)

    def _on_result(self, result: pb.Result) -> None:
        self.queue_ms = result.load.queue_ms
        future, message = self._waiting.pop(result.sequence, (None, 0))
        timing = result.timing
        self._estimator.received(message, timing.received_ns / 1e9, timing.total_ms / 1e3)
        if future is not None and not future.done():
            future.set_result(result)

    def _on_heartbeat(self, beat: pb.Heartbeat) -> None:
        message, padded = self._heartbeats.pop(beat.id, (0, False))
        received_s = beat.received_ns / 1e9
        if padded:
            self._estimator.received(message, received_s)
            if not self.measured.is_set():
                self._measure_again()
        else:
            self._estimator.heartbeat(message, received_s, time.monotonic())

    def _measure_again(self) -> None:
        """The first probe was sized for the slowest link; a second one fits this link."""
        self._probes += 1
        if self._probes == OPENING_PROBES:
            self.measured.set()
        else:
            self._send_heartbeat(self._probe_bytes())

    def _on_error(self, error: pb.Error) -> None:
        if error.sequence == 0:
            raise _stream_error(error)
        future, message = self._waiting.pop(error.sequence, (None, 0))
        self._estimator.lost(message)
        if future is not None and not future.done():
            future.set_exception(PeerError(_name_of(error), error.message))

    def _lose(self, state: State, reason: str) -> None:
        was = self._state
        self._state = state
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        waiting, self._waiting = self._waiting, {}
        for future, _ in waiting.values():
            if not future.done():
                future.set_exception(LinkError(reason))
        if was != state:
            self._on_state(state, reason)


async def _next(
    inbox: asyncio.Queue[pb.CloudMessage | LinkError], timeout_s: float
) -> pb.CloudMessage:
    try:
        async with asyncio.timeout(max(timeout_s, 0.0)):
            item = await inbox.get()
    except TimeoutError as error:
        raise LinkError("the link to the cloud is dead: nothing heard in time") from error
    if isinstance(item, LinkError):
        raise item
    return item


async def _greeting(inbox: asyncio.Queue[pb.CloudMessage | LinkError]) -> pb.Welcome:
    message = await _next(inbox, GREETING_S)
    if message.WhichOneof("kind") == "error":
        raise _stream_error(message.error)
    if message.WhichOneof("kind") != "welcome" or message.welcome.protocol != PROTOCOL:
        raise PeerError("PROTOCOL", "the service does not speak this protocol; is it Isthmus?")
    return message.welcome


def _backoff_s(failures: int) -> float:
    """Exponential, with jitter, so that many devices do not come back in step."""
    least, most = BACKOFF_S
    return min(least * 2.0**failures, most) * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)


def _name_of(error: pb.Error) -> str:
    return pb.ErrorCode.Name(error.code).removeprefix("ERROR_CODE_")


def _stream_error(error: pb.Error) -> LinkError | PeerError:
    """Only what a reconnect cannot mend is final."""
    if error.code in {pb.ERROR_CODE_BUNDLE_MISMATCH, pb.ERROR_CODE_PROTOCOL}:
        return PeerError(_name_of(error), error.message)
    return LinkError(f"the service ended the stream: {error.message}")


def _fail(first: asyncio.Future[None], error: Exception) -> None:
    if not first.done():
        first.set_exception(error)
