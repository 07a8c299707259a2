"""What the daemon tells people and machines: one line an event, on stderr."""

import json
import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO

from isthmus_edge.daemon.printable import printed
from isthmus_edge.daemon.sections import LogSection

TOLD_KEPT = 64

Tell = Callable[..., None]  # as `Journal.__call__`

log = logging.getLogger("isthmus.daemon")

__all__ = ["Journal", "Tell", "start_logging"]


class Journal:
    """Tells events, and keeps the last of them for `isthmus edge status`."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: deque[dict[str, object]] = deque(maxlen=TOLD_KEPT)

    @property
    def kept(self) -> list[dict[str, object]]:
        """The oldest first; each has `time_s` (since the epoch), `level` and `event`."""
        return list(self._kept)

    def __call__(self, event: str, level: int = logging.INFO, **fields: object) -> None:
        """Something has happened: a word for it in snake_case, and what belongs to it."""
        shown = {name: _plain(value) for name, value in fields.items() if value is not None}
        self.keep(event, level, **shown)
        log.log(level, "%s", event, extra={"event": event, "fields": shown})

    def keep(self, event: str, level: int = logging.INFO, **fields: object) -> None:
        """The same for what is in the log already."""
        name = logging.getLevelName(level).lower()
        told = {"time_s": self._clock(), "level": name, "event": event, **fields}
        self._kept.append(printed(told))


def start_logging(section: LogSection, stream: IO[str] | None = None) -> None:
    """Send every log line of the process to `stream` (stderr), formatted as was asked for."""
    stream = sys.stderr if stream is None else stream
    as_json = section.format == "json" or (section.format == "auto" and not stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonLines() if as_json else _TextLines())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(section.level.upper())


class _JsonLines(logging.Formatter):
    """Objects with time, level and event; other loggers' lines are event "log" with a message."""

    def format(self, record: logging.LogRecord) -> str:
        event, fields = _event_of(record)
        head = {"time": _when(record), "level": record.levelname.lower(), "event": event}
        if record.exc_info:
            fields = fields | {"traceback": self.formatException(record.exc_info)}
        return json.dumps(head | fields, ensure_ascii=False, default=str)


class _TextLines(logging.Formatter):
    """`time LEVEL event key=value …`, one line each but for tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        event, fields = _event_of(record)
        shown = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
        line = f"{_when(record)} {record.levelname} {event} {shown}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _event_of(record: logging.LogRecord) -> tuple[str, dict[str, object]]:
    if (event := getattr(record, "event", None)) is not None:
        return str(event), dict(getattr(record, "fields", {}))
    word = "agent" if record.name == "isthmus.edge" else "log"
    return word, {"logger": record.name, "message": record.getMessage()}


def _when(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | list | dict) else str(value)


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or "\n" in text else text
