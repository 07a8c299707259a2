"""A frame from its arrival until no thread works on it."""

import asyncio
from dataclasses import dataclass, field

from isthmus import IsthmusError, encode_answer
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.answering.memory import Turn
from isthmus_cloud.answering.parts import Tail

NEVER_NS = 1 << 62
PATIENCE_NS = 1_000_000_000  # a frame without a deadline counts as if it had this one

__all__ = ["NEVER_NS", "Job", "TooLateError"]


class TooLateError(IsthmusError):
    """The frame's deadline passed before it could be begun; its tail was not run."""


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """One frame. Times are of the monotonic clock in ns.

    `client` is whom turns are taken between: the frames of one session have the same. `cost_ms` is
    what its tail takes for one item, as far as that is known. Worker threads fill in what is below
    `done`, the loop reads it when `done` is set.
    """

    turn: Turn
    tail: Tail
    client: object
    sequence: int
    top_k: int
    received_ns: int
    deadline_ns: int = NEVER_NS
    is_marked: bool = False
    cost_ms: float = 0.0
    taken_bytes: int = 0
    done: "asyncio.Future[pb.Result]"
    begun_ns: int = 0
    decoded_ns: int = 0
    run_ms: float = 0.0
    batch: int = 0
    outputs: dict[str, AnyArray] = field(default_factory=dict)
    answers: list[pb.Tensor] = field(default_factory=list)

    @property
    def due_ns(self) -> int:
        """By when it should be begun; the most urgent goes first."""
        return min(self.deadline_ns, self.received_ns + PATIENCE_NS)

    def lateness(self, now_ns: int) -> TooLateError | None:
        """What it ends in if it is begun after its deadline."""
        if now_ns <= self.deadline_ns:
            return None
        waited_ms = (now_ns - self.received_ns) / 1e6
        allowed_ms = (self.deadline_ns - self.received_ns) / 1e6
        return TooLateError(
            f"the frame waited {waited_ms:.0f} ms for a worker, its deadline was "
            f"{allowed_ms:.0f} ms; it was not run"
        )

    def encode(self) -> None:
        """Make the answers of its outputs, in the order of the tail's."""
        self.answers = [
            encode_answer(spec, self.outputs[spec.name], self.top_k) for spec in self.tail.outputs
        ]
        self.outputs = {}
