"""What a source gives, and what a source is."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from isthmus import IsthmusError, PictureError

# "unwritten": there is an answer or an error, but no output could take it.
Fate = Literal["answered", "failed", "unreadable", "unwritten"]

__all__ = ["Fate", "Item", "Source", "SourceLostError"]


class SourceLostError(IsthmusError):
    """A camera, a folder or a file that is not there (any more); it may come back."""


def _nothing(_: Fate) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Item:
    """One picture: a file, the bytes of one, a frame uint8 [h,w,3], or why it is none.

    `settled` is called once, on any thread, when its answer or error was written down or could not
    be.
    """

    name: str
    picture: Path | bytes | NDArray[np.uint8] | PictureError
    deadline_ms: float | None = None
    settled: Callable[[Fate], None] = _nothing


class Source(Protocol):
    """Where pictures come from; used by one thread, but for `stop` and `dropped`."""

    kind: str
    comes_back: bool  # whether it is opened again after SourceLostError

    def items(self) -> Generator[Item | None]:
        """Open it and give what comes, until it ends or is stopped; SourceLostError if it is gone.

        None says that it is open and nothing has come yet. It may be called again afterwards.
        """
        ...

    def stop(self) -> None:
        """Let `items` end soon, wherever it waits; for good."""
        ...

    @property
    def dropped(self) -> int:
        """Frames that became stale before anybody took them."""
        ...
