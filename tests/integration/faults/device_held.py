"""What a device holds of the frames that it accepted, counted where it is held.

These counts, and not the memory of the process, say whether a device is back at its level: most
faults have it in the process of the tests, whose memory rises and falls with everything else.
"""

import gc
from collections import Counter
from dataclasses import astuple, dataclass
from typing import Self

from isthmus_edge import Agent
from isthmus_edge.stream.flight import Flight
from isthmus_edge.stream.frame import Frame
from isthmus_edge.stream.underway import Underway

__all__ = ["DeviceHeld"]


@dataclass(frozen=True, slots=True)
class DeviceHeld:
    """All are counts of frames, but for the bytes. It looks into the agent: nobody else needs them.

    `open_entries` are those of the ledger, `futures` those that callers wait for, `under_way` and
    `held_bytes` what the pipeline has sent and keeps the tensors of, `tasks` those that see them
    through, `rests` what the device is to finish, `flights` those that news are awaited for,
    `unanswered` those that the session would resume. `objects` is what Python itself still has of
    them; the pipeline's loop has the last frame in a variable until the next one comes.
    """

    open_entries: int
    waiting: int
    futures: int
    under_way: int
    held_bytes: int
    tasks: int
    rests: int
    flights: int
    unanswered: int
    objects: int

    @classmethod
    def by(cls, agent: Agent) -> Self:
        """What this one holds now. Counts are read one by one: they fit together at rest only."""
        pipeline, uplink = agent._pipeline, agent._pipeline.uplink
        return cls(
            open_entries=agent._ledger.pending,
            waiting=len(pipeline._waiting._frames),
            futures=len(agent._open_futures),
            under_way=pipeline._under_way,
            held_bytes=pipeline._held_bytes,
            tasks=len(pipeline._travelling),
            rests=pipeline._device.rests_waiting,
            flights=0 if uplink is None else len(uplink._flights),
            unanswered=0 if uplink is None else len(uplink._session.unanswered),
            objects=_objects(),
        )

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is held of any frame."""
        return not any(astuple(self))


def _objects() -> int:
    count = _alive()
    if count:
        gc.collect()  # slow, and seldom needed
        count = _alive()
    return count


def _alive() -> int:
    alive = Counter(map(type, gc.get_objects()))
    return alive[Underway] + alive[Flight] + max(alive[Frame] - 1, 0)
