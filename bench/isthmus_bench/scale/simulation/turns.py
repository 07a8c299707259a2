"""The frames that wait at a simulated front end, and which of them go together.

As in the service (`answering.waiting`): devices take turns, each with its most urgent frame; who
was served longest ago is first, and of those the frame that came first.
"""

from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush

__all__ = ["SimFrame", "Turns"]


@dataclass(slots=True, eq=False)
class SimFrame:
    """One frame: its device, when it was due, when it had arrived, and its front end."""

    device: int
    due_s: float
    counts: bool
    arrived_s: float = 0.0


class Turns:
    """All of one front end."""

    def __init__(self) -> None:
        self._by_device: dict[int, deque[SimFrame]] = {}
        self._heads: list[tuple[int, float, int]] = []  # served last, arrived, device
        self._served: dict[int, int] = {}
        self._batches = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, frame: SimFrame) -> None:
        """One more waits."""
        waiting = self._by_device.setdefault(frame.device, deque())
        waiting.append(frame)
        self._count += 1
        if len(waiting) == 1:
            self._show(frame)

    def take(self, most: int) -> list[SimFrame]:
        """Up to `most` that go together now."""
        self._batches += 1
        taken: list[SimFrame] = []
        while self._heads and len(taken) < most:
            _, _, device = heappop(self._heads)
            waiting = self._by_device[device]
            taken.append(waiting.popleft())
            self._served[device] = self._batches
            if waiting:
                self._show(waiting[0])  # behind all whose turn has not been yet
            else:
                del self._by_device[device]
        self._count -= len(taken)
        return taken

    def _show(self, frame: SimFrame) -> None:
        served = self._served.get(frame.device, 0)
        heappush(self._heads, (served, frame.arrived_s, frame.device))
