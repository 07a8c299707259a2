"""Who is connected, as the live page shows it: a bounded table of devices."""

import math
from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from isthmus.web import Device, Recent, shortened
from isthmus_cloud.telemetry.happenings import (
    FrameDone,
    LinkReported,
    StreamClosed,
    StreamOpened,
)

MOST_DEVICES = 256
GONE_S = 600.0  # how long one that left is still shown
SLOTS, SLOT_S = 12, 5.0  # of the last minute

TAKEN_BACK = "cancelled"  # the outcome of a frame that its device did not want any more

__all__ = ["MOST_DEVICES", "TAKEN_BACK", "Devices", "name_of", "way_of"]


def name_of(identity: str, session: str) -> str:
    """A device for people: who it says it is, or else its session."""
    return identity or session or "a device"


def way_of(done: FrameDone) -> str:
    """Which candidate, and which rung of its ladder: "cut-16@0"."""
    return f"{done.candidate}@{done.rung}"


def _recent() -> "Recent[Counter[str]]":
    return Recent(Counter, slots=SLOTS, slot_s=SLOT_S)


@dataclass(slots=True)
class _Row:
    opened: StreamOpened
    since_s: float
    streams: int = 1
    left_s: float | None = None
    why: str = ""
    heard_s: float | None = None
    candidate: str | None = None
    answered: int = 0
    errors: int = 0
    link: LinkReported | None = None
    used: "Recent[Counter[str]]" = field(default_factory=_recent)


class Devices:
    """The last `most` sessions, by when something was heard of them; those that left go first."""

    def __init__(self, most: int = MOST_DEVICES) -> None:
        self._most = most
        self._rows: OrderedDict[str, _Row] = OrderedDict()
        self.here = 0

    def opened(self, now_s: float, opened: StreamOpened) -> None:
        """A stream of a session began."""
        self.here += 1
        row = self._heard(opened.session)
        if row is None:
            self._make_room()
            self._rows[opened.session] = _Row(opened, now_s)
            return
        if not row.streams:
            row.since_s = now_s
        row.opened, row.left_s, row.why, row.streams = opened, None, "", row.streams + 1

    def closed(self, now_s: float, closed: StreamClosed) -> None:
        """One ended; a session that was taken over has another one."""
        self.here = max(0, self.here - 1)
        row = self._rows.get(closed.session)
        if row is None:
            return
        row.streams = max(0, row.streams - 1)
        if not row.streams:
            row.left_s, row.why = now_s, closed.why

    def frame(self, now_s: float, done: FrameDone) -> None:
        """A frame of it ended."""
        row = self._heard(done.session)
        if row is None:
            return
        row.heard_s = now_s
        if done.outcome != "answered":
            row.errors += done.outcome != TAKEN_BACK
            return
        row.answered += 1
        row.candidate = way_of(done)
        row.used.at(now_s)[row.candidate] += 1

    def link(self, report: LinkReported) -> None:
        """It told what it believes of its link."""
        row = self._heard(report.session)
        if row is not None:
            row.link = report

    def table(self, now_s: float) -> list[Device]:
        """Those that are here first, by name."""
        left = [key for key, row in self._rows.items() if _is_forgotten(row, now_s)]
        for key in left:
            del self._rows[key]
        shown = [_device(row, now_s) for row in self._rows.values()]
        return sorted(shown, key=lambda d: (d.until_s is not None, d.identity, d.session))

    def _heard(self, session: str) -> _Row | None:
        row = self._rows.get(session)
        if row is not None:
            self._rows.move_to_end(session)
        return row

    def _make_room(self) -> None:
        if len(self._rows) < self._most:
            return
        gone = (key for key, row in self._rows.items() if not row.streams)
        del self._rows[next(gone, next(iter(self._rows)))]


def _is_forgotten(row: _Row, now_s: float) -> bool:
    return row.left_s is not None and now_s - row.left_s > GONE_S


def _device(row: _Row, now_s: float) -> Device:
    used: Counter[str] = Counter()
    for bucket in row.used.all(now_s):
        used.update(bucket)
    opened, link = row.opened, row.link
    span_s = min(max(now_s - row.since_s, 1.0), row.used.span_s(now_s))
    return Device(
        identity=shortened(opened.identity),
        session=shortened(opened.session),
        peer=shortened(opened.peer),
        model=shortened(opened.model),
        version=shortened(opened.version),
        since_s=now_s - row.since_s,
        until_s=None if row.left_s is None else now_s - row.left_s,
        heard_s=None if row.heard_s is None else now_s - row.heard_s,
        why=shortened(row.why),
        candidate=None if row.candidate is None else shortened(row.candidate),
        shares={shortened(name): frames for name, frames in used.items()},
        bandwidth_bps=_known(0.0 if link is None else link.bandwidth_bps),
        rtt_ms=None if link is None else _known(link.rtt_ms),
        answered=row.answered,
        errors=row.errors,
        answers_per_s=used.total() / span_s,
    )


def _known(figure: float) -> float | None:
    """What a device told of itself may be anything; 0 is what it does not know."""
    return figure if math.isfinite(figure) and figure > 0 else None
