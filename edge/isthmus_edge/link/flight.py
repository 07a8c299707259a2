"""The messages that were sent and not yet learned from, in the order of sending.

Acknowledgements come in any order, because a frame is acknowledged by its answer and a heartbeat at
once; the link itself is first in, first out. So what arrives is put back into its order here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from isthmus_edge.link.road import Beat

__all__ = ["Flight", "Message"]

_OVERTAKEN = 64  # messages behind one that arrived and was not answered: no answer will come …
_OVERTAKEN_S = 2.0  # … nor when it arrived so long ago
_MOST = 512  # more than any window; the oldest are given up


@dataclass(slots=True)
class Message:
    """Sent by the device's clock, received by the service's."""

    number: int
    size_bytes: int
    sent_at: float
    received_s: float | None = None
    beat: Beat | None = None
    is_lost: bool = False
    overtaken_at: float | None = None


class Flight:
    """At most `_MOST` messages are kept."""

    def __init__(self) -> None:
        self._messages: dict[int, Message] = {}
        self._sent = 0

    @property
    def last_number(self) -> int:
        """The number of the newest message."""
        return self._sent

    def send(self, size_bytes: int, now: float) -> int:
        """The number by which the new message is known."""
        self._sent += 1
        self._messages[self._sent] = Message(self._sent, size_bytes, now)
        if len(self._messages) > _MOST:
            del self._messages[next(iter(self._messages))]
        return self._sent

    def get(self, number: int) -> Message | None:
        """None if nobody sent it, or it is done with."""
        return self._messages.get(number)

    def forget(self, number: int) -> None:
        """It was not sent after all."""
        self._messages.pop(number, None)

    def take_settled(self, now: float) -> Iterator[Message]:
        """Those whose fate is known, and that of all before them; lost ones among them."""
        while self._messages:
            message = next(iter(self._messages.values()))
            if message.received_s is None and not message.is_lost:
                if not self._is_given_up(message, now):
                    return
                message.is_lost = True
            del self._messages[message.number]
            yield message

    def travelling(self) -> list[Message]:
        """Messages that may not have arrived: nothing sent after them is known to have."""
        found: list[Message] = []
        for message in reversed(self._messages.values()):
            if message.received_s is not None:
                break
            if not message.is_lost:
                found.append(message)
        found.reverse()
        return found

    def waiting_bytes(self) -> int:
        """Sent and not acknowledged."""
        waiting = (m for m in self._messages.values() if m.received_s is None and not m.is_lost)
        return sum(m.size_bytes for m in waiting)

    def _is_given_up(self, message: Message, now: float) -> bool:
        """The oldest one, when others behind it are known to have arrived for long."""
        if not self._has_arrived(message):
            return False
        if message.overtaken_at is None:
            message.overtaken_at = now
        waited_s = now - message.overtaken_at
        return waited_s > _OVERTAKEN_S or len(self._messages) > _OVERTAKEN

    def _has_arrived(self, oldest: Message) -> bool:
        travelling = self.travelling()
        return not travelling or travelling[0] is not oldest
