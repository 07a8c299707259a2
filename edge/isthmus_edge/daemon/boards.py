"""From what the daemon says of itself to its live page."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future

from isthmus import Manifest
from isthmus.web import (
    Agreement,
    Board,
    Fact,
    Happened,
    Level,
    Minute,
    Recent,
    Tone,
    Total,
    Trend,
    shortened,
)
from isthmus_edge.answer import Answer, Stats, Switch, Timings
from isthmus_edge.daemon.serving import Answering
from isthmus_edge.daemon.status import Counts, Status
from isthmus_edge.inputs import Inputs
from isthmus_edge.policy.vitals import Vitals

STAGES = ["wait", "head", "encode", "network", "queue", "decode", "run", "device rest", "rest"]
MOST_SWITCHES = 32
SHORT = 12  # digits of a fingerprint that people compare
_LEVELS: dict[str, Level] = {"warning": "warning", "error": "error", "critical": "error"}
_TOLD = {"time_s", "level", "event"}

__all__ = ["FrameWatch", "Watched"]


class FrameWatch:
    """Remembers a minute of answers and of the link; fit for any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = Minute()
        self._links: Recent[dict[str, float]] = Recent(dict)
        self.opened_s = clock()

    def agent_opened(self) -> None:
        """The times that an agent counts from its opening begin now."""
        self.opened_s = self._clock()

    def ended(self, future: "Future[Answer]") -> None:
        """A frame has its end."""
        answer = None if future.cancelled() or future.exception() else future.result()
        now_s = self._clock()
        with self._lock:
            if answer is None:
                self._minute.failed(now_s)
                return
            parts_ms = _parts_ms(answer.timings, answer.latency_ms)
            self._minute.answered(
                now_s, _way(answer), parts_ms, answer.latency_ms, answer.payload_bytes
            )

    def fill(self, status: Status, stats: Stats | None, vitals: Vitals, wall_s: float) -> Board:
        """The whole page; `wall_s` is the time since the epoch, as events have it."""
        with self._lock:
            now_s = self._clock()
            self._note_link(now_s, status, vitals)
            quantiles_ms = self._minute.quantiles_ms(now_s, (0.5, 0.95))
            trends = [*self._minute.trends(now_s), *self._link_trends(now_s)]
            shares = self._minute.shares(now_s)
        switches = [] if stats is None else _switches(stats, now_s - self.opened_s)
        return Board(
            kind="device",
            title=shortened(status.bundle["model"]) if status.bundle else "isthmus edge",
            version=status.version,
            state=_state(status),
            uptime_s=status.uptime_s,
            facts=list(_facts(status, stats)),
            totals=[*_totals(status, vitals), *_times(quantiles_ms)],
            trends=trends,
            stages=STAGES,
            candidates=shares,
            events=sorted([*_events(status, wall_s), *switches], key=lambda each: -each.at_s),
            agreement=None if stats is None else _agreement(stats),
        )

    def _note_link(self, now_s: float, status: Status, vitals: Vitals) -> None:
        bucket = self._links.at(now_s)
        link = None if status.agent is None else status.agent.link
        known = {
            "bandwidth": None if link is None else link.bandwidth_bps,
            "round trip": None if link is None else link.rtt_ms,
            "temperature": vitals.temperature_c,
        }
        bucket.update({name: value for name, value in known.items() if value is not None})

    def _link_trends(self, now_s: float) -> Iterator[Trend]:
        """What is known only of seconds in which somebody looked."""
        buckets = self._links.ended(now_s)
        for name, unit in (("bandwidth", "bit/s"), ("round trip", "ms"), ("temperature", "°C")):
            values = [None if each is None else each.get(name) for each in buckets]
            if any(value is not None for value in values):
                yield Trend(name, unit, values)


class Watched:
    """An agent whose answers are noted on their way; else as it is."""

    def __init__(self, agent: Answering, watch: FrameWatch) -> None:
        self._agent = agent
        self._watch = watch
        watch.agent_opened()

    @property
    def manifest(self) -> Manifest:
        """See `Answering.manifest`."""
        return self._agent.manifest

    def submit(self, frame: Inputs, deadline_ms: float | None = None) -> "Future[Answer]":
        """See `Answering.submit`."""
        answer = self._agent.submit(frame, deadline_ms)
        answer.add_done_callback(self._watch.ended)
        return answer

    def stats(self) -> Stats:
        """See `Answering.stats`."""
        return self._agent.stats()

    def close(self, timeout_s: float) -> None:
        """See `Answering.close`."""
        self._agent.close(timeout_s)


def _way(answer: Answer) -> str:
    """Candidate and rung; and that the device had to finish what the cloud did not."""
    here = "" if answer.timings.rest_ms is None else ", finished here"
    return f"{answer.candidate}@{answer.rung}{here}"


