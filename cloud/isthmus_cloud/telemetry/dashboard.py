"""The live page of the service: an observer that remembers a minute, and the routes that show it.

    board = DashboardObserver(title="lite0", gauges=lambda: {"frames waiting": …})
    observers = Observers([board, metrics, …])
    web = WebServer(WebConfig(), service_routes(board, metrics.text, health))
    await web.start()

docs/dashboard.md is for those who look.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from isthmus import __version__
from isthmus.web import (
    Board,
    EventLog,
    Fact,
    Feed,
    Level,
    Minute,
    Reply,
    Request,
    Route,
    Total,
    encode_board,
    live_page,
    probe,
)
from isthmus_cloud.telemetry.dashboard_devices import (
    MOST_DEVICES,
    TAKEN_BACK,
    Devices,
    name_of,
    way_of,
)
from isthmus_cloud.telemetry.dashboard_models import Versions
from isthmus_cloud.telemetry.happenings import (
    Activated,
    Audited,
    BatchRun,
    FrameDone,
    Happening,
    LinkReported,
    Refused,
    StreamClosed,
    StreamOpened,
    Unloaded,
)

PERIOD_S = 0.5
STAGES = ["queue", "decode", "run", "rest"]
MOST_OUTCOMES = 16
_DEFECTS = {"internal", "bad_frame", "protocol"}  # outcomes that should not be

Gauges = Callable[[], Mapping[str, float]]
Words = Callable[[], Mapping[str, str]]
Exposition = Callable[[str], tuple[str, bytes]]


class Readiness(Protocol):
    """Whether devices may come, and why not; `Health` is one. Asked on any thread."""

    @property
    def state(self) -> str:
        """In a word or two."""

    @property
    def why_not(self) -> str:
        """What keeps them away; "" if they may come."""


__all__ = ["DashboardObserver", "Readiness", "service_routes"]


def _no_gauges() -> Mapping[str, float]:
    return {}


def _no_words() -> Mapping[str, str]:
    return {}


class DashboardObserver:
    """Remembers the last minute, the last devices and the last events, in bounded room.

    `note` may be called on any thread; it takes a lock for some microseconds. `gauges` and `words`
    are asked whenever somebody looks, on whatever thread that is: figures and facts by their names
    ("frames waiting", "provider"). `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        title: str,
        gauges: Gauges = _no_gauges,
        words: Words = _no_words,
        most_devices: int = MOST_DEVICES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._gauges = gauges
        self._words = words
        self._clock = clock
        self._began_s = clock()
        self._lock = threading.Lock()
        self._minute = Minute()
        self._events = EventLog()
        self._devices = Devices(most_devices)
        self._versions = Versions()
        self._answered = 0
        self._taken_back = 0
        self._refused = 0
        self._outcomes: Counter[str] = Counter()

    def note(self, happening: Happening) -> None:
        """See `Observer.note`."""
        now_s = self._clock()
        with self._lock:
            match happening:
                case FrameDone():
                    self._frame(now_s, happening)
                case BatchRun(size=size):
                    self._minute.batch(now_s, size)
                case LinkReported():
                    self._devices.link(happening)
                case StreamOpened():
                    self._opened(now_s, happening)
                case StreamClosed():
                    self._closed(now_s, happening)
                case Refused():
                    self._refuse(now_s, happening)
                case Audited():
                    self._audited(now_s, happening)
                case Activated():
                    self._activated(now_s, happening)
                case Unloaded():
                    self._unloaded(now_s, happening)

    def snapshot(self, state: str = "running") -> Board:
        """All of the page at this moment."""
        gauges, words = self._gauges(), self._words()
        with self._lock:
            now_s = self._clock()
            devices = self._devices.table(now_s)
            here = sum(device.until_s is None for device in devices)
            return Board(
                kind="service",
                title=self._title,
                version=__version__,
                state=state,
                uptime_s=now_s - self._began_s,
                facts=[Fact(name, text) for name, text in words.items()],
                totals=[*self._totals(now_s, gauges), *self._errors()],
                trends=self._minute.trends(now_s),
                stages=STAGES,
                candidates=self._minute.shares(now_s),
                events=self._events.told(now_s),
                batches=self._minute.batches(now_s),
                agreement=self._versions.agreement(),
                models=self._versions.deployed(),
                devices=devices,
                devices_left_out=max(0, self._devices.here - here),
            )

    def _totals(self, now_s: float, gauges: Mapping[str, float]) -> list[Total]:
        errors = self._outcomes.total()
        p50_ms, p95_ms = self._minute.quantiles_ms(now_s, (0.5, 0.95))
        return [
            Total("devices", self._devices.here),
            Total("frames ended", self._answered + self._taken_back + errors),
            Total("answered", self._answered, tone="good"),
            Total("taken back", self._taken_back),
            Total("errors", errors, tone="bad" if errors else "plain"),
            Total("refused", self._refused, tone="bad" if self._refused else "plain"),
            Total("p50, last minute", p50_ms, "ms"),
            Total("p95, last minute", p95_ms, "ms"),
            *(Total(name, figure) for name, figure in gauges.items()),
        ]

    def _errors(self) -> list[Total]:
        """By what the device was told, the most frequent first."""
        named = self._outcomes.most_common()
        return [Total(f"of them {_words(code)}", count, tone="bad") for code, count in named]

    def _frame(self, now_s: float, done: FrameDone) -> None:
        self._devices.frame(now_s, done)
        if done.outcome == TAKEN_BACK:
            self._taken_back += 1
            return
        if done.outcome != "answered":
            self._failed(now_s, done)
            return
        self._answered += 1
        self._versions.answered(done.model, done.version)
        rest_ms = max(0.0, done.total_ms - done.queue_ms - done.decode_ms - done.run_ms)
        parts_ms = (done.queue_ms, done.decode_ms, done.run_ms, rest_ms)
        self._minute.answered(now_s, way_of(done), parts_ms, done.total_ms, done.payload_bytes)

    def _failed(self, now_s: float, done: FrameDone) -> None:
        known = done.outcome in self._outcomes or len(self._outcomes) < MOST_OUTCOMES
        self._outcomes[done.outcome if known else "other"] += 1
        self._minute.failed(now_s)
        level: Level = "error" if done.outcome in _DEFECTS else "warning"
        who = name_of(done.identity, done.session)
        self._events.add(
            now_s, level, f"{who}: a frame ended with an error: {_words(done.outcome)}"
        )

    def _opened(self, now_s: float, opened: StreamOpened) -> None:
        self._devices.opened(now_s, opened)
        self._versions.stream(opened.model, opened.version, 1)
        did = "came back" if opened.resumed else "came"
        who = name_of(opened.identity, opened.session)
        self._events.add(now_s, "info", f"{who} {did} from {_host(opened.peer)}")

    def _closed(self, now_s: float, closed: StreamClosed) -> None:
        self._devices.closed(now_s, closed)
        self._versions.stream(closed.model, closed.version, -1)
        who = name_of(closed.identity, closed.session)
        self._events.add(now_s, "info", f"{who} left: {closed.why}")

    def _refuse(self, now_s: float, refused: Refused) -> None:
        self._refused += 1
        who = refused.identity or "a stranger"
        text = f"{who} was turned away ({_host(refused.peer)}): {refused.why}"
        self._events.add(now_s, "warning", text)

    def _audited(self, now_s: float, audited: Audited) -> None:
        self._versions.audited(audited)
        if audited.compared and not audited.agrees:
            text = f"{audited.session}: an audited answer is not that of the unsplit model"
            self._events.add(now_s, "warning", text)

    def _activated(self, now_s: float, activated: Activated) -> None:
        self._versions.activated(activated)
        before = f", before it {activated.previous}" if activated.previous else ""
        text = f"{activated.model}: version {activated.version} is active{before}"
        self._events.add(now_s, "info", f"{text}{_asked(activated.identity)}")

    def _unloaded(self, now_s: float, unloaded: Unloaded) -> None:
        self._versions.unloaded(unloaded)
        text = f"{unloaded.model}: no new device gets it any more{_asked(unloaded.identity)}"
        self._events.add(now_s, "info", text)


def _asked(identity: str) -> str:
    return f", asked for by {identity}" if identity else ""


def _words(code: str) -> str:
    return code.replace("_", " ")


def _host(peer: str) -> str:
    """gRPC's peer without its port, which is another one each time."""
    return peer.rpartition(":")[0] or peer or "somewhere"


def service_routes(
    board: DashboardObserver,
    metrics: Exposition | None = None,
    readiness: Readiness | None = None,
    period_s: float = PERIOD_S,
) -> dict[str, Route]:
    """For a `WebServer`: the page, its events, `/metrics`, and probes.

    `metrics` gives content type and body for an Accept header, on whatever thread; `/readyz` is 503
    with the reason while `readiness` has one. Who looks gets a new picture every `period_s`.
    """

    async def page(_request: Request) -> Reply:
        return live_page()

    async def message() -> bytes:
        state = "running" if readiness is None else readiness.state
        return await asyncio.to_thread(_message, board, state)

    async def exposed(request: Request) -> Reply:
        assert metrics is not None
        accept = request.headers.get("accept", "")
        content_type, body = await asyncio.to_thread(metrics, accept)
        return Reply(content_type=content_type, body=body)

    def why_not() -> str:
        return "" if readiness is None else readiness.why_not

    routes = {
        "/": Route(page),
        "/events": Route(Feed(message, period_s)),
        "/livez": Route(probe(lambda: True), is_open=True),
        "/readyz": Route(probe(lambda: not why_not(), why_not), is_open=True),
    }
    return routes if metrics is None else routes | {"/metrics": Route(exposed)}


def _message(board: DashboardObserver, state: str) -> bytes:
    return encode_board(board.snapshot(state))
