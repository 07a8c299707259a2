"""Pictures on the wire: JPEG, WebP and AVIF of uint8 RGB pictures [H,W,3].

The payload is hostile: `picture_headers` reads what it announces before any decoder sees it.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, ImageFile, JpegImagePlugin, WebPImagePlugin, features

from isthmus.errors import ConfigError, WireError
from isthmus.picture_headers import checked_picture
from isthmus.tensors import (
    PictureFormat,
)

__all__ = [
    "available",
    "decode_picture",
    "encode_picture",
    "max_picture_bytes",
    "require_format",
]

UInt8Array = NDArray[np.uint8]

_FEATURES: dict[PictureFormat, str] = {"jpeg": "jpg", "webp": "webp", "avif": "avif"}
_READERS: dict[PictureFormat, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "avif": AvifImagePlugin.AvifImageFile,
}
_LEAST_PILLOW = "11.3"  # the first whose wheels hold all three

# At equal KL of a classifier (224 px), 9 takes 2-7 % more bytes than 8, and a quarter of the time.
_AVIF_SPEED = 9
# Method 4 would be 3 % smaller and take twice the time; lossless, method 2 would be 10 % smaller
# and take five times the time, which no link that is good enough for lossless gives back.
_WEBP_METHOD = 2
_WEBP_LOSSLESS: dict[str, object] = {"lossless": True, "method": 0, "quality": 0}

# One picture is too small for a pool of threads: with 2, it takes 30 % more CPU time.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def available(picture_format: PictureFormat) -> bool:
    """Whether this machine's Pillow was built with the format."""
    return bool(features.check(_FEATURES[picture_format]))


def encode_picture(
    picture: UInt8Array, picture_format: PictureFormat, quality: int | None
) -> bytes:
    """One picture [H,W,3] at `quality` 1-100; None is lossless, which only WebP is.

    Lossy pictures have chroma at half the resolution (4:2:0). Raises WireError if the array is no
    such picture, ConfigError if the format is not built in or takes no such quality or size.
    """
    require_format(picture_format)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise WireError(
            f"array {picture.dtype} {list(picture.shape)} cannot cross as a picture, "
            "expected uint8 [H,W,3]"
        )
    options = _options(picture_format, quality)
    target = io.BytesIO()
    try:
        Image.fromarray(picture).save(target, picture_format, **options)
    except (OSError, ValueError, RuntimeError) as error:
        height, width, _ = picture.shape
        raise ConfigError(
            f"a picture of {width}x{height} cannot be written as {picture_format} ({error}); "
            "choose another format or a smaller picture"
        ) from error
    return target.getvalue()


def _options(picture_format: PictureFormat, quality: int | None) -> dict[str, object]:
    """What Pillow's writer is told."""
    if quality is None and picture_format == "webp":
        return _WEBP_LOSSLESS
    if quality is None or not 1 <= quality <= 100:
        lossless = ", or None for lossless" if picture_format == "webp" else ""
        raise ConfigError(f"{picture_format} quality is {quality}, allowed are 1-100{lossless}")
    match picture_format:
        case "jpeg":
            return {"quality": quality, "subsampling": "4:2:0"}
        case "webp":
            return {"quality": quality, "method": _WEBP_METHOD}
        case "avif":
            return {"quality": quality, "subsampling": "4:2:0", "speed": _AVIF_SPEED}


def max_picture_bytes(height: int, width: int) -> int:
    """The largest payload of an honest encoder, whatever the picture, format and quality.

    Four bytes a pixel, with both sides rounded up to 16, and 4 KB for headers and code tables. In
    baseline JPEG at quality 100, a block of 64 coefficients has a mean square of at most 128^2,
    and the standard tables spend at most 18 bits on a coefficient of 128, fewer on average if some
    are greater (ITU-T T.81, annex K): 384 coefficients for 256 pixels are 3.4 bytes a pixel, and
    the rest is room for byte stuffing. Worst measured on noise, at 224 px: JPEG 2.3, WebP 3.1,
    lossless WebP 3.0, AVIF 2.1.
    """
    blocks = -(-height // 16) * -(-width // 16)
    return 4 * 256 * blocks + 4096


def decode_picture(
    payload: bytes,
    picture_format: PictureFormat,
    height: int,
    width: int,
    *,
    lossless: bool = False,
) -> UInt8Array:
    """The picture [height,width,3]; WireError, naming expected and got, for anything else.

    `lossless` says which of the two kinds of WebP is expected: the sender must not be the one to
    choose the costly one. The caller has compared the payload with `max_picture_bytes`.
    Time and memory then grow with height x width, whatever the payload announces: some 30 bytes a
    pixel, up to 1,300 for lossless WebP. Raises ConfigError if the format is not built in.

    Pixels are not vouched for: a scan that was cut short and closed again as its format demands
    may decode with a grey remainder. An AVIF's boxes other than its picture are not read; a
    rotation or crop that they ask for does not happen.
    """
    require_format(picture_format)
    size, checked = checked_picture(payload, picture_format, lossless=lossless)
    name = picture_format.upper()
    if size != (width, height):
        raise WireError(f"{name} is {size[0]}x{size[1]}, expected {width}x{height}")
    try:
        with _READERS[picture_format](io.BytesIO(checked)) as image:
            if image.size != size or image.mode != "RGB":
                got = f"{image.size[0]}x{image.size[1]} {image.mode}"
                raise WireError(f"{name} decodes as {got}, expected {width}x{height} RGB")
            return np.asarray(image)
    except _PILLOW_ERRORS as error:
        raise WireError(f"payload is no whole {name} of {width}x{height}: {error}") from error


_PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,
    Image.DecompressionBombError,
)


def require_format(picture_format: PictureFormat) -> None:
    """ConfigError, with the way out, if this machine cannot write and read the format.

    From then on all that it takes is loaded: the first picture waits no longer than others.
    """
    if picture_format not in _FEATURES:
        raise ConfigError(f"picture format {picture_format!r}, allowed are {', '.join(_FEATURES)}")
    if not available(picture_format):
        raise ConfigError(
            f"this machine's Pillow was built without {picture_format}; install the wheel of "
            f"pillow>={_LEAST_PILLOW}, or plan with another picture format"
        )
    Image.preinit()
