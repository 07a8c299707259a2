"""Tensors through the real wire codec, timed and weighed."""

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

__all__ = ["NOTHING_SENT", "Stage", "WireFigures", "forecast", "through_the_wire"]

Stage = Callable[[AnyArray], AnyArray]  # a boundary tensor of one item -> its wire tensor
Tensors = tuple[AnyArray, ...]  # of one item, in graph shapes, in the order of the cut


@dataclass(frozen=True, slots=True)
class WireFigures:
    """Sizes (median, 95th percentile) and median times of one item, on one thread here."""

    payload_bytes: int
    payload_bytes_p95: int
    encode_ms: float
    decode_ms: float


NOTHING_SENT = WireFigures(0, 0, 0.0, 0.0)


def through_the_wire(
    items: Iterable[Tensors],
    tensors: Sequence[CutTensor],
    encodings: tuple[Encoding, ...],
    stages: Sequence[Stage | None],
) -> tuple[list[Tensors], WireFigures]:
    """Encode and decode each item as device and cloud do.

    Gives the wire tensors as they arrive. The stages' time is part of the encoding.
    """
    cut = Cut(id="", chain="", depth=1, macs_share=0, tensors=tuple(tensors), tail=None)
    rung = Rung(encodings=encodings, figures=UNMEASURED)
    candidate = Candidate(
        id="", cut="", precision="none", rungs=(rung,), chosen=0, kept=False, reason=""
    )
    encoder, coder = FrameEncoder(), SymbolCoder()
    arrived, taken = [], []
    for item in items:
        begun = time.thread_time()
        wire = [v if stage is None else stage(v) for v, stage in zip(item, stages, strict=True)]
        frame = encoder.encode(candidate, cut, 0, wire)
        encoded = time.thread_time()
        decoded, _ = decode_frame(frame, candidate, cut, coder, None)
        ended = time.thread_time()
        arrived.append(decoded)
        size = sum(len(payload.data) for payload in frame.payloads)
        taken.append((encoded - begun, ended - encoded, size))
    return arrived, _figures(taken)


def forecast(symbols: UInt8Array, encoding: Symbols) -> WireFigures:
    """What symbols [n,*shape] would take, without a stage or a message around them."""
    coder = SymbolCoder()
    # As FrameEncoder has it: between neighbours the symbol that comes most is no difference.
    blank = encoding.zero_point if encoding.predictor == "none" else 0
    taken = []
    for item in symbols:
        begun = time.thread_time()
        plain = predicted(item, encoding.predictor, encoding.levels)
        coded = coder.encode(plain, encoding.levels, blank=blank)
        encoded = time.thread_time()
        coder.decode(coded, item.size, encoding.levels, blank=blank)
        taken.append((encoded - begun, time.thread_time() - encoded, len(coded.data)))
    return _figures(taken)


def _figures(taken: list[tuple[float, float, int]]) -> WireFigures:
    encode_s, decode_s, sizes = zip(*taken, strict=True)
    return WireFigures(
        payload_bytes=round(float(np.median(sizes))),
        payload_bytes_p95=round(float(np.percentile(sizes, 95))),
        encode_ms=float(np.median(encode_s)) * 1e3,
        decode_ms=float(np.median(decode_s)) * 1e3,
    )
