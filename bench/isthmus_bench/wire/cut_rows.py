"""One cut under every codec: sizes, limits, speeds and the damage done, on the same tensors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus import Quantisation, Symbols
from isthmus_bench.wire.equal_error import Point
from isthmus_bench.wire.limits import order0_bytes, static_channel_order0_bytes
from isthmus_bench.wire.ours import OurTensor, SymbolsCodec, fitted
from isthmus_bench.wire.rivals import Rival
from isthmus_bench.wire.scores import Score
from isthmus_bench.wire.subjects import Subject
from isthmus_bench.wire.weighing import AnyArray, Codec, weigh

__all__ = ["CodecFigures", "CutRow", "RungFigures", "measure_cut"]

FloatArray = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]

SIZED_ITEMS = 12  # items that codecs are weighed on; slow ones take their time


@dataclass(frozen=True, slots=True)
class CodecFigures:
    """A codec on all tensors of a cut: mean bytes of an item, millions of symbols a CPU second."""

    name: str
    bytes: float
    encode_mbps: float
    decode_mbps: float


@dataclass(frozen=True, slots=True)
class RungFigures:
    """One rung of our ladder: mean and 95th percentile of an item's bytes, and the harm done."""

    step: float
    levels: int
    bytes: float
    bytes_p95: float
    error: float
    agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CutRow:
    """All figures of one cut. Bytes are means of an item over all tensors of the cut.

    `ours` and the limits hold for the symbols of the rung `chosen`, the coarsest that meets the
    floor as do all finer ones (the finest if none does); so do `same_symbols`, lossless rivals on
    those symbols. `int8` are the rivals on what they are used for today: 8-bit symbols of the whole
    range, or the float32 values. All codecs and limits are of the first `SIZED_ITEMS` inputs,
    rungs and scores of all. `codec_share` is our encoding and decoding over the fp32 head.
    """

    model: str
    cut: str
    mac_share: float
    elements: int
    tensors: int
    rungs: tuple[RungFigures, ...]
    chosen: int
    meets_floor: bool
    ours: CodecFigures
    order0_bytes: float
    channel_order0_bytes: float
    same_symbols: tuple[CodecFigures, ...]
    int8: tuple[CodecFigures, ...]
    int8_score: Score
    head_ms: float

    @property
    def curve(self) -> list[Point]:
        """Error and bytes of each rung."""
        return [(rung.error, rung.bytes) for rung in self.rungs]

    @property
    def codec_ms(self) -> float:
        """Encoding and decoding of one item."""
        return self.elements / 1e3 * (1 / self.ours.encode_mbps + 1 / self.ours.decode_mbps)

    @property
    def stored_pays_above_mbps(self) -> float:
        """The link rate in Mbit/s from which packed symbols arrive sooner as they are."""
        packed = self.elements / (2 if self.rungs[self.chosen].levels == 16 else 1)
        return max(packed - self.ours.bytes, 0) * 8 / 1e3 / self.codec_ms

    @property
    def codec_share(self) -> float:
        """Codec time over head time."""
        return self.codec_ms / self.head_ms


