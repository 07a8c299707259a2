"""The ledger of frames: every accepted frame is settled exactly once."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["cloud", "device", "error", "stale", "cancelled"]

__all__ = ["Ledger", "Outcome"]


@dataclass(slots=True)
class _Counts:
    cloud: int = 0
    device: int = 0
    error: int = 0
    stale: int = 0
    cancelled: int = 0


class Ledger:
    """Counts what was accepted and how it ended; second ends are refused and counted."""

    def __init__(self) -> None:
        self._accepted = 0
        self._open: set[int] = set()
        self._counts = _Counts()
        self._ended_twice = 0

    def accept(self) -> int:
        """Open a new frame; its sequence number counts from 1."""
        self._accepted += 1
        self._open.add(self._accepted)
        return self._accepted

    def settle(self, sequence: int, outcome: Outcome) -> bool:
        """Close a frame. False if it is not open: the caller drops its answer.

        Late answers never come here; whoever closes a frame twice has lost count of it.
        """
        if sequence not in self._open:
            self._ended_twice += 1
            return False
        self._open.remove(sequence)
        setattr(self._counts, outcome, getattr(self._counts, outcome) + 1)
        return True

    @property
    def accepted(self) -> int:
        """Frames accepted so far."""
        return self._accepted

    @property
    def pending(self) -> int:
        """Frames accepted and not yet settled."""
        return len(self._open)

    @property
    def ended_twice(self) -> int:
        """Ends that were refused, because the frame had one or was never accepted: a defect."""
        return self._ended_twice

    def settled(self, outcome: Outcome) -> int:
        """Frames that ended with `outcome`."""
        return int(getattr(self._counts, outcome))
