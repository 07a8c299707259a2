"""The picture itself, sent at the network's input size: the baseline that splits have to beat.

Encoders run with Pillow's defaults, but for JPEG with Huffman tables fitted to the picture
(smaller, pixels unchanged) and for AVIF on one thread.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from isthmus.errors import ConfigError

__all__ = ["PictureRival", "picture_rivals"]

UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PictureRival:
    """A picture format at one quality, for uint8 RGB pictures [H,W,3]."""

    name: str
    encode: Callable[[UInt8Array], bytes]
    decode: Callable[[bytes], UInt8Array]


def picture_rivals() -> tuple[PictureRival, ...]:
    """JPEG at three qualities and with full chroma, WebP, AVIF, and PNG, which is lossless.

    ConfigError if this Pillow was built without WebP or AVIF.
    """
    for feature in ("webp", "avif"):
        if not features.check(feature):
            raise ConfigError(
                f"this Pillow cannot write {feature}; pip install 'isthmus[wire-bench]'"
            )
    return (
        *(_jpeg(quality, "4:2:0") for quality in (75, 90, 95)),
        _jpeg(95, "4:4:4"),
        _rival("webp q90", "WEBP", quality=90),
        _rival("avif q80", "AVIF", quality=80, max_threads=1),
        _rival("png", "PNG"),
    )


def _jpeg(quality: int, chroma: str) -> PictureRival:
    name = f"jpeg {chroma} q{quality}"
    return _rival(name, "JPEG", quality=quality, subsampling=chroma, optimize=True)


def _rival(name: str, format_name: str, **settings: int | str | bool) -> PictureRival:
    return PictureRival(
        name,
        partial(_encode, format_name=format_name, settings=settings),
        partial(_decode, format_name=format_name),
    )


def _encode(
    picture: UInt8Array, *, format_name: str, settings: dict[str, int | str | bool]
) -> bytes:
    target = io.BytesIO()
    Image.fromarray(picture, "RGB").save(target, format_name, **settings)
    return target.getvalue()


def _decode(payload: bytes, *, format_name: str) -> UInt8Array:
    with Image.open(io.BytesIO(payload), formats=[format_name]) as image:
        return np.asarray(image.convert("RGB"))
