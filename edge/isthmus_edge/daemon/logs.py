"""What the daemon tells people and machines: one line an event, on stderr."""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import IO

from isthmus.log_lines import start_lines, tell
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
        tell(log, level, event, **shown)

    def keep(self, event: str, level: int = logging.INFO, **fields: object) -> None:
        """The same for what is in the log already."""
        name = logging.getLevelName(level).lower()
        told = {"time_s": self._clock(), "level": name, "event": event, **fields}
        self._kept.append(printed(told))


def start_logging(section: LogSection, stream: IO[str] | None = None) -> None:
    """Send every log line of the process to `stream` (stderr), formatted as was asked for."""
    stream = sys.stderr if stream is None else stream
    as_json = section.format == "json" or (section.format == "auto" and not stream.isatty())
    level = logging.getLevelNamesMapping()[section.level.upper()]
    start_lines(as_json=as_json, level=level, word_of=_word_of, stream=stream)


def _word_of(logger: str) -> str:
    """The event of a line that is none of the journal's."""
    return "agent" if logger == "isthmus.edge" else "log"


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | list | dict) else str(value)
