"""How long the built chains and tails take, each timed as a whole."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from isthmus import Chain, ModelError
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.build import INPUT_TAIL, BuiltCut
from isthmus_partitioner.parts.values import item_activations
from isthmus_partitioner.runtime import (
    RUNTIME_ERRORS,
    AnyArray,
    Session,
    all_cores,
    interleaved_ms,
    open_session,
    run_one,
)
from isthmus_partitioner.wire.feeds import tail_feed

__all__ = ["PAUSE_S", "ChainTimer", "open_tails", "time_runs", "time_tails"]

_CHAIN_ROUNDS = 24
_TAIL_ROUNDS = 11
PAUSE_S = 0.02  # between frames: what is timed comes one by one


@dataclass(slots=True)
class _Timed:
    chain: Chain
    sessions: list[Session]
    rounds: list[list[float]]


class ChainTimer:
    """Times chains for one item, all of them taking turns with pauses: one thread's CPU time.

    `feed` holds the model's inputs in their graph shapes.
    """

    def __init__(self, feed: Mapping[str, AnyArray]) -> None:
        self._feed = feed
        self._timed: dict[str, _Timed] = {}

    def add(self, chain: Chain, folder: Path) -> None:
        """Time this chain of files below `folder`, too."""
        files = [folder / segment.file for segment in chain.segments]
        self._timed[chain.id] = _Timed(chain, [open_session(f, threads=1) for f in files], [])

    def prefixes_ms(self, rounds: int = _CHAIN_ROUNDS) -> dict[str, tuple[float, ...]]:
        """By chain: the median time of its first i segments, for i from 0 to all."""
        for _ in range(rounds + 1):
            for timed in self._timed.values():
                time.sleep(PAUSE_S)
                timed.rounds.append(self._one_round(timed))
        return {
            name: (0.0, *map(float, np.median(timed.rounds[1:], axis=0)))  # the first warms up
            for name, timed in self._timed.items()
        }

    def _one_round(self, timed: _Timed) -> list[float]:
        """When each segment ended, in ms."""
        held = dict(self._feed)
        ends = []
        start = time.thread_time()
        for session, segment in zip(timed.sessions, timed.chain.segments, strict=True):
            names = [spec.name for spec in segment.outputs]
            made = run_one(session, {spec.name: held[spec.name] for spec in segment.inputs}, names)
            held |= dict(zip(names, made, strict=True))
            ends.append((time.thread_time() - start) * 1e3)
        return ends


def open_tails(cuts: Iterable[BuiltCut], folder: Path) -> dict[str, Session]:
    """A session with all cores for each tail, by file."""
    files = [INPUT_TAIL, *(cut.tail for cut in cuts)]
    return {file: open_session(folder / file, threads=all_cores()) for file in files}


def time_tails(
    network: Network,
    cuts: Sequence[BuiltCut],
    tails: Mapping[str, Session],
    feed: Mapping[str, AnyArray],
) -> dict[str, float]:
    """The median wall time of each tail for a single item, by file; `feed` as for `ChainTimer`.

    In the place of symbols are zeros. What crosses as it is has its values: a tail may decide on
    them. ModelError if the runtime fails.
    """
    feeds: dict[str, Mapping[str, AnyArray]] = {
        INPUT_TAIL: {spec.name: feed[spec.name] for spec in network.inputs}
    }
    exact = {
        b.tensor.name: b.tensor for cut in cuts for b in cut.at.boundaries if not b.is_quantised
    }
    known = item_activations(network, tuple(exact.values()), feed)
    for cut in cuts:
        feeds[cut.tail] = tail_feed(cut.at.boundaries, list(_sent(cut, known)), cut.ladder[0])
    try:
        return time_runs({f: partial(tails[f].run, None, fed) for f, fed in feeds.items()})
    except RUNTIME_ERRORS as error:
        raise ModelError(f"ONNX Runtime cannot run a tail: {error}") from error


def time_runs(runs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The median wall time of each run in ms, as the cloud has it for a frame that comes alone."""
    return interleaved_ms(runs, _TAIL_ROUNDS, time.perf_counter, PAUSE_S)


def _sent(cut: BuiltCut, known: Mapping[str, AnyArray]) -> Iterator[AnyArray]:
    """Zeros where symbols cross, else the tensor itself."""
    for boundary, tensor in zip(cut.at.boundaries, cut.tensors, strict=True):
        if boundary.is_quantised:
            yield np.zeros(tensor.wire.graph_shape, tensor.wire.data_type)
        else:
            yield known[boundary.tensor.name]
