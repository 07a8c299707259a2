"""Server-sent events: one message for everybody who looks, made only while somebody does.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable

PERIOD_S = 0.5
RETRY_MS = 1000  # how soon a browser comes back to a server that went away

_LINE_END = re.compile(rb"\r\n|\r|\n")

Make = Callable[[], Awaitable[bytes]]
Pause = Callable[[float], Awaitable[None]]

__all__ = ["Feed"]


class Feed:
    """What is the case, again and again; who is slow misses what was in between.

    `make` gives one message, text in UTF-8 (JSON, for instance). It is called at most once a
    period, however many look, and not at all while nobody does. If it fails, everybody's stream
    ends with its error.
    """

    def __init__(
        self, make: Make, period_s: float = PERIOD_S, pause: Pause = asyncio.sleep
    ) -> None:
        self._make = make
        self._period_s = period_s
        self._pause = pause
        self._watchers = 0
        self._turn = 0
        self._latest = b""
        self._fault: Exception | None = None
        self._changed = asyncio.Event()
        self._making: asyncio.Task[None] | None = None

    @property
    def watchers(self) -> int:
        """How many look."""
        return self._watchers

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """The stream's bytes; close it (`contextlib.aclosing`) when nobody looks any more."""
        self._watchers += 1
        if self._making is None:
            self._latest = b""
            self._making = asyncio.create_task(self._run())
        seen = -1 if self._latest else self._turn  # who comes later sees at once what others see
        try:
            yield f"retry: {RETRY_MS}\n\n".encode()
            while True:
                while self._turn == seen:
                    await self._changed.wait()
                if self._fault is not None:
                    raise self._fault
                seen = self._turn
                yield _event(self._latest)
        finally:
            self._watchers -= 1
            if not self._watchers and self._making is not None:
                self._making.cancel()
                self._making = None

    async def _run(self) -> None:
        self._fault = None
        while self._fault is None:
            try:
                self._latest = await self._make()
            except Exception as error:  # noqa: BLE001 - every stream raises it again
                self._fault, self._making = error, None
            self._turn += 1
            self._changed.set()
            self._changed = asyncio.Event()
            await self._pause(self._period_s)


def _event(message: bytes) -> bytes:
    """A line break of the message would end the event: there, another line of data begins."""
    lines = _LINE_END.split(message)
    return b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
