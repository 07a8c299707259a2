"""What else could carry a cut tensor: general compressors, picture and float codecs.

Lossless ones take the symbols of a static 8-bit quantisation, the others the float32 values. All
run on one thread. Contexts of zstd are reused, as our own codec does; zlib is Python's own.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import numpy as np
import zstandard

from isthmus_bench.wire.extra import extra_module
from isthmus_bench.wire.mosaic import from_mosaic, mosaic
from isthmus_bench.wire.weighing import AnyArray

__all__ = ["ZFP_TOLERANCE", "Rival", "tensor_rivals", "zfp_tolerance"]

# Of the range of an item's values: four steps of an 8-bit quantisation. ZFP stays far within its
# bound; its errors are then about as large as those of the 8-bit symbols that the others take.
ZFP_TOLERANCE = 1 / 64
_JPEG_XL_EFFORT = 7  # the default of its tools; already the slowest rival by far


@dataclass(frozen=True, slots=True)
class Rival:
    """A codec of one item, of any rank.

    `takes` says of what: "symbols", uint8, given back exactly; "float32", within `zfp_tolerance`
    or the precision of float16. Not to be shared between threads.
    """

    name: str
    takes: Literal["symbols", "float32"]
    encode: Callable[[AnyArray], bytes]
    decode: Callable[[bytes, AnyArray], AnyArray]


def tensor_rivals() -> tuple[Rival, ...]:
    """All of them, those of symbols first.

    ConfigError if imagecodecs is not installed.
    """
    codecs = extra_module("imagecodecs")
    return (
        _bytewise("zlib-6", lambda item: zlib.compress(item.data, 6), _unzlib),
        _zstd(1),
        _zstd(3),
        _lz4(codecs),
        _blosc2(codecs, "shuffle"),
        _blosc2(codecs, "bitshuffle"),
        _jpeg_ls(codecs),
        _jpeg_xl(codecs),
        _zfp_lz4(codecs),
        _of_halves(_zstd(3)),
        _of_halves(_blosc2(codecs, "shuffle")),
    )


def zfp_tolerance(item: AnyArray) -> float:
    """The largest error that the rival "zfp lz4" may make on this item; 0 if it is constant."""
    return float(np.ptp(np.asarray(item, np.float32))) * ZFP_TOLERANCE


def _bytewise(
    name: str, shrink: Callable[[AnyArray], bytes], grow: Callable[[bytes, int], bytes]
) -> Rival:
    """A rival that sees the symbols as bytes; `grow` is told how many bytes there were."""

    def encode(item: AnyArray) -> bytes:
        return shrink(np.ascontiguousarray(item).reshape(-1))

    def decode(payload: bytes, like: AnyArray) -> AnyArray:
        return np.frombuffer(grow(payload, like.nbytes), like.dtype).reshape(like.shape)

    return Rival(name, "symbols", encode, decode)


def _unzlib(payload: bytes, nbytes: int) -> bytes:
    return zlib.decompress(payload, bufsize=nbytes)


def _zstd(level: int) -> Rival:
    compressor, decompressor = zstandard.ZstdCompressor(level), zstandard.ZstdDecompressor()

    def shrink(flat: AnyArray) -> bytes:
        return compressor.compress(flat.data)

    def grow(payload: bytes, nbytes: int) -> bytes:
        return decompressor.decompress(payload, max_output_size=nbytes)

    return _bytewise(f"zstd-{level}", shrink, grow)


def _lz4(codecs: ModuleType) -> Rival:
    def shrink(flat: AnyArray) -> bytes:
        return bytes(codecs.lz4_encode(flat))

    def grow(payload: bytes, nbytes: int) -> bytes:
        return bytes(codecs.lz4_decode(payload, out=nbytes))

    return _bytewise("lz4", shrink, grow)


def _blosc2(codecs: ModuleType, shuffle: Literal["shuffle", "bitshuffle"]) -> Rival:
    """With elements of one byte, as symbols are, the byte shuffle moves nothing."""

    def shrink(flat: AnyArray) -> bytes:
        # imagecodecs takes one dimension for raw bytes, and shuffles those as elements of eight.
        row = flat[np.newaxis]
        payload = codecs.blosc2_encode(
            row, level=1, compressor="zstd", shuffle=shuffle, numthreads=1
        )
        return bytes(payload)

    def grow(payload: bytes, nbytes: int) -> bytes:
        return bytes(codecs.blosc2_decode(payload, numthreads=1, out=nbytes))

    return _bytewise(f"blosc2 {shuffle} zstd-1", shrink, grow)


def _jpeg_ls(codecs: ModuleType) -> Rival:
    def encode(item: AnyArray) -> bytes:
        return bytes(codecs.jpegls_encode(mosaic(item)))

    def decode(payload: bytes, like: AnyArray) -> AnyArray:
        return from_mosaic(codecs.jpegls_decode(payload), like.shape)

    return Rival("jpeg-ls mosaic", "symbols", encode, decode)


def _jpeg_xl(codecs: ModuleType) -> Rival:
    def encode(item: AnyArray) -> bytes:
        payload = codecs.jpegxl_encode(
            mosaic(item), effort=_JPEG_XL_EFFORT, lossless=True, numthreads=1
        )
        return bytes(payload)

    def decode(payload: bytes, like: AnyArray) -> AnyArray:
        return from_mosaic(codecs.jpegxl_decode(payload, numthreads=1), like.shape)

    return Rival("jpeg-xl mosaic", "symbols", encode, decode)


def _zfp_lz4(codecs: ModuleType) -> Rival:
    """ZFP of the mosaic: in three dimensions it takes neighbouring channels for alike."""

    def encode(item: AnyArray) -> bytes:
        tolerance = zfp_tolerance(item)
        packed = codecs.zfp_encode(mosaic(item), level=tolerance, mode="a", numthreads=1)
        return bytes(codecs.lz4_encode(packed, header=True))

    def decode(payload: bytes, like: AnyArray) -> AnyArray:
        packed = codecs.lz4_decode(payload, header=True)
        return from_mosaic(codecs.zfp_decode(packed, numthreads=1), like.shape)

    return Rival("zfp lz4", "float32", encode, decode)


def _of_halves(coder: Rival) -> Rival:
    """float16 values coded by `coder`, and as float32 again."""

    def encode(item: AnyArray) -> bytes:
        return coder.encode(item.astype(np.float16))

    def decode(payload: bytes, like: AnyArray) -> AnyArray:
        halves = np.empty(like.shape, np.float16)
        return coder.decode(payload, halves).astype(np.float32)

    return Rival(f"fp16 {coder.name}", "float32", encode, decode)
