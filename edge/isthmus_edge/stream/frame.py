"""A frame that was accepted, and what of it the device holds while it is under way."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus import Candidate, Cut
from isthmus_edge.answer import Answer
from isthmus_edge.runtimes import AnyArray

__all__ = ["Frame"]


@dataclass(slots=True, eq=False)
class Frame:
    """`tensors` are the model's inputs, then what the chain of `cut` holds behind its depth.

    `cut` is None until a head has run. A `pinned` candidate's `chosen` is the rung to send.
    `ahead_bytes` are what the link still had to carry when it was sent, at `sent_at` (monotonic).
    `begun_at` (monotonic) is when the device turned to it, `computed_at` when its head and its
    encoding were done; `head_ms` and `encode_ms` are None until that is so.
    """

    sequence: int
    tensors: Mapping[str, AnyArray]
    future: asyncio.Future[Answer]
    deadline_ms: float | None
    pinned: Candidate | None = None
    accepted_at: float = field(default_factory=time.monotonic)
    begun_at: float = 0.0
    computed_at: float = 0.0
    head_ms: float | None = None
    encode_ms: float | None = None
    cut: Cut | None = None
    payload_bytes: int = 0
    sent_at: float = 0.0
    ahead_bytes: float = 0.0

    @property
    def held_bytes(self) -> int:
        """Memory of the tensors that are kept until the frame ends."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def age_ms(self) -> float:
        """Time since acceptance."""
        return (time.monotonic() - self.accepted_at) * 1e3

    @property
    def left_ms(self) -> float | None:
        """Time until the deadline, below 0 behind it; None without one."""
        return None if self.deadline_ms is None else self.deadline_ms - self.age_ms