def _parts_ms(timings: Timings, latency_ms: float) -> list[float]:
    told = (
        timings.queue_ms,
        timings.head_ms,
        timings.encode_ms,
        timings.network_ms,
        timings.cloud_queue_ms,
        timings.cloud_decode_ms,
        timings.cloud_tail_ms,
        timings.rest_ms,
    )
    parts_ms = [each or 0.0 for each in told]
    return [*parts_ms, max(0.0, latency_ms - sum(parts_ms))]


def _state(status: Status) -> str:
    is_silent = status.agent is not None and not status.agent.answers
    return f"{status.state}, but its agent does not answer" if is_silent else status.state


def _facts(status: Status, stats: Stats | None) -> Iterator[Fact]:
    if status.bundle is not None:
        yield Fact("bundle", status.bundle["fingerprint"][:SHORT])
    if status.agent is not None:
        candidate = status.agent.candidate
        yield Fact("link", status.agent.link.state)
        yield Fact("in use", "nothing yet" if candidate is None else _in_use(status))
    for address in status.endpoint:
        yield Fact("endpoint", shortened(address))
    for source in status.sources:
        detail = f" ({source.detail})" if source.detail else ""
        text = f"{source.state}{detail}, {source.answered} of {source.taken} answered"
        yield Fact("source", shortened(f"{source.name} {text}"))
    if status.output is not None and status.output.fault:
        yield Fact("output", shortened(status.output.fault))
    if status.reload_fault is not None:
        yield Fact("the last reload was refused:", shortened(status.reload_fault))
    if stats is not None and stats.rate_advice is not None:
        yield Fact("advice", shortened(stats.rate_advice))


def _in_use(status: Status) -> str:
    assert status.agent is not None
    rung = "" if status.agent.rung is None else f"@{status.agent.rung}"
    return shortened(f"{status.agent.candidate}{rung}")


def _totals(status: Status, vitals: Vitals) -> Iterator[Total]:
    counts = status.counts or Counts()
    yield Total("accepted", counts.accepted)
    yield Total("answered by the cloud", counts.answered_cloud, tone="good")
    yield Total("answered here", counts.answered_device, tone="good")
    yield Total("errors", counts.errors, tone="bad" if counts.errors else "plain")
    yield Total("under way", counts.pending)
    if status.agent is not None:
        yield Total("bandwidth", status.agent.link.bandwidth_bps, "bit/s")
        yield Total("round trip", status.agent.link.rtt_ms, "ms")
        yield Total("switches", status.agent.switches)
    yield Total("memory", status.rss_bytes, "B")
    if vitals.temperature_c is not None:
        tone: Tone = "bad" if vitals.heat > 0 else "plain"
        yield Total("temperature", vitals.temperature_c, "°C", tone)
    if vitals.load is not None:
        yield Total("load a core", vitals.load)
    if vitals.battery_share is not None:
        yield Total("battery", vitals.battery_share, "share")


def _times(quantiles_ms: list[float | None]) -> Iterator[Total]:
    for name, time_ms in zip(("p50", "p95"), quantiles_ms, strict=True):
        yield Total(f"{name}, last minute", time_ms, "ms")


def _agreement(stats: Stats) -> list[Agreement]:
    audits = stats.audits
    if not (audits.checked or audits.not_compared):
        return []
    rungs = [
        Agreement(shortened(name), count.checked, count.agreed, has_drifted=count.has_drifted)
        for name, count in audits.by_rung.items()
    ]
    return [Agreement("", audits.checked, audits.agreed, audits.not_compared), *rungs]


def _switches(stats: Stats, open_s: float) -> list[Happened]:
    return [
        Happened(max(0.0, open_s - switch.at_s), "info", _switch(switch))
        for switch in stats.switches[-MOST_SWITCHES:]
    ]


def _switch(switch: Switch) -> str:
    before = "" if switch.before is None else f", before it {switch.before}"
    return shortened(f"candidate {switch.after}{before}: {switch.reason}")


def _events(status: Status, wall_s: float) -> Iterator[Happened]:
    for told in status.events:
        age_s = max(0.0, wall_s - float(told["time_s"]))
        yield Happened(age_s, _LEVELS.get(str(told["level"]), "info"), _sentence(told))


def _sentence(told: Mapping[str, object]) -> str:
    fields = " ".join(f"{name}={value}" for name, value in told.items() if name not in _TOLD)
    word = str(told["event"])
    if word == "agent" and "message" in told:  # in words already
        return shortened(str(told["message"]))
    return shortened(f"{word.replace('_', ' ')} {fields}".strip())
