"""How long the built segments and tails take, each timed as a whole."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from isthmus import Segment
from isthmus_partitioner.config import UInt8Array
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.build import INPUT_TAIL, Parts
from isthmus_partitioner.runtime import (
    AnyArray,
    Session,
    all_cores,
    interleaved_ms,
    open_session,
)
from isthmus_partitioner.wire.fitting import tail_feed

__all__ = ["Times", "open_tails", "time_parts"]

_CHAIN_ROUNDS = 24
_TAIL_ROUNDS = 11


@dataclass(frozen=True, slots=True)
class Times:
    """Medians in ms on this machine, one item.

    `prefix_ms[i]` is thread CPU time of the first i segments on one thread; `tail_ms` wall time
    of each tail with all cores, by file.
    """

    prefix_ms: tuple[float, ...]
    tail_ms: Mapping[str, float]


def open_tails(parts: Parts) -> dict[str, Session]:
    """A session with all cores for each tail, by file."""
    files = [INPUT_TAIL, *(cut.tail for cut in parts.cuts)]
    return {file: open_session(parts.folder / file, threads=all_cores()) for file in files}


def time_parts(
    network: Network, parts: Parts, tails: Mapping[str, Session], picture: UInt8Array
) -> Times:
    """Time the chain and the tails; `picture` is uint8 [1,H,W,3]."""
    sessions = [open_session(parts.folder / segment.file, threads=1) for segment in parts.segments]
    rounds = [_one_round(sessions, parts.segments, picture) for _ in range(_CHAIN_ROUNDS + 1)]
    prefixes = np.median(rounds[1:], axis=0)  # the first round warms up
    feeds: dict[str, dict[str, AnyArray]] = {INPUT_TAIL: {network.input.name: picture}}
    for cut in parts.cuts:
        blank = np.zeros((1, *cut.tensor.wire.shape), np.uint8)
        feeds[cut.tail] = tail_feed(blank, cut.ladder[0])
    runs = {file: partial(tails[file].run, None, feed) for file, feed in feeds.items()}
    tail_ms = interleaved_ms(runs, _TAIL_ROUNDS, time.perf_counter)
    return Times((0.0, *(float(ms) for ms in prefixes)), tail_ms)


def _one_round(
    sessions: Sequence[Session], segments: Sequence[Segment], picture: UInt8Array
) -> list[float]:
    """When each segment ended, in ms of this thread's CPU time."""
    tensor: AnyArray = picture
    ends = []
    start = time.thread_time()
    for session, segment in zip(sessions, segments, strict=True):
        tensor = session.run(None, {segment.inputs[0].name: tensor})[0]
        ends.append((time.thread_time() - start) * 1e3)
    return ends
