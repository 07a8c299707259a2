"""A frame on its way to the service, and what it may hear."""

import asyncio
from dataclasses import dataclass, field

from isthmus.session import Answered, Failed, Lost, Missing

News = Answered | Failed | Missing | Lost

__all__ = ["Flight", "News"]


@dataclass(slots=True, eq=False)
class Flight:
    """A frame that was sent; what becomes of it comes as `news`."""

    sequence: int
    answer_bytes: int
    news: asyncio.Queue[News] = field(default_factory=asyncio.Queue)
    is_awaited: bool = True  # its answer may be on its way
