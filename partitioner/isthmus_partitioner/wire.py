"""Tensors through the real wire codec, timed and weighed."""

import time
from dataclasses import dataclass

import numpy as np

from isthmus import (
    Encoding,
    Quantisation,
    SymbolCoder,
    TensorEncoder,
    TensorSpec,
    decode_tensor,
)
from isthmus_partitioner.config import UInt8Array

__all__ = ["NOTHING_SENT", "WireFigures", "through_the_wire"]


@dataclass(frozen=True, slots=True)
class WireFigures:
    """Sizes (median, 95th percentile) and median times of one item, on one thread here."""

    payload_bytes: int
    payload_bytes_p95: int
    encode_ms: float
    decode_ms: float


NOTHING_SENT = WireFigures(0, 0, 0.0, 0.0)


def through_the_wire(
    tensors: UInt8Array, spec: TensorSpec, encoding: Encoding, source: Quantisation | None
) -> tuple[UInt8Array, WireFigures]:
    """Encode and decode each of `tensors` [n,*shape] as device and cloud do."""
    coder = SymbolCoder()
    encoder = TensorEncoder(spec, encoding, source, coder)
    decoded = np.empty_like(tensors)
    encode_s, decode_s, sizes = [], [], []
    for index, tensor in enumerate(tensors):
        started = time.thread_time()
        message = encoder.encode(tensor[None])
        encoded = time.thread_time()
        decoded[index] = decode_tensor(message, spec, encoding, coder)[0]
        decode_s.append(time.thread_time() - encoded)
        encode_s.append(encoded - started)
        sizes.append(len(message.payload))
    figures = WireFigures(
        payload_bytes=round(float(np.median(sizes))),
        payload_bytes_p95=round(float(np.percentile(sizes, 95))),
        encode_ms=float(np.median(encode_s)) * 1e3,
        decode_ms=float(np.median(decode_s)) * 1e3,
    )
    return decoded, figures
