"""One line an event, for machines or for people."""

import io
import json
import logging
import os
from collections.abc import Iterator

import pytest

from isthmus_edge.daemon.logs import Journal, start_logging
from isthmus_edge.daemon.sections import LogSection


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What the log would show; the loggers are put back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_lines_have_time_level_event_and_fields(stream: io.StringIO) -> None:
    start_logging(LogSection(format="json"), stream)
    Journal()("source_lost", logging.WARNING, source="camera", reason='gone "again"', none=None)
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "event": "source_lost",
        "source": "camera",
        "reason": 'gone "again"',
    }


def test_text_lines_quote_what_has_spaces(stream: io.StringIO) -> None:
    start_logging(LogSection(format="text"), stream)
    Journal()("source_lost", source="camera", reason="it is gone")
    line = stream.getvalue().strip()
    assert line.endswith('INFO source_lost source=camera reason="it is gone"')


def test_the_agents_own_lines_are_events_too(stream: io.StringIO) -> None:
    start_logging(LogSection(), stream)  # no terminal, so JSON
    logging.getLogger("isthmus.edge").warning("drift: %s", "cut-16@0")
    logging.getLogger("other").error("by the way")
    agent, other = map(json.loads, stream.getvalue().splitlines())
    assert (agent["event"], agent["message"]) == ("agent", "drift: cut-16@0")
    assert (other["event"], other["logger"]) == ("log", "other")


def test_a_traceback_stays_in_its_line(stream: io.StringIO) -> None:
    start_logging(LogSection(format="json"), stream)
    try:
        raise ZeroDivisionError("ours")
    except ZeroDivisionError:
        logging.getLogger("isthmus.daemon").exception("it broke")
    (line,) = stream.getvalue().splitlines()
    assert "ZeroDivisionError: ours" in json.loads(line)["traceback"]


def test_the_level_is_heeded_and_a_second_start_replaces_the_first(stream: io.StringIO) -> None:
    start_logging(LogSection(format="json"), io.StringIO())
    start_logging(LogSection(format="json", level="error"), stream)
    journal = Journal(clock=lambda: 7.0)
    journal("fine")
    journal("bad", logging.ERROR)
    journal.keep("agent", message="known already")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["bad"]
    assert [event["event"] for event in journal.kept] == ["fine", "bad", "agent"]
    assert journal.kept[0] == {"time_s": 7.0, "level": "info", "event": "fine"}


def test_what_is_kept_can_be_told_to_whoever_asks() -> None:
    journal = Journal()
    name = os.fsdecode(b"caf\xe9")
    journal("frame_failed", item=name, sources=[name, 1], more={"file": name})
    journal.keep("agent", message=f"half of a pair: \ud800, {name}")
    first, second = journal.kept
    assert (first["item"], first["sources"]) == (r"caf\xe9", [r"caf\xe9", 1])
    assert first["more"] == {"file": r"caf\xe9"}
    assert json.dumps(second, ensure_ascii=False).encode()
