"""Tensors through the real wire codec, timed and weighed."""

import time
from collections.abc import Callable
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

__all__ = ["NOTHING_SENT", "WireFigures", "forecast", "through_the_wire"]

Stage = Callable[[AnyArray], AnyArray]  # one item [1,*boundary shape] -> [1,*wire shape]


@dataclass(frozen=True, slots=True)
class WireFigures:
    """Sizes (median, 95th percentile) and median times of one item, on one thread here."""

    payload_bytes: int
    payload_bytes_p95: int
    encode_ms: float
    decode_ms: float


NOTHING_SENT = WireFigures(0, 0, 0.0, 0.0)


def through_the_wire(
    tensors: AnyArray, tensor: CutTensor, encoding: Encoding, stage: Stage | None = None
) -> tuple[AnyArray, WireFigures]:
    """Encode and decode each of `tensors` [n,*boundary shape] as device and cloud do.

    Gives the wire tensors [n,*wire shape] as they arrive. The stage's time is part of the encoding.
    """
    cut = Cut(id="", depth=1, macs_share=0, tensors=(tensor,), tail=None)
    rung = Rung(encodings=(encoding,), figures=UNMEASURED)
    candidate = Candidate(
        id="", cut="", precision="none", rungs=(rung,), chosen=0, kept=False, reason=""
    )
    encoder, coder = FrameEncoder(), SymbolCoder()
    decoded: AnyArray = np.empty((len(tensors), *tensor.wire.shape), tensor.wire.data_type)
    taken = []
    for index in range(len(tensors)):
        begun = time.thread_time()
        item = tensors[index : index + 1]
        frame = encoder.encode(candidate, cut, 0, (item if stage is None else stage(item),))
        encoded = time.thread_time()
        (decoded[index : index + 1],), _ = decode_frame(frame, candidate, cut, coder, None)
        ended = time.thread_time()
        taken.append((encoded - begun, ended - encoded, len(frame.payloads[0].data)))
    return decoded, _figures(taken)


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
