"""What each identity has in use, over all of its streams, held against what it may have."""

from collections.abc import Callable
from dataclasses import dataclass

from isthmus_cloud.security.identity import DeniedError, Identity

BURST_S = 1.0  # of its rate may come at once, after a pause
STREAM_RETRY_S = 5.0
FRAME_RETRY_S = 0.1

__all__ = ["Allowances", "Bucket"]


class Bucket:
    """Lets through so many a second on average; after a pause `BURST_S` of them at once, at least
    one. A clock that jumps back gives nothing and takes nothing.
    """

    def __init__(self, rate_per_s: float, now_s: float) -> None:
        self._level = _most(rate_per_s)
        self._filled_s = now_s

    def take(self, rate_per_s: float, now_s: float) -> float:
        """Take one and return 0; or the seconds until there is one.

        The rate may be another than before: what has been taken stays taken.
        """
        passed_s = max(0.0, now_s - self._filled_s)
        self._filled_s = now_s
        self._level = min(_most(rate_per_s), self._level + passed_s * rate_per_s)
        if self._level < 1:
            return (1 - self._level) / rate_per_s
        self._level -= 1
        return 0.0


def _most(rate_per_s: float) -> float:
    return max(1.0, rate_per_s * BURST_S)


@dataclass(slots=True)
class _Use:
    streams: int = 0
    in_flight: int = 0
    bucket: Bucket | None = None


class Allowances:
    """For the event loop's thread. `clock` is monotonic, in seconds.

    Of an identity without a rate nothing is kept when it has gone; those with one are in the
    tokens file, which bounds them.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._uses: dict[str, _Use] = {}

    def stream(self, identity: Identity) -> None:
        """One more stream, or DeniedError ("streams")."""
        use = self._uses.setdefault(identity.name, _Use())
        most = identity.max_streams
        if most is not None and use.streams >= most:
            open_now = "1 stream" if use.streams == 1 else f"{use.streams} streams"
            text = f"{identity.name} has {open_now} open, which is the most it may have"
            raise DeniedError(text, "streams", STREAM_RETRY_S, identity.name)
        use.streams += 1

    def stream_ended(self, identity: Identity) -> None:
        """One less."""
        self._uses[identity.name].streams -= 1
        self._forget(identity)

    def frame(self, identity: Identity) -> None:
        """One more frame in flight, or DeniedError ("in_flight", "rate")."""
        use = self._uses.setdefault(identity.name, _Use())
        most = identity.max_in_flight
        if most is not None and use.in_flight >= most:
            text = f"{identity.name} has {use.in_flight} frames in flight, and may have {most}"
            raise DeniedError(text, "in_flight", FRAME_RETRY_S, identity.name)
        self._take(identity, use)
        use.in_flight += 1

    def frame_ended(self, identity: Identity) -> None:
        """One less."""
        self._uses[identity.name].in_flight -= 1
        self._forget(identity)

    def _take(self, identity: Identity, use: _Use) -> None:
        rate = identity.max_frames_per_s
        if rate is None:
            return
        now_s = self._clock()
        use.bucket = use.bucket or Bucket(rate, now_s)
        if retry_after_s := use.bucket.take(rate, now_s):
            text = f"{identity.name} may send {rate:g} frames a second, and this is one more"
            raise DeniedError(text, "rate", retry_after_s, identity.name)

    def _forget(self, identity: Identity) -> None:
        use = self._uses[identity.name]
        if not (use.streams or use.in_flight or identity.max_frames_per_s):
            del self._uses[identity.name]
