"""Pictures from files: the centre, resized to what a model takes, on every machine alike."""

import io
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from isthmus.errors import PictureError
from isthmus.regular_files import open_regular

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
MAX_PIXELS = 80_000_000  # below Pillow's own limit, which only warns
# Of memory while Pillow decodes one, at the most: RGB that is turned, whatever else, WebP.
_RGB_BYTES, _OTHER_BYTES, _WEBP_BYTES = 8, 12, 16
CROP_MARGIN = 32  # the centre is size/(size+32) of what there is, as in EfficientNet-Lite

__all__ = ["decoding_bytes", "fit_picture", "load_picture", "picture_files", "read_picture"]

_KINDS = ("BMP", "JPEG", "PNG", "WEBP")  # Pillow would try dozens, some with other programs
_BEGINNINGS = (b"BM", b"\xff\xd8", b"\x89PNG", b"RIFF")

UInt8Array = NDArray[np.uint8]


def load_picture(path: Path, height: int, width: int | None = None) -> UInt8Array:
    """The picture as uint8 RGB [height,width,3], square if there is no width: its centre, resized.

    Only regular files are read, and of them the kinds of `PICTURE_SUFFIXES`, whatever they are
    called. Raises PictureError for what is missing, damaged, no such picture, or too large to
    decode.
    """
    try:
        with open_regular(path) as file:
            return _fitted(_decoded(file, str(path)), height, width)
    except FileNotFoundError as error:
        raise PictureError(f"{path}: no such file; give a picture or a folder") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise PictureError(
            f"{path}: cannot be read ({reason}); give a picture's file that this user may read"
        ) from error


def read_picture(content: bytes, height: int, width: int | None = None) -> UInt8Array:
    """Like `load_picture`, of what such a file holds."""
    return _fitted(_decoded(io.BytesIO(content), f"a picture of {len(content)} B"), height, width)


def decoding_bytes(content: bytes) -> int:
    """The memory that `read_picture` takes for this at the most, by what its header announces;
    nothing is decoded. PictureError for what is no picture, or too large."""
    source, name = io.BytesIO(content), f"a picture of {len(content)} B"
    with _told(source, name), _opened(source, name) as image:
        pixels = image.width * image.height
        if image.format == "WEBP":
            return pixels * _WEBP_BYTES
        return pixels * (_RGB_BYTES if image.mode == "RGB" else _OTHER_BYTES)


def fit_picture(picture: UInt8Array, height: int, width: int | None = None) -> UInt8Array:
    """Like `load_picture`, of pixels: uint8 RGB [h,w,3]."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise PictureError(
            f"array {picture.dtype} {list(picture.shape)} is no picture: give uint8 [h,w,3]"
        )
    return _fitted(Image.fromarray(picture), height, width)


def _decoded(source: BinaryIO, name: str) -> Image.Image:
    with _told(source, name), _opened(source, name) as image:
        ImageOps.exif_transpose(image, in_place=True)
        image.load()
        return image if image.mode == "RGB" else image.convert("RGB")


@contextmanager
def _told(source: BinaryIO, name: str) -> Iterator[None]:
    """Whatever a picture's bytes make Pillow raise is a PictureError."""
    try:
        yield
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name}: {error}; scale the picture down first") from error
    except Exception as error:  # of a damaged file Pillow raises struct.error, TypeError and more
        raise PictureError(
            f"{name}: cannot be decoded as a picture ({_reason(error, source)}); "
            "give a whole JPEG, PNG, WebP or BMP"
        ) from error


def _opened(source: BinaryIO, name: str) -> Image.Image:
    """Opened, with a size that may be decoded."""
    _check_size(_webp_size(source), name)  # opening it takes memory for all of it
    with warnings.catch_warnings():
        # Our own limit, checked next, is an error that says what to do.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(source, formats=_KINDS)
    _check_size(image.size, name)
    return image


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"{name}: {width}x{height} pixels are more than {MAX_PIXELS:,}; "
            "scale the picture down first"
        )


def _webp_size(source: BinaryIO) -> tuple[int, int]:
    """Width and height that a WebP announces (RFC 9649); zeros of another kind of file."""
    head = source.read(30)
    source.seek(0)
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return 0, 0
    match head[12:16]:
        case b"VP8X":
            return _number(head[24:27]) + 1, _number(head[27:30]) + 1
        case b"VP8L":
            bits = _number(head[21:25])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            return _number(head[26:28]) & 0x3FFF, _number(head[28:30]) & 0x3FFF
    raise ValueError(f"a WebP that begins with {head[12:16]!r}")


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def _reason(error: Exception, source: BinaryIO) -> str:
    """Pillow names what it does not know by the address of a Python object."""
    if not isinstance(error, UnidentifiedImageError):
        return f"it is damaged or incomplete: {error}"
    source.seek(0)
    beginning = source.read(max(map(len, _BEGINNINGS)))
    if not beginning:
        return "it is empty"
    if beginning.startswith(_BEGINNINGS):
        return "it is damaged or incomplete"
    return "it is of another kind, or damaged from its beginning"


def _fitted(upright: Image.Image, height: int, width: int | None) -> UInt8Array:
    width = height if width is None else width
    margin = min(height, width) / (min(height, width) + CROP_MARGIN)
    ratio = min(upright.width / width, upright.height / height) * margin
    left, top = (upright.width - width * ratio) / 2, (upright.height - height * ratio) / 2
    box = (left, top, left + width * ratio, top + height * ratio)
    return np.asarray(upright.resize((width, height), Image.Resampling.BICUBIC, box=box))


def picture_files(paths: Iterable[Path]) -> list[Path]:
    """Files as they are, folders as the sorted pictures in them; PictureError if one is empty."""
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
        if not found:
            kinds = ", ".join(sorted(PICTURE_SUFFIXES))
            raise PictureError(f"{path}: no pictures in this folder ({kinds})")
        files.extend(found)
    return files
