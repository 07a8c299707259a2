"""What the device remembers of a video: the frame before, and whether the camera stands still.

Where the difference to the frame before has less entropy than the frame, it is worth sending in its
place. (That many symbols come again says little: at a coarse step they do so by chance.) Where as
many are the same as `STILL_FRAMES` frames ago as are the same as one frame ago, what changes is
noise: the camera stands still, and the quantiser becomes *sticky*. (A moving scene drifts away from
what it was; how fast symbols change says nothing, it depends on their step.) Both are switched by
what is measured on a sample of the symbols.

Every frame that the cloud shall keep has a *mark*, and a difference names the mark it refers to. So
a frame that was lost, or sent again in another form, is never taken for the reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["HOLD", "KEY_EVERY", "Held", "Relation", "Scene"]

UInt8Array = NDArray[np.uint8]
SymbolsByTensor = Mapping[int, UInt8Array]  # by the tensor's place in the cut
Key = tuple[str, int]  # candidate and rung

KEY_EVERY = 60  # frames from one key frame to the next
PAYS = 0.97  # of a frame's entropy: a difference is sent below it
HOLD = 0.75  # of a step: how far a value may move before a sticky symbol follows it
STILL_FRAMES = 8
STILL = 0.93  # measured: 0.99 to 1.01 with a fixed camera, at most 0.83 in the median with others
_GAIN = 0.25  # weight of the newest frame in the running shares
_STRIDE, _SAMPLE = 17, 512  # every 17th symbol tells, of small tensors more


@dataclass(frozen=True, slots=True)
class Held:
    """What a sticky quantiser compares with: the symbols of the frame before."""

    symbols: SymbolsByTensor
    hold: float = HOLD


@dataclass(frozen=True, slots=True)
class Relation:
    """How a frame is sent: 0 as a mark is none; `before` is what it is a difference to."""

    mark: int = 0
    reference: int = 0
    before: SymbolsByTensor | None = None


@dataclass(frozen=True, slots=True)
class _Memory:
    """`samples` are those of the last frames, `again` the share of symbols that stay from one frame
    to the next, `long_again` of those that are as they were `STILL_FRAMES` before."""

    key: Key
    symbols: SymbolsByTensor
    samples: tuple[UInt8Array, ...]
    mark: int = 0
    since_key: int = 0
    again: float | None = None
    long_again: float | None = None

    @property
    def is_still(self) -> bool:
        if self.again is None or self.long_again is None:
            return False
        return self.long_again >= STILL * self.again


class Scene:
    """One stream's memory of one frame."""

    def __init__(self) -> None:
        self._memory: _Memory | None = None
        self._marks = 0

    def forget(self) -> None:
        """Begin anew with a key frame."""
        self._memory = None

    def held(self, key: Key) -> Held | None:
        """What to stick to, while the scene stands still."""
        memory = self._memory
        if memory is None or memory.key != key or not memory.is_still:
            return None
        return Held(memory.symbols)

    def relate(self, key: Key, symbols: SymbolsByTensor) -> Relation:
        """How the frame with these symbols is sent; they are remembered."""
        memory, sample = self._memory, _sample(symbols)
        if memory is None or memory.key != key:
            self._memory = _Memory(key, symbols, (sample,))
            return Relation()
        again = _share_again(memory.samples[-1], sample)
        if _bits(sample - memory.samples[-1]) >= PAYS * _bits(sample):
            self._memory = _Memory(key, symbols, (sample,))
            return Relation()
        self._marks += 1
        is_key = memory.mark == 0 or memory.since_key >= KEY_EVERY
        long_again = memory.long_again
        if len(memory.samples) == STILL_FRAMES:
            long_again = _running(long_again, _share_again(memory.samples[0], sample))
        self._memory = _Memory(
            key,
            symbols,
            (*memory.samples, sample)[-STILL_FRAMES:],
            mark=self._marks,
            since_key=1 if is_key else memory.since_key + 1,
            again=_running(memory.again, again),
            long_again=long_again,
        )
        if is_key:
            return Relation(self._marks)
        return Relation(self._marks, memory.mark, memory.symbols)


def _sample(symbols: SymbolsByTensor) -> UInt8Array:
    return np.concatenate([_thinned(tensor.reshape(-1)) for tensor in symbols.values()])


def _thinned(flat: UInt8Array) -> UInt8Array:
    return flat[:: min(_STRIDE, flat.size // _SAMPLE | 1)]


def _share_again(before: UInt8Array, now: UInt8Array) -> float:
    return float(np.count_nonzero(before == now)) / now.size


def _bits(sample: UInt8Array) -> float:
    """Order-0 entropy of a sample, in bits (Shannon 1948)."""
    counts = np.bincount(sample)
    counts = counts[counts > 0]
    return float(counts @ np.log2(sample.size / counts))


def _running(mean: float | None, newest: float) -> float:
    return newest if mean is None else mean + _GAIN * (newest - mean)
