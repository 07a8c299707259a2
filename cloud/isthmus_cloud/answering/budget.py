"""How much memory the frames of all devices may take together."""

import threading

from isthmus import IsthmusError

__all__ = ["ByteBudget", "OverloadedError"]


class OverloadedError(IsthmusError):
    """A frame does not fit beside those in flight; it was not run. To come back before
    `retry_after_ms` (0: no matter when) does not help."""

    def __init__(self, text: str, retry_after_ms: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after_ms = retry_after_ms


class ByteBudget:
    """Counts bytes; taken on the event loop, given back by whichever thread has let go of them."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0
        self._lock = threading.Lock()

    @property
    def taken_bytes(self) -> int:
        """What is in flight now."""
        return self._taken_bytes

    @property
    def free_bytes(self) -> int:
        """What could be taken now; below 0 where more was added than there was room for."""
        return self._limit_bytes - self._taken_bytes

    def add(self, count: int) -> None:
        """Count what is here whether it fits or not: others are refused meanwhile."""
        with self._lock:
            self._taken_bytes += count

    def take(self, count: int, retry_after_ms: float = 0.0) -> None:
        """Count `count` bytes more; OverloadedError, with the time to come back, if they are too
        many."""
        with self._lock:
            if self._taken_bytes + count > self._limit_bytes:
                raise OverloadedError(
                    f"the frame takes {count} bytes, which do not fit beside those of other frames "
                    f"in the {self._limit_bytes} of this service; send it again when answers came",
                    retry_after_ms,
                )
            self._taken_bytes += count

    def give_back(self, count: int) -> None:
        """Count `count` bytes less."""
        with self._lock:
            self._taken_bytes -= count
