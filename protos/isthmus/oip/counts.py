"""How many requests were answered, and how many may be at once."""

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from isthmus.errors import ConfigError
from isthmus.oip.refusal import RefusalError

__all__ = ["Counts", "Limits", "Places"]

_SHARE = 2  # each caller gets this part of the places, one divided by it


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one server takes on at once; more is refused (UNAVAILABLE), or waits in its stream.

    `max_requests` and `max_bytes`, of request messages and their answers, bound what is answered at
    the same time, `max_stream_requests` those of one stream, `max_items` the items of one request,
    which are answered one by one, and `max_message_bytes` a message either way. A stream ends that
    takes no answer for `idle_s`, or on which nothing is asked for so long.
    """

    max_requests: int = 32
    max_bytes: int = 128 * 1024 * 1024
    max_stream_requests: int = 16
    max_items: int = 16
    max_message_bytes: int = 32 * 1024 * 1024
    idle_s: float = 60.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_bytes < self.max_message_bytes:
            raise ConfigError(
                f"max_bytes must be at least max_message_bytes ({self.max_message_bytes}), "
                f"got {self.max_bytes}"
            )


@dataclass(slots=True)
class _Taken:
    """By all, or by one caller."""

    requests: int = 0
    bytes: int = 0

    def fits(self, requests: int, size_bytes: int, share: int, limits: Limits) -> bool:
        """Whether so many more are within `limits` divided by `share`. One alone always is: its
        message has a limit of its own."""
        requests += self.requests
        return requests <= 1 or (
            requests <= limits.max_requests // share
            and self.bytes + size_bytes <= limits.max_bytes // share
        )

    def add(self, requests: int, size_bytes: int) -> None:
        """Take these; give them back where they are negative."""
        self.requests += requests
        self.bytes += size_bytes


class Places:
    """As many as the limits say; a request takes one until its answer is on its way.

    A caller that is told apart gets at most half of them, so that nobody shuts out all others by
    asking and not listening.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._all = _Taken()
        self._callers: defaultdict[Hashable, _Taken] = defaultdict(_Taken)

    @property
    def taken(self) -> int:
        """Requests that are being answered."""
        return self._all.requests

    @contextmanager
    def one(self, size_bytes: int, caller: Hashable = None) -> Iterator[Callable[[int], None]]:
        """A place for a request of this size; RefusalError (UNAVAILABLE) where there is none, for
        anybody or for this caller.

        What it gives is called with the size of the answer, before that is made; it raises alike.
        """
        with ExitStack() as kept:
            self._take(kept, caller, 1, size_bytes)
            yield partial(self._take, kept, caller, 0)

    def _take(self, kept: ExitStack, caller: Hashable, requests: int, size_bytes: int) -> None:
        if not self._all.fits(requests, size_bytes, 1, self._limits):
            raise _full(self._all, "", 1, self._limits)
        self._all.add(requests, size_bytes)
        kept.callback(self._all.add, -requests, -size_bytes)
        if caller is None:
            return
        own = self._callers[caller]
        if not own.fits(requests, size_bytes, _SHARE, self._limits):
            raise _full(own, " on your streams", _SHARE, self._limits)
        own.add(requests, size_bytes)
        kept.callback(self._give_back, caller, requests, size_bytes)

    def _give_back(self, caller: Hashable, requests: int, size_bytes: int) -> None:
        own = self._callers[caller]
        own.add(-requests, -size_bytes)
        if not own.requests:
            del self._callers[caller]


def _full(taken: _Taken, whose: str, share: int, limits: Limits) -> RefusalError:
    return RefusalError(
        "UNAVAILABLE",
        f"Exceeds maximum queue size: {taken.requests} requests of {taken.bytes} bytes, with their "
        f"answers, are being answered{whose}, at most {limits.max_requests // share} of "
        f"{limits.max_bytes // share} bytes are; take the answers, and try again later",
    )


@dataclass(slots=True)
class Counts:
    """Of one model: requests answered and refused with the time they took, items, and when the
    last one came (ms since the epoch)."""

    answered: int = 0
    answered_ns: int = 0
    failed: int = 0
    failed_ns: int = 0
    items: int = 0
    last_ms: int = 0

    @contextmanager
    def request(self, now_ns: Callable[[], int] = time.monotonic_ns) -> Iterator[None]:
        """Count what happens within: answered if it ends well, failed with any error.

        A client that no longer waits (CancelledError) counts as failed, too.
        """
        begun_ns = now_ns()
        self.last_ms = time.time_ns() // 1_000_000
        try:
            yield
        except BaseException:
            self.failed += 1
            self.failed_ns += now_ns() - begun_ns
            raise
        self.answered += 1
        self.answered_ns += now_ns() - begun_ns
