"""A frame, or an item of a plain request: what is run of it, and what is owed for it here."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from isthmus import IsthmusError, SymbolCoder
from isthmus_cloud.answering.feeds import AnyArray, Scalars, Tensors
from isthmus_cloud.answering.packed import Packed
from isthmus_cloud.answering.parts import Tail

NEVER_NS = 1 << 62
PATIENCE_NS = 1_000_000_000  # a frame without a deadline counts as if it had this one

__all__ = ["NEVER_NS", "Given", "Job", "TooLateError", "Work"]


class TooLateError(IsthmusError):
    """The frame's deadline passed before it could be begun; its tail was not run."""


class Given(Protocol):
    """What a job is made of, until it was decoded or given up."""

    @property
    def payload_bytes(self) -> int:
        """What was sent of it."""

    @property
    def scalars(self) -> Sequence[Scalars]:
        """Step and zero point of each tensor of the cut."""

    @property
    def stream(self) -> str:
        """Which one's kept symbols it refers to or replaces; "" where it stands for itself."""

    @property
    def refers(self) -> bool:
        """Whether it cannot be decoded without them."""

    def decode(self, coder: SymbolCoder) -> Tensors:
        """The tensors of the cut, on a worker's thread."""

    def packed(self) -> Packed:
        """The same for another process to decode, on a worker's thread."""

    def give_up(self) -> None:
        """Nobody wants it any more: let go of what it holds."""


@dataclass(slots=True, eq=False, kw_only=True)
class Work:
    """One item as it is run. Times are of the monotonic clock in ns; worker threads fill in what is
    below `is_marked`."""

    turn: Given
    tail: Tail
    received_ns: int
    deadline_ns: int = NEVER_NS
    is_marked: bool = False
    begun_ns: int = 0
    decoded_ns: int = 0
    run_ms: float = 0.0
    batch: int = 0
    outputs: dict[str, AnyArray] = field(default_factory=dict)

    def lateness(self, now_ns: int) -> TooLateError | None:
        """What it ends in if it is begun after its deadline."""
        if now_ns <= self.deadline_ns:
            return None
        waited_ms = (now_ns - self.received_ns) / 1e6
        allowed_ms = max(0.0, (self.deadline_ns - self.received_ns) / 1e6)  # over as it came
        return TooLateError(
            f"the frame waited {waited_ms:.0f} ms for a worker, its deadline was "
            f"{allowed_ms:.0f} ms; it was not run"
        )


@dataclass(slots=True, eq=False, kw_only=True)
class Job(Work):
    """One item from its arrival until no thread works on it.

    `client` is whom turns are taken between: the frames of one session have the same.
    `traceparent` is the frame's. `place` is for whoever runs it elsewhere. `reply_of` makes, on a
    worker's thread, what `done` gets.
    """

    client: object
    taken_bytes: int = 0
    traceparent: str = ""
    place: str = ""
    reply_of: "Callable[[Job], object]"
    done: "asyncio.Future[Any]"
    reply: object = None

    @property
    def due_ns(self) -> int:
        """By when it should be begun; the most urgent goes first."""
        return min(self.deadline_ns, self.received_ns + PATIENCE_NS)
