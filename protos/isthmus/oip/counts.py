"""How many requests were answered, and how many may be at once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from isthmus.errors import ConfigError
from isthmus.oip.refusal import RefusalError

__all__ = ["Counts", "Limits", "Places"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one server takes on at once; more is refused (UNAVAILABLE), or waits in its stream.

    `max_requests` and `max_bytes` of request messages bound what is answered at the same time,
    `max_stream_requests` those of one stream, `max_items` the items of one request, which are
    answered one by one, and `max_message_bytes` a message either way.
    """

    max_requests: int = 32
    max_bytes: int = 128 * 1024 * 1024
    max_stream_requests: int = 16
    max_items: int = 16
    max_message_bytes: int = 32 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_bytes < self.max_message_bytes:
            raise ConfigError(
                f"max_bytes must be at least max_message_bytes ({self.max_message_bytes}), "
                f"got {self.max_bytes}"
            )


class Places:
    """As many as the limits say; a request takes one as long as it is answered."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._requests = 0
        self._bytes = 0

    @property
    def taken(self) -> int:
        """Requests that are being answered."""
        return self._requests

    @contextmanager
    def one(self, size_bytes: int) -> Iterator[None]:
        """A place for a request of this size; RefusalError (UNAVAILABLE) where there is none."""
        limits = self._limits
        if self._requests >= limits.max_requests or self._bytes + size_bytes > limits.max_bytes:
            raise RefusalError(
                "UNAVAILABLE",
                f"Exceeds maximum queue size: {self._requests} requests of {self._bytes} bytes are "
                f"being answered, at most {limits.max_requests} of {limits.max_bytes} bytes are; "
                "try again later",
            )
        self._requests += 1
        self._bytes += size_bytes
        try:
            yield
        finally:
            self._requests -= 1
            self._bytes -= size_bytes


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
