"""The last events of a process, in bounded room: what repeats is counted, not listed."""

from collections import deque
from dataclasses import dataclass
from itertools import chain, islice
from typing import get_args

from isthmus.web.board import Happened, Level, shortened

MOST_EVENTS = 64
LOOKED_BACK = 8  # among so many of the last events a repetition is recognised

__all__ = ["EventLog"]


@dataclass(slots=True)
class _Event:
    at_s: float
    level: Level
    text: str
    turn: int
    count: int = 1


class EventLog:
    """Keeps the last `most` of each level, so that a crowd of one does not hide the other.

    Not for several threads at once.
    """

    def __init__(self, most: int = MOST_EVENTS) -> None:
        self._events: dict[Level, deque[_Event]] = {
            level: deque(maxlen=most) for level in get_args(Level)
        }
        self._turn = 0

    def add(self, now_s: float, level: Level, text: str) -> None:
        """One more; the same again shortly after another is one event that happened twice."""
        kept = shortened(text)
        self._turn += 1
        events = self._events[level]
        for event in islice(reversed(events), LOOKED_BACK):
            if event.text == kept:
                event.at_s, event.turn, event.count = now_s, self._turn, event.count + 1
                return
        events.append(_Event(now_s, level, kept, self._turn))

    def told(self, now_s: float) -> list[Happened]:
        """The oldest first; one that has just happened again counts as new."""
        in_turn = sorted(chain(*self._events.values()), key=lambda event: event.turn)
        return [
            Happened(max(0.0, now_s - event.at_s), event.level, event.text, event.count)
            for event in in_turn
        ]
