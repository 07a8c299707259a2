"""When a heartbeat is padded so that it measures the link: at the opening, and when it lies idle.

Frames measure the link by themselves. Probes are for a link that carries none: two at the opening
of a stream (the second one sized for what the first one found), then one now and then; more often
while the policy says that a faster link would change its choice.
"""

import asyncio

from isthmus.session import Echoed
from isthmus_edge.link import Estimator, LinkEstimate

OPENING_BEATS = 3
OPENING_PROBES = 2
PROBE_BYTES = (2_000, 32_000)
PROBE_SHARE_S = 0.05  # a probe may occupy the link this long
IDLE_S = 10.0  # between two probes of an idle link …
WANTED_S = 0.6  # … and while a better link would change what is decided

__all__ = ["Probing", "fitting_bytes"]


class Probing:
    """Counts what was sent on one stream, and knows which heartbeats were probes."""

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator
        self.measured = asyncio.Event()
        self.wanted = False
        self.begin()

    def begin(self) -> None:
        """A new stream."""
        self.measured.clear()
        self._beats: dict[int, tuple[int, bool]] = {}
        self._probes = 0
        self._told_at: float | None = None  # when something last measured the link
        self._frames_since_beat = 0

    def opening(self) -> tuple[int, ...]:
        """The padding of the heartbeats that warm a new stream up."""
        return (*(0 for _ in range(OPENING_BEATS)), PROBE_BYTES[0])

    def note_frame(self) -> None:
        """A frame goes out: it will tell more than a probe."""
        self._frames_since_beat += 1

    def sent(self, beat_id: int, message: int, padding_bytes: int) -> None:
        """A heartbeat went out; `message` is the estimator's name for it."""
        self._beats[beat_id] = (message, padding_bytes > 0)

    def padding_bytes(self, estimate: LinkEstimate | None, now: float, *, idle: bool) -> int:
        """What to pad the heartbeat with that is due now."""
        had_frames, self._frames_since_beat = self._frames_since_beat > 0, 0
        if had_frames or self._told_at is None:
            self._told_at = now
        if not idle or now - self._told_at < (WANTED_S if self.wanted else IDLE_S):
            return 0
        self._told_at = now
        return fitting_bytes(estimate)

    def echoed(self, echo: Echoed, now: float) -> bool:
        """A heartbeat came back; whether another probe must follow at once."""
        message, padded = self._beats.pop(echo.id, (0, False))
        if not padded:
            self._estimator.heartbeat(message, echo.received_s, now, echo.held_s)
            return False
        self._estimator.received(message, echo.received_s)
        if self.measured.is_set():
            return False
        self._probes += 1
        if self._probes == OPENING_PROBES:
            self.measured.set()
        return not self.measured.is_set()


def fitting_bytes(estimate: LinkEstimate | None) -> int:
    """A probe for a link of which so much is known."""
    wanted = 0.0 if estimate is None else estimate.bandwidth_bps / 8 * PROBE_SHARE_S
    least, most = PROBE_BYTES
    return int(min(max(wanted, least), most))
