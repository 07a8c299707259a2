"""What the people who run an agent should know of: a few lines, with their times."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

EVENTS_KEPT = 256

OnEvent = Callable[[str], None]

log = logging.getLogger("isthmus.edge")

__all__ = ["Event", "Events", "OnEvent"]


@dataclass(frozen=True, slots=True)
class Event:
    """One line; `at_s` counts from the opening of the agent."""

    at_s: float
    text: str


class Events:
    """The last of one agent. `on_event` is called on the agent's own thread: it must not wait."""

    def __init__(self, on_event: OnEvent | None = None) -> None:
        self._opened_at = time.monotonic()
        self._on_event = on_event
        self._kept: deque[Event] = deque(maxlen=EVENTS_KEPT)

    @property
    def kept(self) -> tuple[Event, ...]:
        """The oldest first."""
        return tuple(self._kept)

    def add(self, text: str, level: int = logging.WARNING) -> None:
        """Something has happened: log it at this level, keep it, pass it on."""
        log.log(level, "%s", text)
        self._kept.append(Event(time.monotonic() - self._opened_at, text))
        if self._on_event is None:
            return
        try:
            self._on_event(text)
        except Exception:
            log.exception("on_event failed on: %s", text)
