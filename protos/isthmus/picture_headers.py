"""What a picture's payload announces, read and narrowed down before any decoder sees it.

The payload is hostile. Measured on what Pillow and its decoders do with files that claim the
expected size, or are asked for it only after they were opened:

* 1 KB of AVIF whose container says 224x224 has libavif decode the 8192x8192 pixels that the AV1
  picture inside announces, and scale them down; Pillow has no limit to set.
* 120 KB of progressive JPEG, 10,000 empty scans, take 0.1 s at 224x224 and 1.7 s at 1024x1024.
* Lossless WebP may have a set of Huffman tables for every 4x4 pixels: 14 KB take 62 MB and 0.1 s
  at 224x224, 295 KB take 1.3 GB and 1.9 s at 1024x1024.
* Opening a WebP takes memory for its whole canvas; bytes behind a picture are ignored everywhere.

So each format is narrowed to what `encode_picture` writes: one picture of 8 bits and three colours
without alpha or metadata.
"""

import re
from collections.abc import Callable, Iterator

from isthmus.errors import WireError
from isthmus.tensors import (
    PictureFormat,
)

__all__ = ["checked_picture"]


def checked_picture(
    payload: bytes, picture_format: PictureFormat, *, lossless: bool
) -> tuple[tuple[int, int], bytes]:
    """Width and height that a payload announces, and what a decoder may see of it.

    WireError for whatever `encode_picture` does not write; `lossless` says which kind of WebP.
    """
    return _CHECKS[picture_format](payload, lossless)


# JPEG (ITU-T T.81, annex B): one baseline frame of three colours, in one scan.

_BASELINE, _SCAN = 0xC0, 0xDA
_JPEG_TABLES = frozenset({0xC4, 0xDB, 0xDD, 0xE0})  # Huffman, quantisation, restarts, JFIF
_BEHIND_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # any marker but stuffing and restarts


def _check_jpeg(payload: bytes, _lossless: bool) -> tuple[tuple[int, int], bytes]:
    size = None
    for marker, body in _jpeg_segments(payload):
        if marker == _BASELINE:
            if size is not None or len(body) != 15 or body[0] != 8 or body[5] != 3:
                raise WireError(
                    f"JPEG has a frame header {body[:16].hex()}, expected one, of 8 bits and "
                    "three colours"
                )
            size = (int.from_bytes(body[3:5]), int.from_bytes(body[1:3]))
        elif marker == _SCAN:
            if len(body) != 10 or body[0] != 3:
                raise WireError(f"JPEG has a scan {body[:16].hex()}, expected one of three colours")
        elif marker not in _JPEG_TABLES:
            raise WireError(
                f"JPEG has a segment ff{marker:02x}, expected a baseline frame (ffc0), its tables "
                "and one scan, without metadata"
            )
    if size is None:
        raise WireError("JPEG has no frame header (ffc0) before its scan, expected one")
    return size, payload


