"""Pictures on the wire: JPEG for uint8 pictures [H,W,3], with the size checked before decoding."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isthmus.errors import WireError

__all__ = ["decode_jpeg", "encode_jpeg"]

UInt8Array = NDArray[np.uint8]


def encode_jpeg(picture: UInt8Array, quality: int) -> bytes:
    """JPEG (4:2:0) of a uint8 RGB picture [H,W,3]."""
    target = io.BytesIO()
    Image.fromarray(picture, "RGB").save(target, "JPEG", quality=quality)
    return target.getvalue()


def decode_jpeg(payload: bytes, height: int, width: int) -> UInt8Array:
    """The picture [height,width,3]; WireError if the payload is anything else.

    Only the header is read before the announced size is compared with the expected one.
    """
    try:
        with Image.open(io.BytesIO(payload), formats=["JPEG"]) as image:
            if image.size != (width, height) or image.mode != "RGB":
                got = f"{image.size[0]}x{image.size[1]} {image.mode}"
                raise WireError(f"JPEG is {got}, expected {width}x{height} RGB")
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise WireError(f"payload is not a whole JPEG: {error}") from error
