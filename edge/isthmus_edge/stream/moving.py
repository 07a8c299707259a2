"""From one service to another by the device's own choice, as if the first one had drained.

    begin -> nothing new is sent -> all is answered, or it has waited long enough
          -> goodbye, so that the service keeps nothing -> the stream ends -> the next one

Frames that are not answered by then are named to the next service, which holds none of them: they
are sent once more, or the device finishes them.
"""

from typing import Literal

MOVE_S = 2.0  # for what is under way to be answered
GOODBYE_S = 0.5  # for a service to end the stream of a device that has said all

Step = Literal["wait", "goodbye", "leave"]

__all__ = ["GOODBYE_S", "MOVE_S", "Moving", "Step"]


class Moving:
    """Of one device, no sooner than asked for; times of its monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._leaves_at: float | None = None
        self._has_said_all = False
        self._has_moved = False  # and is not welcome at the next one yet

    @property
    def is_under_way(self) -> bool:
        """Whether the present stream is the one that is to be left."""
        return self._leaves_at is not None

    def begin(self, now: float) -> None:
        """Leave the present stream."""
        self._leaves_at, self._has_said_all = now + MOVE_S, False

    def step(self, now: float, *, awaits: bool) -> Step:
        """What to do now; `awaits` while any frame may yet be answered."""
        assert self._leaves_at is not None
        if now >= self._leaves_at:
            return "leave"
        if awaits or self._has_said_all:
            return "wait"
        self._leaves_at, self._has_said_all = now + GOODBYE_S, True
        return "goodbye"

    def new_stream(self) -> None:
        """The one that was left is over, whatever has ended it."""
        self._has_moved = self._has_moved or self.is_under_way
        self._leaves_at = None

    def arrived(self) -> bool:
        """A service welcomes the device; whether it has left the last one by its own choice."""
        has_moved, self._has_moved = self._has_moved, False
        return has_moved
