"""When simulated devices send: as soon as there is room (closed loop), or so often (open loop)."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from isthmus.v1 import split_pb2 as pb
from isthmus_bench.serve.recorded import Item
from isthmus_bench.serve.talkers import Listener, Talker
from isthmus_bench.serve.tally import Tally

__all__ = ["Camera"]


class Camera:
    """Shows one device's frames: its recorded `items`, over and over from `first` on.

    `connection` makes the talker that tells this camera.
    """

    def __init__(
        self,
        connection: Callable[[Listener], Talker],
        items: Sequence[Item],
        first: int,
        tally: Tally,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._talker = connection(self)
        self._items, self._first, self._tally = items, first, tally
        self._waiting: deque[float] = deque()  # when each was due
        self._due_at: dict[int, float] = {}
        self._number = 0
        self._is_closed_loop = False

    @property
    def talker(self) -> Talker:
        """Its connection."""
        return self._talker

    @property
    def under_way(self) -> int:
        """Frames that may still end."""
        return 0 if self._talker.is_over else len(self._due_at)

    @property
    def unsent(self) -> int:
        """Frames that were due and never sent."""
        return len(self._waiting)

    def keep_full(self, window: int) -> None:
        """From now on `window` frames are under way, until the tally's end."""
        self._is_closed_loop = True
        for _ in range(window):
            self._show(self._loop.time())

    def film(self, begin: float, period_s: float) -> None:
        """A frame at `begin` (the loop's time), and one each period, until the tally's end."""
        if begin < self._tally.stop:
            self._loop.call_at(begin, self._film, begin, period_s)

    def ended(self, number: int, kind: str, is_right: bool, timing: pb.Timing | None) -> None:
        """See `Listener`."""
        now = self._loop.time()
        self._tally.ended(self._due_at.pop(number), now, kind, is_right)
        if timing is not None:
            self._tally.timed(timing)
        if self._is_closed_loop and now < self._tally.stop:
            self._show(now)
        else:
            self._send(now)

    def noticed(self) -> None:
        """See `Listener`."""
        if self._talker.is_over:
            self._tally.given_up()
        else:
            self._send(self._loop.time())

    def _film(self, at: float, period_s: float) -> None:
        self._show(at)
        self.film(at + period_s, period_s)

    def _show(self, at: float) -> None:
        self._tally.due(at)
        self._waiting.append(at)
        self._send(at)

    def _send(self, now: float) -> None:
        """What is due, as far as there is room; at the end nothing more is begun."""
        while self._waiting and self._talker.credits > 0 and now < self._tally.stop:
            self._number += 1
            self._due_at[self._number] = self._waiting.popleft()
            self._tally.accepted()
            item = self._items[(self._first + self._number) % len(self._items)]
            self._talker.send(self._number, item)
