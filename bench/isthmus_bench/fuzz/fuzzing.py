"""The decoder against mutated frames: nothing but the declared errors, no hang, no memory.

What becomes of frame `index` depends on the seed and the index alone.
"""

import re
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
from google.protobuf.message import DecodeError

from isthmus import (
    Candidate,
    Cut,
    Kept,
    KeyFrameNeededError,
    SymbolCoder,
    Symbols,
    WireError,
    decode_frame,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.fuzz.cases import AnyArray, same
from isthmus_bench.fuzz.honest import honest_frames
from isthmus_bench.fuzz.mutations import mutated
from isthmus_bench.fuzz.plan import wire_plan

MEMORY_MARGIN_BYTES = 8 * 1024 * 1024
SLOWEST_S = 1.0  # of processor time: an honest frame takes less than 0.01

Decoder = Callable[
    [pb.Frame, Candidate, Cut, SymbolCoder, Kept | None],
    tuple[tuple[AnyArray, ...], Kept | None],
]
# An allocation that failed inside a library comes out as one of its own errors.
_MEMORY = re.compile(r"allocat|out of memory|not enough memory|insufficient memory", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failure:
    """What should not have happened to a frame."""

    index: int
    what: str


@dataclass(slots=True)
class Batch:
    """What became of some frames."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = -1

    def add(self, other: "Batch") -> None:
        """Take in what became of others."""
        self.outcomes += other.outcomes
        self.failures += other.failures
        if other.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest = other.slowest_s, other.slowest


class WrongResultError(Exception):
    """A frame was decoded into something that the plan does not say."""


class Fuzz:
    """The plan, its honest frames, and what they become."""

    def __init__(self, seed: int, decoder: Decoder = decode_frame) -> None:
        self.seed, self._decoder = seed, decoder
        plan = wire_plan()
        self._routes = {each.id: (each, plan.cut_of(each)) for each in plan.candidates}
        self._honest = honest_frames(plan, seed)
        self._messages = [each.message for each in self._honest]
        self._coder = SymbolCoder()

    def frame(self, index: int) -> tuple[bytes, Kept | None]:
        """The message, and what its stream holds: mostly what the honest frame refers to."""
        random = Random(self.seed << 40 | index)  # noqa: S311 (to be repeated, not to be secret)
        base = random.choice(self._honest)
        kept = base.kept if random.random() < 0.8 else random.choice(self._honest).kept
        return mutated(random, base.message, self._messages), kept

    def decode_the_honest(self) -> None:
        """Take all the memory that honest frames need; WrongResultError if one is not decoded."""
        for honest in self._honest:
            frame = pb.Frame.FromString(honest.message)
            tensors, _ = self._decoder(
                frame, *self._routes[frame.candidate], self._coder, honest.kept
            )
            if not all(map(same, tensors, honest.tensors)):
                raise WrongResultError(f"an honest frame of {frame.candidate!r} is decoded wrongly")

    def outcome(self, index: int) -> str:
        """What becomes of frame `index`; anything that is raised is a failure."""
        message, kept = self.frame(index)
        try:
            frame = pb.Frame.FromString(message)
        except DecodeError:
            return "unparsable"
        if frame.candidate not in self._routes:
            return "unknown candidate"
        candidate, cut = self._routes[frame.candidate]
        try:
            tensors, after = self._decoder(frame, candidate, cut, self._coder, kept)
        except KeyFrameNeededError:
            return "key frame needed"
        except WireError as error:
            if _MEMORY.search(str(error)):
                raise MemoryError(str(error)) from error
            return "refused"
        _check_tensors(tensors, candidate, cut, frame.rung)
        _check_kept(after, kept, frame, tensors)
        return "decoded"

    def batch(self, indices: Iterable[int], begin: Callable[[int], None]) -> Batch:
        """Try frames, and honest ones behind them; `begin` hears of each before it is tried."""
        result, index = Batch(), -1
        for index in indices:
            begin(index)
            begun, what = time.thread_time(), ""
            try:
                outcome = self.outcome(index)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is looked for
                outcome, what = "failed", f"{type(error).__name__}: {error}"
            taken_s = time.thread_time() - begun
            if not what and taken_s > SLOWEST_S:
                outcome, what = "failed", f"took {taken_s:.2f} s of processor time"
            result.outcomes[outcome] += 1
            if what:
                result.failures.append(Failure(index, what))
            if taken_s > result.slowest_s:
                result.slowest_s, result.slowest = taken_s, index
        if not result.failures:
            try:
                self.decode_the_honest()
            except Exception as error:  # noqa: BLE001 - as above
                what = f"left a decoder that cannot decode, or one before it did: {error}"
                result.failures.append(Failure(index, what))
        return result


def _check_tensors(
    tensors: tuple[AnyArray, ...], candidate: Candidate, cut: Cut, rung: int
) -> None:
    encodings = candidate.rungs[rung].encodings
    if len(tensors) != len(encodings):
        raise WrongResultError(f"{len(tensors)} tensors, the plan has {len(encodings)}")
    for tensor, planned, encoding in zip(tensors, cut.tensors, encodings, strict=True):
        spec = planned.wire
        if tensor.shape != spec.graph_shape or tensor.dtype != np.dtype(spec.data_type):
            raise WrongResultError(f"{spec.name!r} is {tensor.dtype} {tensor.shape}")
        if isinstance(encoding, Symbols) and tensor.view(np.uint8).max() >= encoding.levels:
            raise WrongResultError(f"{spec.name!r} has symbols beyond {encoding.levels} levels")
        if spec.data_type == "bool" and tensor.view(np.uint8).max() > 1:
            raise WrongResultError(f"{spec.name!r} has a bool that is neither 0 nor 1")


def _check_kept(
    after: Kept | None, before: Kept | None, frame: pb.Frame, tensors: tuple[AnyArray, ...]
) -> None:
    if not frame.mark:
        if after is not before:
            raise WrongResultError("a frame without a mark is kept")
        return
    if after is None or (after.mark, after.candidate, after.rung) != (
        frame.mark,
        frame.candidate,
        frame.rung,
    ):
        raise WrongResultError(f"mark {frame.mark} is not kept as the frame's")
    if not all(same(symbols, tensors[i]) for i, symbols in after.symbols.items()):
        raise WrongResultError("what is kept is not what was decoded")


def limit_memory(margin_bytes: int) -> int:
    """Bound the address space of this process to what it has now and a margin; gives the bound."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + margin_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return limit
