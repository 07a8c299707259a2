"""Frames on their way to the service, and what they may hear."""

import asyncio
from dataclasses import dataclass, field

from isthmus.session import Answered, Failed, Lost, Missing

News = Answered | Failed | Missing | Lost

__all__ = ["Flight", "Flights", "News"]


@dataclass(slots=True, eq=False)
class Flight:
    """A frame that was sent; what becomes of it comes as `news`."""

    sequence: int
    answer_bytes: int
    news: asyncio.Queue[News] = field(default_factory=asyncio.Queue)
    is_awaited: bool = True  # its answer may be on its way


class Flights:
    """All that somebody waits for, by sequence."""

    def __init__(self) -> None:
        self._flights: dict[int, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    @property
    def are_awaited(self) -> bool:
        """Whether an answer to any may be on its way."""
        return any(each.is_awaited for each in self._flights.values())

    @property
    def largest_answer_bytes(self) -> int:
        """Of those whose answers may be on their way; 0 without any."""
        awaited = (each.answer_bytes for each in self._flights.values() if each.is_awaited)
        return max(awaited, default=0)

    def sent(self, sequence: int, answer_bytes: int) -> Flight:
        """A frame went out, be it once more."""
        flight = self._flights.setdefault(sequence, Flight(sequence, answer_bytes))
        flight.is_awaited = True
        return flight

    def forget(self, sequence: int) -> None:
        """Nobody waits for this one any more."""
        self._flights.pop(sequence, None)

    def bring(self, news: Answered | Failed | Missing) -> None:
        """To whom it concerns, if anybody still waits."""
        flight = self._flights.get(news.sequence)
        if flight is not None:
            flight.is_awaited = False
            flight.news.put_nowait(news)

    def lose(self, reason: str) -> None:
        """The stream that was to bring their answers is over."""
        for flight in self._flights.values():
            flight.news.put_nowait(Lost(reason))
