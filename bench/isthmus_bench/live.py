"""The demo's live run: frames without pause while the link steps, is cut off, and comes back."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from isthmus_bench.processes import EdgeProcess
from isthmus_bench.relay import LinkShape, Relay

__all__ = ["LiveEvent", "LivePhase", "LiveResult", "run_live"]

OUTAGE_LABEL = "cut off"


@dataclass(frozen=True, slots=True)
class LivePhase:
    """A stretch of the run; 0 Mbit/s is a link that is cut off."""

    mbps: float
    seconds: float

    @property
    def label(self) -> str:
        """For people."""
        return OUTAGE_LABEL if self.mbps == 0 else f"{self.mbps:g} Mbit/s"


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One answered frame; `at_s` counts from the beginning of the run."""

    at_s: float
    latency_ms: float
    candidate: str
    place: str
    phase: int


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What became of every frame."""

    accepted: int
    answered_cloud: int
    answered_edge: int
    errors: int
    lost: int
    switches: list[dict[str, Any]]
    events: list[LiveEvent]
    phases: list[tuple[float, float, str]]

    def summary(self) -> str:
        """The line that matters."""
        answered = self.answered_cloud + self.answered_edge
        return (
            f"accepted {self.accepted}, answered {answered} (cloud {self.answered_cloud}, "
            f"device {self.answered_edge}), lost {self.lost}"
        )

    def places_in(self, phase: int) -> Counter[str]:
        """Who answered the frames that ended in a phase."""
        return Counter(event.place for event in self.events if event.phase == phase)


def run_live(
    edge: EdgeProcess,
    relay: Relay,
    phases: list[LivePhase],
    rtt_ms: float,
    say: Callable[[str], None],
) -> LiveResult:
    """Step the link through `phases` while the device answers; `say` gets a line per change."""
    _shape(relay, phases[0], rtt_ms)
    edge.frames.clear()
    edge.do("live")
    watcher = _Watcher(edge, say)
    spans = []
    for index, phase in enumerate(phases):
        if index:
            _shape(relay, phase, rtt_ms)
        begin = watcher.now_s()
        say(f"{begin:5.1f} s  link: {phase.label}")
        watcher.watch(index, phase.seconds)
        spans.append((begin, watcher.now_s(), phase.label))
    stats = edge.do("stop")["live"]
    watcher.take_rest(len(phases) - 1)
    ends = stats["answered_cloud"] + stats["answered_device"] + stats["errors"]
    return LiveResult(
        accepted=stats["accepted"],
        answered_cloud=stats["answered_cloud"],
        answered_edge=stats["answered_device"],
        errors=stats["errors"],
        # An answer counts only if the device process really handed it over.
        lost=stats["accepted"] - min(ends, len(watcher.events)),
        switches=stats["switches"],
        events=watcher.events,
        phases=spans,
    )


def _shape(relay: Relay, phase: LivePhase, rtt_ms: float) -> None:
    rate_bps = phase.mbps * 1e6
    relay.shape(LinkShape(uplink_bps=rate_bps, downlink_bps=rate_bps, rtt_ms=rtt_ms))


class _Watcher:
    """Collects frames as they end and says when the candidate changes."""

    def __init__(self, edge: EdgeProcess, say: Callable[[str], None]) -> None:
        self._edge = edge
        self._say = say
        self._begin = time.monotonic()
        self._newest = 0
        self._last: tuple[str, str] | None = None
        self.events: list[LiveEvent] = []

    def now_s(self) -> float:
        return time.monotonic() - self._begin

    def watch(self, phase: int, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            frame = self._edge.watch(left)
            if frame is not None:
                self._take(frame, phase)

    def take_rest(self, phase: int) -> None:
        for frame in self._edge.frames[len(self.events) :]:
            self._take(frame, phase)

    def _take(self, frame: dict[str, Any], phase: int) -> None:
        at_s = frame["at"] - self._begin
        event = LiveEvent(at_s, frame["latency_ms"], frame["candidate"], frame["place"], phase)
        self.events.append(event)
        if frame["sequence"] < self._newest:
            return  # an older frame that comes late says nothing about what is in use
        self._newest = frame["sequence"]
        use = (event.candidate, event.place)
        if use != self._last:
            where = "the cloud answers" if event.place == "cloud" else "the device answers"
            self._say(f"{at_s:5.1f} s    {event.candidate} in use, {where}")
            self._last = use
