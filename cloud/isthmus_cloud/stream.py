"""One stream at work: a reader, a writer, and a task for each frame in flight.

The outbox between them is bounded. A device that does not read fills it; then its frames are not
read either, and the transport's flow control holds it back.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterable, Awaitable, Callable

from isthmus import IsthmusError, KeyFrameNeededError, WireError
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering import Answerer, UnknownCandidateError
from isthmus_cloud.budget import OverloadedError
from isthmus_cloud.memory import StreamMemory
from isthmus_cloud.session import Answer, Close, Greet, Reply, Session, error_message

OUTBOX_MESSAGES = 16
MAX_ERROR_CHARACTERS = 500  # a hostile frame must not be able to order a long answer

__all__ = ["Stream"]

_logger = logging.getLogger(__name__)

_CODES: dict[type[IsthmusError], pb.ErrorCode] = {
    UnknownCandidateError: pb.ERROR_CODE_UNKNOWN_CANDIDATE,
    KeyFrameNeededError: pb.ERROR_CODE_KEY_FRAME_NEEDED,
    OverloadedError: pb.ERROR_CODE_OVERLOADED,
}


class Stream:
    """Moves one device's messages between the transport, the session and the answerer."""

    def __init__(
        self,
        session: Session,
        answerer: Answerer,
        write: Callable[[pb.CloudMessage], Awaitable[None]],
    ) -> None:
        self._session = session
        self._answerer = answerer
        self._write = write
        self._memory = StreamMemory()
        self._outbox: asyncio.Queue[pb.CloudMessage | None] = asyncio.Queue(OUTBOX_MESSAGES)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._last_word: pb.CloudMessage | None = None
        self._drain_grace_s: asyncio.Future[float] = asyncio.Future()
        self._ended = asyncio.Event()

    @property
    def name(self) -> str:
        """The session's, for the log; empty before Hello."""
        return self._session.name

    async def serve(self, messages: AsyncIterable[pb.EdgeMessage]) -> None:
        """Until the device has sent its last message and has all answers, is refused or drained.

        Cancelling ends everything at once: frames that no worker has begun are given up.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_all())
            drainer = tasks.create_task(self._drain_when_told())
            reader = tasks.create_task(self._read(messages))
            reader.add_done_callback(lambda _: self._ended.set())
            await self._ended.wait()
            reader.cancel()
            drainer.cancel()
            if self._last_word is not None:
                await self._outbox.put(self._last_word)
            await self._outbox.put(None)

    def drain(self, grace_s: float) -> None:
        """Tell the device to go, finish what is in flight, then end."""
        if not self._drain_grace_s.done():
            self._drain_grace_s.set_result(grace_s)

    def end(self) -> None:
        """Give up what is in flight, send what is already answered, then end."""
        self._ended.set()

    async def _read(self, messages: AsyncIterable[pb.EdgeMessage]) -> None:
        async with asyncio.TaskGroup() as frames:
            async for message in messages:
                received_ns = time.monotonic_ns()
                match self._session.received(message, received_ns):
                    case Answer(frame):
                        task = frames.create_task(self._answer(frame, received_ns))
                        self._in_flight.add(task)
                        task.add_done_callback(self._in_flight.discard)
                    case Greet(welcome):
                        welcome.welcome.load.CopyFrom(self._answerer.load())
                        await self._outbox.put(welcome)
                    case Reply(reply):
                        await self._outbox.put(reply)
                    case Close(reply):
                        self._last_word = reply
                        for task in self._in_flight:
                            task.cancel()
                        return

    async def _answer(self, frame: pb.Frame, received_ns: int) -> None:
        sequence = frame.sequence
        outcome = await self._outcome(frame, received_ns)
        del frame  # a device that does not read its answers must not make us keep what it sent
        await self._outbox.put(outcome)
        # Before the writer can have sent it: the device may use the free place at once.
        self._session.finished(sequence)
        self._end_if_drained()

    async def _outcome(self, frame: pb.Frame, received_ns: int) -> pb.CloudMessage:
        try:
            result = await self._answerer.answer(
                frame, received_ns, self._session.top_k, self._memory
            )
            return pb.CloudMessage(result=result)
        except (WireError, OverloadedError) as error:
            code, text = _CODES.get(type(error), pb.ERROR_CODE_BAD_FRAME), str(error)
        except Exception:
            _logger.exception("session %s, frame %d", self._session.name, frame.sequence)
            code, text = pb.ERROR_CODE_INTERNAL, "the service failed on this frame"
        return error_message(frame.sequence, code, text[:MAX_ERROR_CHARACTERS])

    async def _drain_when_told(self) -> None:
        grace_s = await self._drain_grace_s
        await self._outbox.put(self._session.drain(grace_s))
        self._end_if_drained()

    def _end_if_drained(self) -> None:
        if self._session.is_drained:
            self._ended.set()

    async def _write_all(self) -> None:
        while (message := await self._outbox.get()) is not None:
            await self._write(message)
