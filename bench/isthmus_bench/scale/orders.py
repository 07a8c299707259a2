"""What the bench asks of the process with its simulated devices, and what that says."""

from math import inf
from typing import Literal

import msgspec

from isthmus_bench.serve.orders import Load, Offered

__all__ = ["ScaleLoad", "ScaleOrder"]


class ScaleOrder(Offered, frozen=True, kw_only=True):
    """Devices on the split stream, spread evenly over front ends at `addresses`.

    They send the frames of `case`, a file of recorded ones. `until_told`: the order is answered at
    once, and the load goes on until the order "end", which gets it. Each frame says that it is of
    no use after `deadline_ms` (0: says nothing).
    """

    do: Literal["load", "end"]
    addresses: tuple[str, ...] = ()
    case: str = ""
    until_told: bool = False
    deadline_ms: int = 0


class ScaleLoad(msgspec.Struct, frozen=True, kw_only=True):
    """How a load was borne.

    `load` as of other benches. `rate_per_s`: answers from the end of the first batch after the
    warm-up to that of the last one, 0 if there were fewer than two. `doubled` answers came for a
    frame that was answered before, `late` ones after its deadline, counted from when it was sent;
    between two ends of frames, or the last one and the load's, there were at most `gap_ms`.
    `latencies_ms` are those of the frames that were answered and `due` after the warm-up, in order
    of their ends.
    """

    load: Load
    rate_per_s: float
    doubled: int
    late: int
    gap_ms: float
    due: int
    latencies_ms: list[float]

    @property
    def rising_ms(self) -> list[float]:
        """The latencies of all that were due, infinite without an answer."""
        return sorted(self.latencies_ms) + [inf] * max(0, self.due - len(self.latencies_ms))
