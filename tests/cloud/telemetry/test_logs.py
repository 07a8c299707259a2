"""What the service writes down, and what it leaves out."""

import io
import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from tests.cloud.telemetry.records import (
    activated,
    audited,
    closed,
    done,
    one_of_each,
    opened,
    ran,
    refused,
    retired,
    unloaded,
)

from isthmus.log_lines import tell
from isthmus_cloud.telemetry.logs import (
    LogObserver,
    _PlainLines,
    start_logging,
)

pytestmark = pytest.mark.usefixtures("loggers")

WHO = {"session": "5ad0c3", "identity": "camera-7", "model": "lite0", "version": "v1"}


class Log:
    """A service's log as JSON, at a time that the test says."""

    def __init__(self, level: int = logging.INFO) -> None:
        self._stream = io.StringIO()
        self.now_s = 100.0
        start_logging("json", level, self._stream)
        (self.handler,) = logging.getLogger().handlers
        self.observer = LogObserver(lines_per_s=3, clock=lambda: self.now_s)

    def lines(self) -> list[dict[str, Any]]:
        """Those that came since the last time, without their times."""
        found = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        self._stream.seek(0)
        self._stream.truncate()
        for line in found:
            line.pop("time")
        return found


@pytest.fixture
def log() -> Log:
    return Log()


def test_streams_refusals_and_activations_are_lines(log: Log) -> None:
    peer = "ipv4:10.0.0.7:40000"
    for happening in (
        opened(),
        opened(resumed=True),
        closed(),
        refused(),
        activated("v2", "v1"),
        replace(activated("v3", "v2"), identity="anna"),
        unloaded(),
        retired("v1"),
        audited(agrees=False, divergence=0.25),
    ):
        log.observer.note(happening)
    assert log.lines() == [
        {"level": "info", "event": "stream_opened", **WHO, "peer": peer},
        {"level": "info", "event": "stream_opened", **WHO, "peer": peer, "resumed": True},
        {"level": "info", "event": "stream_closed", **WHO, "why": "the device has left"},
        {"level": "warning", "event": "refused", "why": "token", "peer": "ipv4:10.0.0.9:1"},
        {
            "level": "info",
            "event": "activated",
            "model": "lite0",
            "version": "v2",
            "previous": "v1",
        },
        {
            "level": "info",
            "event": "activated",
            "identity": "anna",
            "model": "lite0",
            "version": "v3",
            "previous": "v2",
        },
        {
            "level": "info",
            "event": "unloaded",
            "identity": "anna",
            "model": "lite0",
            "version": "v1",
        },
        {"level": "info", "event": "retired", "model": "lite0", "version": "v1"},
        {
            "level": "info",
            "event": "audit_disagrees",
            "session": "5ad0c3",
            "model": "lite0",
            "version": "v1",
            "divergence": 0.25,
        },
    ]


def test_what_goes_well_is_no_line(log: Log) -> None:
    for happening in (done(), done(outcome="cancelled"), ran(), audited(), audited(compared=False)):
        log.observer.note(happening)
    assert log.lines() == []


def test_a_frame_where_somebody_should_look_is_a_line_with_all_that_is_known(log: Log) -> None:
    log.observer.note(done(outcome="internal", queue_ms=500.0004))
    (broken,) = log.lines()
    assert broken == {
        "level": "warning",
        "event": "frame_failed",
        **WHO,
        "sequence": 1,
        "candidate": "cut-16",
        "rung": 2,
        "outcome": "internal",
        "payload_bytes": 3000,
        "queue_ms": 500.0,
        "total_ms": 12.0,
    }


def test_frames_that_are_late_or_too_many_are_no_lines_but_at_debug_level(log: Log) -> None:
    log.observer.note(done(outcome="too_late"))
    log.observer.note(done(outcome="overloaded"))
    assert log.lines() == []
    thorough = Log(logging.DEBUG)
    thorough.observer.note(done(outcome="too_late"))
    (late,) = thorough.lines()
    assert (late["level"], late["event"], late["outcome"]) == ("debug", "frame_failed", "too_late")


def test_at_debug_level_every_frame_is_a_line() -> None:
    log = Log(logging.DEBUG)
    for sequence in range(10):
        log.observer.note(done(sequence=sequence))
    assert [line["sequence"] for line in log.lines()] == list(range(10))


def test_too_many_lines_a_second_are_counted_instead(log: Log) -> None:
    for _ in range(234):
        log.observer.note(refused())
    assert [line["event"] for line in log.lines()] == ["refused"] * 3
    log.observer.note(opened())  # another kind has places of its own
    assert [line["event"] for line in log.lines()] == ["stream_opened"]
    log.now_s += 1.0
    log.observer.note(done())  # any happening, even one that is no line
    assert log.lines() == [{"level": "warning", "event": "left_out", "of": "refused", "lines": 231}]
    log.observer.note(done())
    log.observer.note(refused())
    assert [line["event"] for line in log.lines()] == ["refused"]


