"""A frame that was sent: the cloud's answer or the device's, whichever comes first.

    sent --answer--> cloud
      |--late, refused--> the device begins the rest, from the tensors it holds; still listening
      |--link lost--> the same; if the link is back before the device has begun: sent once more
      \\--the cloud lacks what the frame is a difference to--> sent once more, as a key frame

The one that loses is called off. Both ends of the stream see to it that a frame that was sent twice
is computed and counted once (`isthmus.session`). What was refused undecoded is nothing to be a
difference to: the frames behind it begin anew, or one that is refused would spoil many.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from isthmus import Candidate, Cut, LinkError, SessionError, WireError
from isthmus.session import Answered, Failed, Lost, Missing
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.device.device import Rest
from isthmus_edge.runtimes import AnyArray
from isthmus_edge.stream.flight import Flight, News
from isthmus_edge.stream.frame import Frame

Outputs = Mapping[str, AnyArray]

DECODED = frozenset({"TOO_LATE"})  # a frame with a mark was decoded all the same

log = logging.getLogger("isthmus.edge")

__all__ = ["Ending", "Means", "Underway"]


@dataclass(frozen=True, slots=True)
class Ending:
    """Who answered, and what. `result` is the cloud's; `rest_ms` what the device's rest took."""

    place: Literal["cloud", "device"]
    outputs: Outputs
    result: pb.Result | None = None
    rest_ms: float = 0.0


class Means(Protocol):
    """What a frame under way can have done for it."""

    def send_again(self, frame: Frame, message: pb.Frame) -> None:
        """Send a frame on the present stream; LinkError or SessionError if that cannot be."""
        ...

    async def key_frame(self, frame: Frame, candidate: Candidate) -> pb.Frame:
        """Encode it once more, so that it needs no other frame."""
        ...

    def not_held(self, message: pb.Frame) -> None:
        """The cloud will hold nothing of this message: no later frame may be a difference to it."""
        ...

    async def finish(self, frame: Frame) -> Rest:
        """Begin its rest on the device."""
        ...

    def merged(self, frame: Frame, cut: Cut, result: pb.Result) -> Outputs:
        """The model's outputs; WireError if the result does not hold them."""
        ...


class Underway:
    """Sees one frame through. `patience_s()` is how long to wait for the cloud from now on.

    It is asked again when that time is over: what is believed of the link may have changed.
    """

    def __init__(
        self,
        frame: Frame,
        candidate: Candidate,
        message: pb.Frame,
        means: Means,
        patience_s: Callable[[], float],
    ) -> None:
        self._frame = frame
        self._candidate = candidate
        self._message = message
        self._means = means
        self._patience_s = patience_s
        self._late_at = time.monotonic() + patience_s()
        self._rest: Rest | None = None
        self._listening: asyncio.Task[News] | None = None

    async def end(self, flight: Flight) -> Ending:
        """How the frame ends. Raises what the device's rest raises, if it comes to that."""
        try:
            while True:
                ending = await self._next(flight)
                if ending is not None:
                    return ending
        finally:
            if self._listening is not None:
                self._listening.cancel()
            if self._rest is not None:
                self._rest.give_up()

    async def _next(self, flight: Flight) -> Ending | None:
        if self._listening is None:
            self._listening = asyncio.create_task(flight.news.get())
        rest = None if self._rest is None else self._rest.done
        awaited: set[asyncio.Future[object]] = {self._listening, *(() if rest is None else (rest,))}  # type: ignore[arg-type]
        timeout_s = max(self._late_at - time.monotonic(), 0.0) if rest is None else None
        await asyncio.wait(awaited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if self._listening.done():
            news, self._listening = self._listening.result(), None
            return await self._heed(news)
        if rest is None:
            await self._wait_on_or_rescue()
        elif rest.done():
            outputs, took_ms = rest.result()
            return Ending("device", outputs, rest_ms=took_ms)
        return None

    async def _heed(self, news: News) -> Ending | None:
        match news:
            case Answered(_, result):
                return await self._answered(result)
            case Failed(_, code, text):
                await self._failed(code, text)
            case Missing(_, may_send_again):
                if may_send_again and not (self._rest is not None and self._rest.has_begun):
                    await self._send_again(alone=self._message.reference > 0)
            case Lost(reason):
                await self._rescue(reason)
        return None

    async def _failed(self, code: str, text: str) -> None:
        """The cloud has not answered; most often it has not decoded the frame either."""
        if code not in DECODED:
            self._means.not_held(self._message)
        if code == "KEY_FRAME_NEEDED":
            await self._send_again(alone=True)
        else:
            await self._rescue(f"{code}: {text}")

    async def _answered(self, result: pb.Result) -> Ending | None:
        assert self._frame.cut is not None  # its head has run
        try:
            outputs = self._means.merged(self._frame, self._frame.cut, result)
        except WireError as error:
            await self._rescue(str(error))
            return None
        return Ending("cloud", outputs, result)

    async def _send_again(self, *, alone: bool) -> None:
        """Once more over the link, in place of a rest that the device has not begun."""
        try:
            if alone:
                self._message = await self._means.key_frame(self._frame, self._candidate)
            self._message.mark = 0  # newer frames are what the next ones differ from
            self._means.send_again(self._frame, self._message)
        except (LinkError, SessionError) as error:
            await self._rescue(str(error))
            return
        log.debug("frame %d: sent again", self._frame.sequence)
        if self._rest is not None and not self._rest.has_begun:
            self._rest.give_up()
            self._rest = None
        self._late_at = time.monotonic() + self._patience_s()

    async def _wait_on_or_rescue(self) -> None:
        left_s = self._patience_s()
        if left_s > 0:
            self._late_at = time.monotonic() + left_s
        else:
            await self._rescue("late")

    async def _rescue(self, why: str) -> None:
        if self._rest is None:
            log.debug("frame %d: %s: the device finishes it", self._frame.sequence, why)
            self._rest = await self._means.finish(self._frame)
