"""One line an event: what strangers wrote begins no other line and steers no terminal."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from isthmus.log_lines import start_lines, tell

HOSTILE = 'a"b\n2026-01-01 INFO forged\r\x1b[31m\x9b31m\u202e\ud800 end'
log = logging.getLogger("tests.lines")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What the log would show; the loggers are put back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def start(stream: io.StringIO, *, as_json: bool, level: int = logging.INFO) -> None:
    start_lines(as_json=as_json, level=level, word_of=lambda name: name[:5], stream=stream)


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_hostile_text_stays_in_its_line_and_prints(stream: io.StringIO, as_json: bool) -> None:
    start(stream, as_json=as_json)
    tell(log, logging.INFO, "refused", why=HOSTILE)
    log.warning("no session %s", HOSTILE)
    for line in (lines := stream.getvalue().splitlines()):
        assert line.isprintable()
        assert line.encode()
    assert len(lines) == 2


def test_json_gives_the_hostile_text_back(stream: io.StringIO) -> None:
    start(stream, as_json=True)
    tell(log, logging.INFO, "refused", why=HOSTILE, peer=None, number=3)
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "info", "event": "refused", "why": HOSTILE, "number": 3}


def test_text_quotes_what_is_not_one_plain_word(stream: io.StringIO) -> None:
    start(stream, as_json=False)
    tell(log, logging.INFO, "it_was", plain="a=b", spaced="a b", quoted='"', empty="", name="é")
    line = stream.getvalue().strip()
    assert line.endswith(r'INFO it_was plain=a=b spaced="a b" quoted="\"" empty="" name=é')


def test_a_plain_line_has_the_word_of_its_logger(stream: io.StringIO) -> None:
    start(stream, as_json=True)
    log.warning("by the way")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["logger"]) == ("tests", "tests.lines")
    assert line["message"] == "by the way"


def test_a_traceback_in_text_is_indented_and_forges_nothing(stream: io.StringIO) -> None:
    start(stream, as_json=False)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("it broke")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith('ERROR tests logger=tests.lines message="it broke"')
    assert rest
    assert all(line.startswith("  ") and line.isprintable() for line in rest)


def test_a_level_that_is_off_costs_no_line(stream: io.StringIO) -> None:
    start(stream, as_json=True, level=logging.WARNING)
    tell(log, logging.INFO, "quiet")
    assert stream.getvalue() == ""
