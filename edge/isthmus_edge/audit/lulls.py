"""When something that can wait may use the link without making a frame wait: never for sure.

A lull lasts from the moment at which no frame is under way to the next one that is sent. What is
sent at its beginning and takes no longer than the shortest of the recent lulls should be through in
time; and when a lull outlasts all of them by far, the stream has paused. Times are in s.
"""

from collections import deque

_RECENT = 8
_TRUSTED = 3
_PAUSE = 2.0  # times the longest recent lull
_LEAST_PAUSE_S = 0.5

__all__ = ["Lulls"]


class Lulls:
    """Those of one link."""

    def __init__(self) -> None:
        self._lengths: deque[float] = deque(maxlen=_RECENT)
        self._began_at: float | None = None

    @property
    def is_on(self) -> bool:
        """Whether no frame is under way."""
        return self._began_at is not None

    def begin(self, now: float) -> None:
        """No frame is under way any more."""
        self._began_at = now

    def end(self, now: float) -> None:
        """A frame is sent."""
        if self._began_at is not None:
            self._lengths.append(max(now - self._began_at, 0.0))
        self._began_at = None

    def fits(self, transfer_s: float, now: float) -> bool:
        """Whether something should be through before the next frame comes."""
        if self._began_at is None:
            return False
        left_s = 0.0
        if len(self._lengths) >= _TRUSTED:
            left_s = min(self._lengths) - (now - self._began_at)
        return transfer_s <= left_s or now >= self.pause_at

    @property
    def pause_at(self) -> float:
        """When this lull, if it goes on, is a pause of the stream."""
        assert self._began_at is not None
        return self._began_at + max(_PAUSE * max(self._lengths, default=0.0), _LEAST_PAUSE_S)
