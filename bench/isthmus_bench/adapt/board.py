"""The imitated board: each piece of work takes what the plan measured for it, times the factor.

A `SlowBoard` times the work that it slows down, so the board would waver with this machine, and
policies that run one after another would get different boards. Here every piece whose time the
plan knows (a head at a rung with its encoding, a segment of the rest, the whole network) takes just
that; the others take what a `SlowBoard` finds.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import TypeVar

from isthmus import Chain, Manifest
from isthmus_bench.slow_board import SlowBoard
from isthmus_edge.device.calloff import CallOff

Result = TypeVar("Result")

__all__ = ["PlannedBoard", "planned_ms"]


class PlannedBoard:
    """A `Pace` for agents, one after the other; `spent_s` adds up what their work took."""

    def __init__(self, manifest: Manifest) -> None:
        self._planned_ms = planned_ms(manifest)
        self._others = SlowBoard(manifest.edge_factor)
        self.spent_s = 0.0
        self.unplanned_s = 0.0

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        """The result of `work()` and the time it takes on the board, in ms."""
        takes_ms = self._planned_ms.get(kind)
        if takes_ms is None:
            result, takes_ms = self._others.run(kind, work, call_off)
            self.unplanned_s += takes_ms / 1e3
        else:
            begin = time.perf_counter()
            result = work()
            left_s = max(takes_ms / 1e3 - (time.perf_counter() - begin), 0.0)
            if call_off is None:
                time.sleep(left_s)
            else:
                call_off.pause(left_s)
                takes_ms = min(takes_ms, (time.perf_counter() - begin) * 1e3)
        self.spent_s += takes_ms / 1e3
        return result, takes_ms


def planned_ms(manifest: Manifest) -> Mapping[str, float]:
    """What the plan says of each piece of work, by the names that the agent's device gives them."""
    heads = {
        f"{candidate.id}@{number}": rung.figures.device_ms
        for candidate in manifest.candidates
        for number, rung in enumerate(candidate.rungs)
        if not candidate.is_local
    }
    segments = {
        f"segment {depth} of {chain.id}": took_ms
        for chain in manifest.chains
        for depth, took_ms in _segments_ms(manifest, chain)
    }
    return heads | segments | {"whole": manifest.local.figures.device_ms}


def _segments_ms(manifest: Manifest, chain: Chain) -> Iterator[tuple[int, float]]:
    """What each segment takes: what the rests behind the cuts before and after it differ by.

    Where the plan has no cut between two segments, they share the difference evenly.
    """
    rests = {cut.depth: cut.rest_ms for cut in manifest.cuts if cut.chain == chain.id}
    known = sorted((rests | {len(chain.segments): 0.0}).items())
    for (depth, rest_ms), (next_depth, next_ms) in pairwise(known):
        for between in range(depth, next_depth):
            yield between, max(rest_ms - next_ms, 0.0) / (next_depth - depth)
