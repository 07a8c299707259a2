"""The seam between batches and Ray: a call out, its reply back, or the news that it is lost."""

from typing import Any, Protocol

from isthmus import LinkError

__all__ = ["CallLostError", "Line"]


class CallLostError(LinkError):
    """Nobody will answer a call: its replica is gone, cannot be reached, or is late."""


class Line(Protocol):
    """To the replicas of one deployment; for several threads at once."""

    def send(self, replica: str, call: bytes) -> Any:
        """A call on its way to this replica, or to any where the name is "" or unknown; what
        `reply` takes; CallLostError if there is no way out. Does not block."""

    def reply(self, call: Any, within_s: float) -> bytes:
        """What was answered; CallLostError if nobody will, ModelError if it failed there. Blocks
        for up to `within_s`, then it is CallLostError, too."""
