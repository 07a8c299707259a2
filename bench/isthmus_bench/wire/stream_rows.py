"""Video: bytes of a frame against H.264 without delay, at equal error of the answers.

A stream of cut tensors runs through the product's own encoder and decoder, once with every frame by
itself, once with what the product does by default: differences where symbols come again, and a
sticky quantiser while the camera stands still.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus import (
    UNMEASURED,
    Candidate,
    Cut,
    CutTensor,
    FrameEncoder,
    ReadyStage,
    Rung,
    Stage,
    SymbolCoder,
    TensorSpec,
    decode_frame,
)
from isthmus_bench.wire.equal_error import Point, Reading, bytes_at, reading
from isthmus_bench.wire.h264 import h264
from isthmus_bench.wire.ours import OurTensor, fitted
from isthmus_bench.wire.scores import Score
from isthmus_bench.wire.subjects import Subject
from isthmus_bench.wire.video import Clip

__all__ = ["EqualSetting", "StreamFigures", "StreamRow", "measure_clip"]

FloatArray = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]

CRFS = (12, 18, 23, 28)
STEPS = (1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0)


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """One way to send a clip: mean bytes of a frame, key frames included, and the error."""

    setting: str
    bytes: float
    error: float
    agreement: float


@dataclass(frozen=True, slots=True)
class EqualSetting:
    """Our bytes over those of an H.264 setting with the same error; see `equal_error.reading`."""

    setting: str
    ratio: float
    reading: Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRow:
    """One clip at one cut: our ladder frame by frame (`alone`) and as the product sends it
    (`video`), and the rival; `equal` has our bytes over its bytes at each of its settings."""

    clip: str
    origin: str
    model: str
    cut: str
    mac_share: float
    alone: tuple[StreamFigures, ...]
    video: tuple[StreamFigures, ...]
    h264: tuple[StreamFigures, ...]
    equal: tuple[EqualSetting, ...]


def measure_clip(subject: Subject, cut: str, clip: Clip) -> StreamRow:
    """Send a clip in all ways; `subject` must read pictures of the clip's size."""
    calibration = subject.activations(cut, fitted=True)
    tensor = fitted(calibration.tensors[0], STEPS)
    stream = subject.on_pictures(clip.frames)
    values = stream.activations(cut).tensors[0]
    rungs = range(len(tensor.ladder))
    alone = tuple(_sent(stream, cut, tensor, values, rung, video=False) for rung in rungs)
    video = tuple(_sent(stream, cut, tensor, values, rung, video=True) for rung in rungs)
    rival = tuple(_h264(stream, clip, crf) for crf in CRFS)
    return StreamRow(
        clip=clip.name,
        origin=clip.origin,
        model=subject.name,
        cut=cut,
        mac_share=calibration.mac_share,
        alone=alone,
        video=video,
        h264=rival,
        equal=tuple(_equal(video, rival)),
    )


def _sent(
    stream: Subject, cut: str, tensor: OurTensor, values: FloatArray, rung: int, *, video: bool
) -> StreamFigures:
    symbols, sizes = zip(*_transmit(tensor, values, rung, video=video), strict=True)
    score = stream.score_cut(cut, [tensor.values(np.stack(symbols), rung)])
    encoding = tensor.ladder[rung]
    setting = f"{encoding.levels} levels, step {encoding.step:.3g}"
    return _figures(setting, sizes, score)


def _transmit(
    tensor: OurTensor, values: FloatArray, rung: int, *, video: bool
) -> Iterator[tuple[UInt8Array, int]]:
    """Each frame's symbols as they arrive, and the bytes of its whole message."""
    encoding = tensor.ladder[rung]
    sent = tensor.transform.forward(values)
    spec = TensorSpec(name="cut", data_type="uint8", shape=sent.shape[1:])
    place = CutTensor(boundary=spec, wire=spec, stage=Stage())
    cut = Cut(id="", chain="", depth=1, macs_share=0, tensors=(place,))
    candidate = Candidate(
        id="cut",
        cut="",
        precision="fp32",
        rungs=(Rung(encodings=(encoding,), figures=UNMEASURED),),
        chosen=0,
        kept=True,
        reason="",
    )
    encoder, coder, kept = FrameEncoder(video=video), SymbolCoder(), None
    stage = ReadyStage(Stage(), quantises=True, projection=None)
    for item in sent:
        held = encoder.held(candidate, 0)
        stuck = () if held is None else (held.symbols[0], held.hold)
        symbols = stage.wire(item[None], encoding, *stuck)
        frame = encoder.encode(candidate, cut, 0, (symbols,))
        (arrived,), kept = decode_frame(frame, candidate, cut, coder, kept)
        yield arrived.view(np.uint8)[0], frame.ByteSize()


def _h264(stream: Subject, clip: Clip, crf: int) -> StreamFigures:
    """The better of half and full colour resolution, by error times bytes."""
    ways = [h264(clip.frames, crf, full_chroma=full) for full in (False, True)]
    figures = [
        _figures(f"crf {crf}", way.frame_bytes, stream.score_pictures(way.decoded)) for way in ways
    ]
    return min(figures, key=lambda f: f.error * f.bytes)


def _figures(setting: str, sizes: Sequence[int], score: Score) -> StreamFigures:
    return StreamFigures(setting, float(np.mean(sizes)), score.error, score.agreement)


def _equal(ours: Sequence[StreamFigures], rival: Sequence[StreamFigures]) -> Iterator[EqualSetting]:
    curve: list[Point] = [(figures.error, figures.bytes) for figures in ours]
    for figures in rival:
        ratio = bytes_at(figures.error, curve).bytes / figures.bytes
        yield EqualSetting(figures.setting, ratio, reading(figures.error, curve))
