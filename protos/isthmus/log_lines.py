"""One line an event on stderr, as text for people or as JSON for machines; device and cloud alike.

An event is a word in snake_case and fields. Lines of loggers that know nothing of this (libraries,
plain `log.warning`) get a word by their logger's name, and their text as the field `message`. What
strangers wrote may stand in any field: whatever could begin another line, or steer a terminal, is
escaped.
"""

import json
import logging
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO

WordOf = Callable[[str], str]  # the event of a plain line, by its logger's name

_PLAIN = re.compile(r"[^\s\"]+")

__all__ = ["WordOf", "start_lines", "tell"]


def tell(logger: logging.Logger, level: int, event: str, /, **fields: object) -> None:
    """Log an event; fields that are None are left out."""
    if logger.isEnabledFor(level):
        shown = {name: value for name, value in fields.items() if value is not None}
        logger.log(level, "%s", event, extra={"event": event, "fields": shown})


def start_lines(
    *, as_json: bool, level: int, word_of: WordOf, stream: IO[str] | None = None
) -> None:
    """Send every log line of the process to `stream` (stderr), and nowhere else."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(_JsonLines(word_of) if as_json else _TextLines(word_of))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


class _Lines(logging.Formatter):
    """What both formats ask of a record."""

    def __init__(self, word_of: WordOf) -> None:
        super().__init__()
        self._word_of = word_of

    def event_of(self, record: logging.LogRecord) -> tuple[str, dict[str, object]]:
        """The word and the fields."""
        if (event := getattr(record, "event", None)) is not None:
            return str(event), dict(getattr(record, "fields", {}))
        text = record.getMessage()
        return self._word_of(record.name), {"logger": record.name, "message": text}


class _JsonLines(_Lines):
    """Objects with time, level and event, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        event, fields = self.event_of(record)
        head = {"time": _when(record), "level": record.levelname.lower(), "event": event}
        if record.exc_info:
            fields = fields | {"traceback": self.formatException(record.exc_info)}
        return _escaped(json.dumps(head | fields, ensure_ascii=False, default=str))


class _TextLines(_Lines):
    """`time LEVEL event key=value …`, one line each but for tracebacks, which are indented."""

    def format(self, record: logging.LogRecord) -> str:
        event, fields = self.event_of(record)
        shown = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
        line = f"{_when(record)} {record.levelname} {event} {shown}".rstrip()
        if not record.exc_info:
            return line
        trace = self.formatException(record.exc_info).splitlines()
        return "\n".join([line, *("  " + _escaped(each) for each in trace)])


def _when(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _quoted(value: object) -> str:
    """As it is if it is one plain word, else in quotes."""
    text = str(value)
    if text.isprintable() and _PLAIN.fullmatch(text):
        return text
    return _escaped(json.dumps(text, ensure_ascii=False))


def _escaped(text: str) -> str:
    """What does not print, a terminal's control codes for instance, as JSON escapes it."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)
