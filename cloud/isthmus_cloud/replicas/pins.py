"""Which replica a batch goes to: the one that has least of this front end's calls to do.

Ray Serve's own routers go by queue lengths that are some calls old. A video stream is pinned to the
replica that keeps what its next frames refer to. A key frame may go anywhere, and so moves its
stream; the frames that refer to it follow, even while it is still on its way.
"""

import random
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Protocol

from isthmus_cloud.replicas.known import Known

MOST_STREAMS = 65536
AVOID_S = 2.0

__all__ = ["Pins", "Streamed"]


class Streamed(Protocol):
    """A frame, as far as it matters where it goes; see `Given`."""

    @property
    def stream(self) -> str:
        """See `Given.stream`."""

    @property
    def refers(self) -> bool:
        """See `Given.refers`."""


class Pins:
    """Of one front end; for several threads at once.

    Without `spreads` only streams have places: where replicas hold several models, Ray Serve knows
    which of them has which.
    """

    def __init__(
        self, known: Known, most_streams: int = MOST_STREAMS, *, spreads: bool = True
    ) -> None:
        self._known = known
        self._most_streams = most_streams
        self._spreads = spreads
        self._avoided: dict[str, float] = {}  # until when (monotonic)
        self._lock = threading.Lock()
        self._holders: OrderedDict[str, str] = OrderedDict()
        self._under_way: Counter[str] = Counter()  # calls by replica

    def places(self, batch: Iterable[Streamed], along: str = "") -> list[str]:
        """Where each frame of a batch goes: the id of a replica, or "" while none is known.

        As few replicas as can be: what may go anywhere goes along with the others, or with a batch
        that goes `along` to that replica.
        """
        with self._lock:
            frames = list(batch)
            held = [self._holders.get(each.stream, "") if each.refers else "" for each in frames]
            counts = Counter(filter(None, held))
            free = along or min(counts, key=lambda replica: counts[replica], default="")
            if not free and (self._spreads or any(each.stream for each in frames)):
                free = self._least_busy()
            moved = set()  # streams whose key frame is in this batch: what follows refers to that
            places: list[str] = []
            for each, holder in zip(frames, held, strict=True):
                if each.stream and not each.refers:
                    moved.add(each.stream)
                places.append(free if each.stream in moved else holder or free)
            for each, place in zip(frames, places, strict=True):
                if each.stream and place:
                    self._holders[each.stream] = place
                    self._holders.move_to_end(each.stream)
            while len(self._holders) > self._most_streams:
                self._holders.popitem(last=False)
            return places

    def sent(self, replica: str) -> None:
        """A call has left for it."""
        with self._lock:
            self._under_way[replica] += 1

    def back(self, replica: str) -> None:
        """And has ended."""
        with self._lock:
            self._under_way[replica] -= 1
            if self._under_way[replica] <= 0:
                del self._under_way[replica]

    def hold(self, frames: Iterable[Streamed], replica: str, sent_to: str) -> None:
        """These were decoded there. A key frame that came later may have moved its stream on."""
        with self._lock:
            for each in frames:
                if each.stream and self._holders.get(each.stream, sent_to) == sent_to:
                    self._holders[each.stream] = replica

    def forget(self, frames: Iterable[Streamed], sent_to: str) -> None:
        """What these refer to, or would have left, is lost; likewise."""
        with self._lock:
            for each in frames:
                if self._holders.get(each.stream) == sent_to:
                    del self._holders[each.stream]

    def avoid(self, replica: str) -> None:
        """A call to it was lost: until Ray has noticed whether it is dead, others are preferred, or
        one that fails at once would seem to have least to do."""
        now = time.monotonic()
        with self._lock:
            self._avoided = {each: until for each, until in self._avoided.items() if until > now}
            self._avoided[replica] = now + AVOID_S

    def _least_busy(self) -> str:
        """By the calls of this front end; "" while no replica is known."""
        there = list(self._known.replicas)
        now = time.monotonic()
        there = [each for each in there if self._avoided.get(each, 0.0) <= now] or there
        random.shuffle(there)
        return min(there, key=lambda replica: self._under_way[replica], default="")
