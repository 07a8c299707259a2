"""Tensors through the real wire codec, timed and weighed.

Times are those in use, not those of a loop: on a device, a frame's encoder runs once, behind a head
that has filled the caches, or after a pause. That doubles what a small frame takes.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus import (
    UNMEASURED,
    Candidate,
    Cut,
    CutTensor,
    Encoding,
    FrameEncoder,
    Rung,
    SymbolCoder,
    Symbols,
    decode_frame,
)
from isthmus.prediction import predicted
from isthmus_partitioner.config import UInt8Array
from isthmus_partitioner.runtime import AnyArray

_TIMED = 9  # items: their sizes differ, their times hardly do
_PAUSE_S = 0.005
_OTHER_DATA = np.ones(2_000_000)  # 16 MB: more than a core's own caches

__all__ = [
    "NOTHING_SENT",
    "ToWire",
    "WireFigures",
    "after_a_head",
    "after_a_pause",
    "forecast",
    "through_the_wire",
]

ToWire = Callable[[AnyArray], AnyArray]  # a boundary tensor of one item -> its wire tensor
Tensors = tuple[AnyArray, ...]  # of one item, in graph shapes, in the order of the cut


@dataclass(frozen=True, slots=True)
class WireFigures:
    """Sizes (median, 95th percentile) and median times of one item, on one thread here."""

    payload_bytes: int
    payload_bytes_p95: int
    encode_ms: float
    decode_ms: float


NOTHING_SENT = WireFigures(0, 0, 0.0, 0.0)


def after_a_head() -> None:
    """Leave the caches full of something else."""
    _OTHER_DATA.sum()


def after_a_pause() -> None:
    """Let the core go idle."""
    time.sleep(_PAUSE_S)


def through_the_wire(
    items: Iterable[Tensors],
    tensors: Sequence[CutTensor],
    encodings: tuple[Encoding, ...],
    stages: Sequence[ToWire | None],
    before: Callable[[], None] = after_a_head,
) -> tuple[list[Tensors], WireFigures]:
    """Encode and decode each item as device and cloud do.

    Gives the wire tensors as they arrive. The stages' time is part of the encoding. `before`
    stands for what a core does until the frame comes.
    """
    cut = Cut(id="", chain="", depth=1, macs_share=0, tensors=tuple(tensors))
    rung = Rung(encodings=encodings, figures=UNMEASURED)
    candidate = Candidate(
        id="", cut="", precision="none", rungs=(rung,), chosen=0, kept=False, reason=""
    )
    encoder, coder = FrameEncoder(), SymbolCoder()
    arrived: list[Tensors] = []
    encode_s, decode_s, sizes = [], [], []
    for number, item in enumerate(items):
        is_timed = number < _TIMED
        if is_timed:
            before()
        begun = time.thread_time()
        wire = [v if stage is None else stage(v) for v, stage in zip(item, stages, strict=True)]
        frame = encoder.encode(candidate, cut, 0, wire)
        encoded = time.thread_time()
        if is_timed:
            encode_s.append(encoded - begun)
            after_a_head()
        begun = time.thread_time()
        decoded, _ = decode_frame(frame, candidate, cut, coder, None)
        if is_timed:
            decode_s.append(time.thread_time() - begun)
        arrived.append(decoded)
        sizes.append(sum(len(payload.data) for payload in frame.payloads))
    return arrived, _figures(encode_s, decode_s, sizes)


def forecast(symbols: UInt8Array, encoding: Symbols) -> WireFigures:
    """What symbols [n,*shape] would take, without a stage or a message around them."""
    coder = SymbolCoder()
    # As FrameEncoder has it: between neighbours the symbol that comes most is no difference.
    blank = encoding.zero_point if encoding.predictor == "none" else 0
    encode_s, decode_s, sizes = [], [], []
    for item in symbols:
        begun = time.thread_time()
        plain = predicted(item, encoding.predictor, encoding.levels)
        coded = coder.encode(plain, encoding.levels, blank=blank)
        encoded = time.thread_time()
        coder.decode(coded, item.size, encoding.levels, blank=blank)
        decode_s.append(time.thread_time() - encoded)
        encode_s.append(encoded - begun)
        sizes.append(len(coded.data))
    return _figures(encode_s, decode_s, sizes)


def _figures(
    encode_s: Sequence[float], decode_s: Sequence[float], sizes: Sequence[int]
) -> WireFigures:
    return WireFigures(
        payload_bytes=round(float(np.median(sizes))),
        payload_bytes_p95=round(float(np.percentile(sizes, 95))),
        encode_ms=float(np.median(encode_s)) * 1e3,
        decode_ms=float(np.median(decode_s)) * 1e3,
    )