def measure_cut(subject: Subject, cut: str, rivals: Sequence[Rival], floor: float) -> CutRow:
    """Run every codec on the tensors of one cut."""
    calibration = subject.activations(cut, fitted=True).tensors
    found = subject.activations(cut)
    ours = [fitted(values) for values in calibration]
    rungs = tuple(_rungs(subject, cut, ours, found.tensors))
    allowed = _allowed(rungs, floor)
    chosen = max(allowed - 1, 0)
    weighed = [values[:SIZED_ITEMS] for values in found.tensors]
    symbols = [t.symbols(v, chosen) for t, v in zip(ours, weighed, strict=True)]
    learnt = [t.symbols(v, chosen) for t, v in zip(ours, calibration, strict=True)]
    ranges = [_whole_range(values) for values in calibration]
    whole = [_int8(v, known) for v, known in zip(found.tensors, ranges, strict=True)]
    lossless = [rival for rival in rivals if rival.takes == "symbols"]
    return CutRow(
        model=subject.name,
        cut=cut,
        mac_share=found.mac_share,
        elements=sum(values[0].size for values in found.tensors),
        tensors=len(found.tensors),
        rungs=rungs,
        chosen=chosen,
        meets_floor=allowed > 0,
        ours=_weighed("ours", [SymbolsCodec(t.ladder[chosen]) for t in ours], symbols),
        order0_bytes=sum(_order0_bytes(items) for items in symbols),
        channel_order0_bytes=sum(
            static_channel_order0_bytes(items, known)
            for items, known in zip(symbols, learnt, strict=True)
        ),
        same_symbols=tuple(_weighed(r.name, [r] * len(symbols), symbols) for r in lossless),
        int8=tuple(
            _weighed(r.name, [r] * len(whole), whole if r.takes == "symbols" else weighed)
            for r in rivals
        ),
        int8_score=subject.score_cut(
            cut, [_real(q, known) for q, known in zip(whole, ranges, strict=True)]
        ),
        head_ms=subject.head_ms(cut),
    )


def _rungs(
    subject: Subject, cut: str, ours: Sequence[OurTensor], tensors: Sequence[FloatArray]
) -> Iterator[RungFigures]:
    for index in range(min(len(tensor.ladder) for tensor in ours)):
        symbols = [t.symbols(v, index) for t, v in zip(ours, tensors, strict=True)]
        decoded = [t.values(s, index) for t, s in zip(ours, symbols, strict=True)]
        score = subject.score_cut(cut, decoded)
        encodings = [tensor.ladder[index] for tensor in ours]
        sizes = np.sum(
            [_sizes(e, items) for e, items in zip(encodings, symbols, strict=True)], axis=0
        )
        first = encodings[0]
        yield RungFigures(
            step=first.step,
            levels=first.levels,
            bytes=float(sizes.mean()),
            bytes_p95=float(np.percentile(sizes, 95)),
            error=score.error,
            agreement=score.agreement,
        )


def _sizes(encoding: Symbols, items: UInt8Array) -> list[int]:
    codec = SymbolsCodec(encoding)
    return [len(codec.encode(item)) for item in items]


def _order0_bytes(items: UInt8Array) -> float:
    return float(np.mean([order0_bytes(item) for item in items]))


def _allowed(rungs: Sequence[RungFigures], floor: float) -> int:
    """How many rungs from the finest on meet the floor."""
    for count, rung in enumerate(rungs):
        if rung.agreement < floor:
            return count
    return len(rungs)


def _weighed(name: str, codecs: Sequence[Codec], tensors: Sequence[AnyArray]) -> CodecFigures:
    """A codec for each tensor of the cut; speeds over all of them together."""
    parts = [
        (weigh(codec, list(items[:SIZED_ITEMS])), items[0].size)
        for codec, items in zip(codecs, tensors, strict=True)
    ]
    elements = sum(size for _, size in parts)
    return CodecFigures(
        name=name,
        bytes=sum(part.bytes_per_item for part, _ in parts),
        encode_mbps=elements / sum(size / part.encode_mbps for part, size in parts),
        decode_mbps=elements / sum(size / part.decode_mbps for part, size in parts),
    )


def _whole_range(calibration: FloatArray) -> Quantisation:
    """What everybody does: 8 bits from the least to the greatest value of calibration."""
    low, high = min(float(calibration.min()), 0.0), max(float(calibration.max()), 0.0)
    scale = max((high - low) / 255, 1e-12)
    return Quantisation(scale=scale, zero_point=round(-low / scale))


def _int8(values: FloatArray, known: Quantisation) -> UInt8Array:
    integers = np.rint(values / np.float32(known.scale)) + known.zero_point
    clipped: UInt8Array = np.clip(integers, 0, 255).astype(np.uint8)
    return clipped


def _real(integers: UInt8Array, known: Quantisation) -> FloatArray:
    return (integers.astype(np.float32) - known.zero_point) * np.float32(known.scale)