def test_a_flood_of_the_usual_does_not_hide_what_is_wrong(log: Log) -> None:
    for _ in range(50):
        log.observer.note(opened())
    log.observer.note(done(outcome="internal"))
    assert log.lines()[-1]["outcome"] == "internal"


def test_what_was_left_out_is_told_at_the_end(log: Log) -> None:
    for _ in range(5):
        log.observer.note(refused())
    log.lines()
    log.observer.flush()
    log.observer.flush()
    assert [(line["event"], line["lines"]) for line in log.lines()] == [("left_out", 2)]


def test_long_texts_of_strangers_are_cut(log: Log) -> None:
    log.observer.note(closed(why="x" * 5000))
    log.observer.note(done(outcome="unknown_candidate", candidate="y" * 5000))
    first, second = log.lines()
    assert first["why"] == "x" * 200 + "…"
    assert second["candidate"] == "y" * 200 + "…"


def test_lines_of_others_are_events_too(log: Log) -> None:
    logging.getLogger("isthmus_cloud.sessions.stream").warning("session %s: gone", "5ad0c3")
    logging.getLogger("grpc").warning("by the way")
    ours, other = log.lines()
    assert (ours["event"], ours["message"]) == ("service", "session 5ad0c3: gone")
    assert (other["event"], other["logger"]) == ("log", "grpc")


def test_at_debug_level_libraries_are_heard_from_info_on() -> None:
    log = Log(logging.DEBUG)
    logging.getLogger("asyncio").debug("using a selector")
    logging.getLogger("isthmus_cloud.faces.split").debug("a word of ours")
    assert [line["message"] for line in log.lines()] == ["a word of ours"]


def test_plain_lines_that_strangers_can_cause_are_limited(log: Log) -> None:
    faces = logging.getLogger("isthmus_cloud.faces.refusals")
    now_s = [100.0]
    log.handler.filters[:] = [_PlainLines(lines_per_s=3, clock=lambda: now_s[0])]
    for _ in range(50):
        faces.info("%s was refused", "10.0.0.7")
    faces.warning("of another level")
    logging.getLogger("isthmus_cloud.store").info("of another room")
    assert [line["message"] for line in log.lines()] == [
        *["10.0.0.7 was refused"] * 3,
        "of another level",
        "of another room",
    ]
    now_s[0] += 1.0
    faces.info("%s was refused", "10.0.0.8")
    assert [line["message"] for line in log.lines()] == [
        "10.0.0.8 was refused (after 47 like it that were left out)"
    ]


def test_events_that_callers_can_cause_are_limited_as_well(log: Log) -> None:
    faces = logging.getLogger("isthmus_cloud.faces.callers")
    now_s = [100.0]
    log.handler.filters[:] = [_PlainLines(lines_per_s=3, clock=lambda: now_s[0])]
    for _ in range(50):
        tell(faces, logging.WARNING, "refused", why="role")
    tell(faces, logging.WARNING, "another")
    assert [line["event"] for line in log.lines()] == [*["refused"] * 3, "another"]
    now_s[0] += 1.0
    tell(faces, logging.WARNING, "refused", why="role")
    assert [line["left_out"] for line in log.lines()] == [47]


def test_events_of_libraries_that_have_no_fields_are_limited_as_well(log: Log) -> None:
    library = logging.getLogger("a.library")
    now_s = [100.0]
    log.handler.filters[:] = [_PlainLines(lines_per_s=1, clock=lambda: now_s[0])]
    for step_s in (0.0, 0.0, 1.0):
        now_s[0] += step_s
        library.warning("again", extra={"event": "tried"})
    first, second = log.lines()
    assert (first, second) == (
        {"level": "warning", "event": "tried"},
        {"level": "warning", "event": "tried", "left_out": 1},
    )


def test_the_log_of_a_service_limits_them_from_the_start(log: Log) -> None:
    assert [type(each) for each in log.handler.filters] == [_PlainLines]


def test_a_log_that_is_no_terminal_is_json_unless_text_is_asked_for() -> None:
    for kind, begins in (("auto", "{"), ("json", "{"), ("text", "2")):
        stream = io.StringIO()
        start_logging(kind, logging.INFO, stream)  # type: ignore[arg-type]
        LogObserver().note(opened())
        assert stream.getvalue().startswith(begins)


def test_nothing_is_written_where_nobody_listens() -> None:
    log = Log(logging.ERROR)
    for happening in [*one_of_each(), *(refused() for _ in range(50))]:
        log.observer.note(happening)
    log.observer.flush()
    assert log.lines() == []
