"""Size and speed of a codec on given items, measured alike for ours and for every rival."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import ConfigError

__all__ = ["AnyArray", "Codec", "Weighed", "weigh"]

AnyArray = NDArray[np.generic]
_LEAST_S = 1e-9  # a clock may be too coarse for a small item


class Codec(Protocol):
    """What can be weighed: bytes of one item, and the item from its bytes."""

    def encode(self, item: AnyArray, /) -> bytes:
        """All that has to be sent."""
        ...

    def decode(self, payload: bytes, like: AnyArray, /) -> AnyArray:
        """The item again; both sides know the shape and type of `like`, never its values."""
        ...


@dataclass(frozen=True, slots=True)
class Weighed:
    """Mean bytes of an item, and millions of symbols (elements of any type) per CPU second."""

    bytes_per_item: float
    encode_mbps: float
    decode_mbps: float


@dataclass(frozen=True, slots=True)
class _Round:
    encode_s: float
    decode_s: float


def weigh(
    codec: Codec,
    items: Sequence[AnyArray],
    *,
    rounds: int = 5,
    budget_s: float = 2.0,
    clock: Callable[[], float] = time.thread_time,
) -> Weighed:
    """Encode and decode all items, round after round; the best round counts.

    The clock is the CPU time of this thread: other work on the machine does not count, and a
    codec must not have threads of its own. One symbol counts as one byte whatever its type, so
    that codecs of float32 and of 8-bit symbols compare. A round that would begin after `budget_s`
    is left out (some codecs manage 1 MB/s). ConfigError if there is nothing to weigh.
    """
    if not items or rounds < 1:
        raise ConfigError(f"{len(items)} items, {rounds} rounds: give one item and round or more")
    payloads: list[bytes] = []
    done: list[_Round] = []
    while not done or (len(done) < rounds and _spent_s(done) < budget_s):
        begin = clock()
        payloads = [codec.encode(item) for item in items]
        encoded = clock()
        for payload, item in zip(payloads, items, strict=True):
            codec.decode(payload, item)
        done.append(_Round(encoded - begin, clock() - encoded))
    million_symbols = sum(item.size for item in items) / 1e6
    return Weighed(
        bytes_per_item=fmean(map(len, payloads)),
        encode_mbps=million_symbols / max(_LEAST_S, min(r.encode_s for r in done)),
        decode_mbps=million_symbols / max(_LEAST_S, min(r.decode_s for r in done)),
    )


def _spent_s(done: Sequence[_Round]) -> float:
    return sum(r.encode_s + r.decode_s for r in done)