def _jpeg_segments(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each segment; the scan is the last, and the picture ends behind it."""
    if payload[:2] != b"\xff\xd8":
        raise WireError(f"payload begins with {payload[:4].hex()}, expected a JPEG (ffd8)")
    at, marker = 2, 0
    while marker != _SCAN:
        length = int.from_bytes(payload[at + 2 : at + 4])
        end = at + 2 + length
        if payload[at : at + 1] != b"\xff" or length < 2 or end > len(payload):
            raise WireError(f"JPEG has no whole segment at byte {at} of {len(payload)}")
        marker = payload[at + 1]
        yield marker, payload[at + 4 : end]
        at = end
    behind = _BEHIND_SCAN.search(payload, at)
    last = len(payload) - 2
    if behind is None or behind.start() != last or payload[last:] != b"\xff\xd9":
        where = "nowhere" if behind is None else f"at byte {behind.start()} ({behind[0].hex()})"
        raise WireError(f"JPEG's scan ends {where}, expected at byte {last} with ffd9")


# WebP (RFC 9649): the simple file, of one lossy or one lossless chunk.


def _check_webp(payload: bytes, lossless: bool) -> tuple[tuple[int, int], bytes]:
    kind = payload[12:16]
    if payload[:4] != b"RIFF" or payload[8:12] != b"WEBP":
        raise WireError(f"payload begins with {payload[:12].hex()}, expected a WebP (RIFF, WEBP)")
    expected = b"VP8L" if lossless else b"VP8 "
    if kind != expected:
        raise WireError(
            f"WebP begins with a chunk {kind!r}, expected {expected!r} alone: no animation, alpha "
            "or metadata, and lossless only where the plan says so"
        )
    announced, chunk = (int.from_bytes(payload[at : at + 4], "little") for at in (4, 16))
    if announced + 8 != len(payload) or 20 + chunk + chunk % 2 != len(payload):
        raise WireError(
            f"WebP announces {announced + 8} bytes with a chunk of {chunk}, got {len(payload)}"
        )
    head = payload[20:30]
    return (_vp8l_size(head) if lossless else _vp8_size(head)), payload


def _vp8_size(head: bytes) -> tuple[int, int]:
    """Of a key frame (RFC 6386, section 9.1); its highest bits ask for scaling."""
    if len(head) != 10 or head[0] & 1 or head[3:6] != b"\x9d\x01\x2a":
        raise WireError(f"WebP has a frame header {head.hex()}, expected a key frame (9d012a)")
    width, height = (int.from_bytes(head[at : at + 2], "little") for at in (6, 8))
    if max(width, height) >= 1 << 14:
        raise WireError(f"WebP has a frame header {head.hex()}, expected one without scaling")
    return width, height


def _vp8l_size(head: bytes) -> tuple[int, int]:
    """Of a lossless picture (RFC 9649, section 3.4): signature, sizes, alpha, version."""
    bits = int.from_bytes(head[1:5], "little")
    if head[:1] != b"\x2f" or bits >> 28:
        raise WireError(
            f"WebP has a lossless header {head[:5].hex()}, expected 2f, version 0, no alpha"
        )
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


# AVIF (AV1 Image File Format 1.1; AV1 Bitstream Specification, section 5.5): ftyp, meta and mdat,
# with one AV1 still picture in the last. The size that decides is the AV1 picture's own.

_SRGB_FULL_RANGE = (1, 13, 6, 1)  # primaries, transfer, matrix (BT.601), range


def _check_avif(payload: bytes, _lossless: bool) -> tuple[tuple[int, int], bytes]:
    at = 0
    for wanted in (b"ftyp", b"meta", b"mdat"):
        length, kind = int.from_bytes(payload[at : at + 4]), payload[at + 4 : at + 8]
        if kind != wanted or length < 8 or at + length > len(payload):
            raise WireError(
                f"AVIF has a box {kind!r} of {length} bytes at byte {at} of {len(payload)}, "
                f"expected a whole {wanted.decode()!r}"
            )
        body, at = payload[at + 8 : at + length], at + length
        if wanted == b"ftyp" and body[:4] != b"avif":
            raise WireError(f"payload is of brand {body[:4]!r}, expected 'avif'")
    if at != len(payload):
        raise WireError(f"AVIF ends at byte {at}, got {len(payload)}")
    units = body.removeprefix(b"\x12\x00")  # an empty temporal delimiter, which is optional
    size = _av1_size(_av1_sequence(units))
    return size, _boxed(units, *size)


def _av1_sequence(units: bytes) -> bytes:
    """The sequence header; it and one frame must be all there is."""
    header, at = _av1_unit(units, 0, b"\x0a", "sequence header")
    _, end = _av1_unit(units, at, b"\x32", "frame")
    if end != len(units):
        raise WireError(
            f"AVIF has {len(units) - end} bytes behind its AV1 frame, expected one picture without "
            "alpha, grid, animation or metadata"
        )
    return header


def _av1_unit(units: bytes, at: int, kind: bytes, name: str) -> tuple[bytes, int]:
    """Body and end of the unit at a byte; its length stands behind its kind, seven bits a byte."""
    start, length = at + 1, 0
    for shift in range(0, 28, 7):
        byte = int.from_bytes(units[start : start + 1])
        length |= (byte & 0x7F) << shift
        start += 1
        if byte < 0x80:
            break
    else:
        length = len(units)  # longer than any payload, and not to be read in two ways
    if units[at : at + 1] != kind or not length or start + length > len(units):
        raise WireError(
            f"AVIF has {units[at : at + 5].hex() or 'nothing'} at byte {at} of its AV1 part, "
            f"expected a whole {name} ({kind.hex()})"
        )
    return units[start : start + length], start + length


def _av1_size(header: bytes) -> tuple[int, int]:
    """Of an 8-bit 4:2:0 still picture with the reduced header, which leaves frames no choice."""
    value, left = int.from_bytes(header), 8 * len(header)

    def take(count: int) -> int:
        nonlocal left
        left -= count
        if left < 0:
            raise WireError(f"AVIF has a sequence header of {len(header)} bytes, expected more")
        return value >> left & ((1 << count) - 1)

    profile_and_stillness = take(5)
    take(5)  # level
    width_bits, height_bits = take(4) + 1, take(4) + 1
    width, height = take(width_bits) + 1, take(height_bits) + 1
    take(6)  # coding tools
    is_deep, is_grey, has_colours = take(1), take(1), take(1)
    if profile_and_stillness != 0b00011 or is_deep or is_grey:
        raise WireError(
            f"AVIF has a sequence header {header[:16].hex()}, expected an 8-bit colour still "
            "picture of profile 0 with the reduced header"
        )
    colours = (take(8), take(8), take(8), take(1)) if has_colours else ()
    if colours != _SRGB_FULL_RANGE:
        raise WireError(f"AVIF has colours {colours}, expected {_SRGB_FULL_RANGE}")
    return width, height


def _boxed(units: bytes, width: int, height: int) -> bytes:
    """An AVIF file of ours around checked AV1 units.

    Nothing of the sender's boxes reaches libavif: neither another size, nor another place of the
    picture, nor a second one.
    """
    size = width.to_bytes(4) + height.to_bytes(4)
    colours = b"nclx" + bytes([0, 1, 0, 13, 0, 6, 0x80])
    properties = (
        _box(b"ispe", bytes(4), size),
        _box(b"pixi", bytes(4), b"\x03\x08\x08\x08"),
        _box(b"av1C", b"\x81\x1f\x0c\x00"),
        _box(b"colr", colours),
    )
    item = _box(b"infe", b"\x02\x00\x00\x00\x00\x01\x00\x00av01\x00")
    owned = bytes(4) + b"\x00\x00\x00\x01\x00\x01\x04\x01\x02\x83\x04"
    before = (
        _box(b"hdlr", bytes(8), b"pict", bytes(13)),
        _box(b"pitm", bytes(4), b"\x00\x01"),
        _box(b"iinf", bytes(4), b"\x00\x01", item),
        _box(b"iprp", _box(b"ipco", *properties), _box(b"ipma", owned)),
    )
    brands = _box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf")
    place = bytes(4) + b"\x44\x00\x00\x01\x00\x01\x00\x00\x00\x01"
    start = len(brands) + 12 + sum(map(len, before)) + 8 + len(place) + 8 + 8
    where = start.to_bytes(4) + len(units).to_bytes(4)
    meta = _box(b"meta", bytes(4), *before, _box(b"iloc", place, where))
    return brands + meta + _box(b"mdat", units)


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return (8 + len(body)).to_bytes(4) + kind + body


_Check = Callable[[bytes, bool], tuple[tuple[int, int], bytes]]
_CHECKS: dict[PictureFormat, _Check] = {
    "jpeg": _check_jpeg,
    "webp": _check_webp,
    "avif": _check_avif,
}
