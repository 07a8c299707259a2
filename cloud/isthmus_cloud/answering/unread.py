"""What frames ended in, as long as no device has read it; it takes memory as frames do."""

from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.budget import ByteBudget

__all__ = ["Unread"]


class Unread:
    """Of one session: messages by the number of their frame, oldest first.

    Their bytes count with those of all frames that are here: they come from frames that were run,
    so none is refused, but other frames are, while devices do not read.
    """

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._messages: dict[int, tuple[pb.CloudMessage, int]] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, sequence: int, message: pb.CloudMessage) -> None:
        """What this frame ended in."""
        self.drop(sequence)
        size_bytes = message.ByteSize()
        self._messages[sequence] = (message, size_bytes)
        self._budget.add(size_bytes)

    def take(self) -> pb.CloudMessage | None:
        """The oldest, for whoever tells it now."""
        return self._without(next(iter(self._messages))) if self._messages else None

    def drop(self, sequence: int) -> None:
        """Nobody wants to know of this frame."""
        if sequence in self._messages:
            self._without(sequence)

    def clear(self) -> None:
        """Nobody wants to know of any."""
        while self._messages:
            self.take()

    def _without(self, sequence: int) -> pb.CloudMessage:
        message, size_bytes = self._messages.pop(sequence)
        self._budget.give_back(size_bytes)
        return message
