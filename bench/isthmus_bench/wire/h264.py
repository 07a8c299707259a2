"""H.264 without delay: what a camera would send instead of activations.

x264 with `tune=zerolatency` (no B frames, no look-ahead), preset medium, one key frame at the
start, one thread. All in the rival's favour: colours are converted in floating point (that of
ffmpeg shifts every pixel by about one level), chroma comes back bicubic, and the half kilobyte in
which x264 writes its settings into the stream is not counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isthmus.errors import ConfigError, WireError
from isthmus_bench.wire.extra import extra_module

__all__ = ["H264Video", "h264"]

UInt8Array = NDArray[np.uint8]
FloatArray = NDArray[np.float32]
Part = TypeVar("Part")

# ITU-T T.871 (JFIF): full range YCbCr of RGB.
_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
_TO_RGB = np.linalg.inv(_TO_YCC)
_CENTRE = np.array([0, 128, 128], np.float32)
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_SEI = "filter_units=remove_types=6"  # x264's settings as text; decoders ignore them


@dataclass(frozen=True, slots=True, eq=False)
class H264Video:
    """Bytes of each frame, the first a key frame, and the frames [N,H,W,3] as they arrive."""

    frame_bytes: tuple[int, ...]
    decoded: UInt8Array

    @property
    def mean_bytes(self) -> float:
        """Of all frames, with the key frame at the start."""
        return fmean(self.frame_bytes)


def h264(frames: UInt8Array, crf: int, *, full_chroma: bool = False) -> H264Video:
    """Send uint8 RGB frames [N,H,W,3]: each becomes one packet, and is decoded before the next.

    `crf` is x264's constant rate factor, 0 to 51, less is finer. Chroma is at half the size
    (4:2:0, what hardware decodes) unless `full_chroma` (4:4:4). ConfigError for another crf,
    frames of another shape, odd sides with 4:2:0, or without av and its libx264.
    """
    _check(frames, crf, full_chroma)
    av = extra_module("av")
    picture_format = "yuv444p" if full_chroma else "yuv420p"
    encoder = _encoder(av, frames.shape[2], frames.shape[1], picture_format, crf)
    strip = av.bitstream.BitStreamFilterContext(_SEI, "h264")
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frame_bytes: list[int] = []
    decoded: UInt8Array = np.empty(frames.shape, np.uint8)
    for number, frame in enumerate(frames):
        planes = _planes(frame, full_chroma)
        source = av.VideoFrame.from_ndarray(planes, format=picture_format)
        source.pts, source.color_range = number, _FULL_RANGE
        try:
            packet = _only(strip.filter(_only(encoder.encode(source))))
            arrived = _only(decoder.decode(packet)).to_ndarray()
        except av.FFmpegError as error:
            raise ConfigError(f"libx264 refuses frames {list(frames.shape)}: {error}") from error
        frame_bytes.append(packet.size)
        decoded[number] = _picture(arrived, *frame.shape[:2])
    return H264Video(tuple(frame_bytes), decoded)


def _check(frames: UInt8Array, crf: int, full_chroma: bool) -> None:
    if not 0 <= crf <= 51:
        raise ConfigError(f"crf {crf}: x264 knows 0 to 51")
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise ConfigError(
            f"frames are {frames.dtype} {list(frames.shape)}; needed: uint8 RGB [N,H,W,3]"
        )
    if not full_chroma and (frames.shape[1] % 2 or frames.shape[2] % 2):
        raise ConfigError(
            f"frames are {list(frames.shape)}: 4:2:0 needs even height and width; "
            "resize them, or use full_chroma"
        )


def _encoder(av: Any, width: int, height: int, picture_format: str, crf: int) -> Any:
    try:
        encoder = av.CodecContext.create("libx264", "w")
    except ValueError as error:  # av.codec.codec.UnknownCodecError
        raise ConfigError(
            "this build of av has no libx264; pip install 'isthmus[wire-bench]'"
        ) from error
    encoder.width, encoder.height, encoder.pix_fmt = width, height, picture_format
    encoder.time_base, encoder.thread_count = Fraction(1, 30), 1
    encoder.color_range = _FULL_RANGE
    encoder.options = {
        "preset": "medium",
        "tune": "zerolatency",
        "crf": str(crf),
        "x264-params": "keyint=infinite:bframes=0",
    }
    return encoder


def _only(parts: Sequence[Part]) -> Part:
    """The single element: zero latency is one in, one out."""
    if len(parts) != 1:
        raise WireError(f"libx264 made {len(parts)} of one frame; this build has no zero latency")
    return parts[0]


def _planes(picture: UInt8Array, full_chroma: bool) -> UInt8Array:
    """[3,H,W], or as ffmpeg lays out 4:2:0: [H*3/2,W], Y above Cb above Cr."""
    height, width = picture.shape[:2]
    ycc = np.moveaxis(picture @ _TO_YCC.T + _CENTRE, 2, 0)
    if full_chroma:
        return _rounded(ycc)
    halved = ycc[1:].reshape(2, height // 2, 2, width // 2, 2).mean(axis=(2, 4))
    return _rounded(np.concatenate([ycc[0], halved.reshape(-1, width)]))


def _picture(planes: UInt8Array, height: int, width: int) -> UInt8Array:
    """RGB [H,W,3] of either layout."""
    ycc = planes if planes.ndim == 3 else np.stack([*_upscaled(planes, height, width)])
    return _rounded((np.moveaxis(ycc, 0, 2) - _CENTRE) @ _TO_RGB.T)


def _upscaled(planes: UInt8Array, height: int, width: int) -> Iterator[FloatArray]:
    yield planes[:height].astype(np.float32)
    for chroma in planes[height:].reshape(2, height // 2, width // 2):
        small = Image.fromarray(chroma.astype(np.float32))
        yield np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def _rounded(values: FloatArray) -> UInt8Array:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
