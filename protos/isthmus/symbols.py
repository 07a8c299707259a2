"""The entropy coder of quantised tensors: symbols packed into bytes, then a starved zstd.

zstd's match finder *hurts* on activations: a match costs more than the literals it replaces, so
zstd-1 ends 9 % and zstd-3 15 % above the order-0 entropy of 3-bit symbols. Starved of matches
(strategy fast, the shortest hash table, the longest minimal match) it is a Huffman coder in a
standard zstd frame and ends at 1-3 % above. With 16 levels two symbols share a byte, and Huffman
over pairs goes below order-0 entropy. `window_log=14` gives each 16 KiB its own table.

Where one symbol, the *blank*, is most of a tensor (the difference of two frames of a still scene),
a bit mask and the other symbols are smaller than pairs: Huffman spends a bit at least on each byte.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import zstandard
from numpy.typing import NDArray

from isthmus.errors import WireError
from isthmus.tensors import (
    Levels,
)

__all__ = ["Coded", "Packing", "SymbolCoder", "max_coded_bytes", "packed_bytes"]

UInt8Array = NDArray[np.uint8]
Packing = Literal["bytes", "pairs", "mask"]

# Plain level 1 is the fall-back should a release of zstd change what these parameters do: the
# frames stay valid, 0-7 % larger. tests/protos/test_symbols.py pins the size.
_STARVED = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST,
    window_log=14,
    hash_log=6,
    chain_log=6,
    search_log=1,
    min_match=7,
    target_length=0,  # above 0, "fast" switches Huffman off
    write_content_size=True,
    write_checksum=False,
)
_PLAIN_LEVEL = 3
_SPARSE = 0.7  # beyond this share of blanks a mask is smaller than pairs
_EMPTY = 0.95  # beyond this one, runs of blanks may be smaller still: both are tried
_SAMPLE = 512  # so many symbols tell what most of them are


@dataclass(frozen=True, slots=True)
class Coded:
    """Coded symbols; `stored` when entropy coding would have made them larger.

    With the packing "mask", `data` is two zstd frames: a mask of `mask_bytes`, then the rest; the
    mask alone where there is no rest.
    """

    data: bytes
    packing: Packing
    stored: bool = False
    mask_bytes: int = 0


class SymbolCoder:
    """Encodes and decodes symbols; one per thread (zstd contexts are not thread safe).

    zstd gives the interpreter's lock away while it works, and reads arrays in place.
    """

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(compression_params=_STARVED)
        self._plain_compressor = zstandard.ZstdCompressor(level=_PLAIN_LEVEL)
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 17)

    def encode(
        self, symbols: UInt8Array, levels: Levels, *, blank: int = 0, fast_link: bool = False
    ) -> Coded:
        """Pack and compress symbols of any shape, each below `levels`.

        `blank` is the symbol that may be most of them. A `fast_link` takes packed bytes as they
        are: above about half a Gbit/s entropy coding takes longer than the bytes it saves.
        """
        flat = np.ascontiguousarray(symbols).reshape(-1)
        packing: Packing = "pairs" if levels == 16 else "bytes"
        packed = _pack(flat, levels)
        blanks = 0.0 if fast_link else _share_of(blank, flat)
        tried = []
        if blanks > _SPARSE:
            tried.append(self._masked(flat, levels, blank))
        if not fast_link and not _SPARSE < blanks < _EMPTY:
            tried.append(Coded(self._compressor.compress(packed.data), packing))
        best = min(tried, key=lambda coded: len(coded.data), default=None)
        if best is not None and len(best.data) < packed.size:
            return best
        return Coded(packed.tobytes(), packing, stored=True)

    def decode(self, coded: Coded, count: int, levels: Levels, *, blank: int = 0) -> UInt8Array:
        """Give back `count` symbols, flat; WireError if the data does not hold exactly those."""
        if coded.packing == "mask":
            return self._unmasked(coded, count, levels, blank)
        if coded.packing != ("pairs" if levels == 16 else "bytes"):
            raise WireError(f"{levels} levels do not come as {coded.packing}")
        size = packed_bytes(count, levels)
        packed = coded.data if coded.stored else self.decompress(coded.data, size)
        if len(packed) != size:
            raise WireError(
                f"payload holds {len(packed)} bytes, {count} symbols of {levels} levels take {size}"
            )
        return _unpack(packed, count, levels)

    def compress_plainly(self, data: UInt8Array) -> bytes:
        """One zstd frame with matches, for what is no activation; read in place."""
        return self._plain_compressor.compress(data.data)

    def decompress(self, data: bytes, size: int) -> bytes:
        """The `size` bytes of one zstd frame; WireError before any memory is taken for others."""
        # zstandard ignores max_output_size when the frame states its own size: ask the frame first.
        try:
            announced = zstandard.frame_content_size(data)
            if announced != size:
                raise WireError(f"payload announces {announced} bytes, expected {size}")
            return self._decompressor.decompress(data, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise WireError(f"payload is not a whole zstd frame: {error}") from error

    def _masked(self, flat: UInt8Array, levels: Levels, blank: int) -> Coded:
        is_other = flat != blank
        mask = self._compressor.compress(np.packbits(is_other).data)
        # By place is five times faster than by mask: numpy branches on each element of a mask.
        others = _pack(flat[np.flatnonzero(is_other)], levels)
        rest = self._compressor.compress(others.data) if others.size else b""
        return Coded(mask + rest, "mask", mask_bytes=len(mask))

    def _unmasked(self, coded: Coded, count: int, levels: Levels, blank: int) -> UInt8Array:
        if coded.stored or not 0 < coded.mask_bytes <= len(coded.data):
            raise WireError(f"a mask of {coded.mask_bytes} bytes in {len(coded.data)}")
        bits = self.decompress(coded.data[: coded.mask_bytes], (count + 7) // 8)
        is_other = np.unpackbits(np.frombuffer(bits, np.uint8), count=count).view(np.bool_)
        places = np.flatnonzero(is_other)
        rest = coded.data[coded.mask_bytes :]
        flat = np.full(count, blank, np.uint8)
        if places.size:
            others = self.decompress(rest, packed_bytes(places.size, levels))
            flat[places] = _unpack(others, places.size, levels)
        elif rest:
            raise WireError(f"{len(rest)} bytes of symbols behind a mask that names none")
        return flat


def packed_bytes(count: int, levels: Levels) -> int:
    """Bytes of `count` symbols before entropy coding."""
    return (count + 1) // 2 if levels == 16 else count


def max_coded_bytes(count: int, levels: Levels) -> int:
    """The largest payload that `encode` ever makes: it stores what it cannot shrink."""
    return packed_bytes(count, levels)


def _share_of(symbol: int, flat: UInt8Array) -> float:
    sample = flat[:: flat.size // _SAMPLE | 1]  # odd, so that no row length hides a column
    return float(np.count_nonzero(sample == symbol)) / max(sample.size, 1)


_TWO_SYMBOLS = np.dtype("<u2")  # as they lie in memory: the first in the low byte


def _pack(flat: UInt8Array, levels: Levels) -> UInt8Array:
    if levels == 256:
        return flat
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    pairs = flat.view(_TWO_SYMBOLS)
    joined = pairs >> 4
    joined |= pairs  # 0x0H0L -> 0x0HHL, of which the low byte stays
    return joined.astype(np.uint8)


def _unpack(packed: bytes, count: int, levels: Levels) -> UInt8Array:
    flat = np.frombuffer(packed, np.uint8)
    if levels == 256:
        return flat
    # Three passes over two bytes at a time are faster than a table: 0xHL -> 0x0HHL -> 0x0H0L.
    pairs = flat.astype(_TWO_SYMBOLS)
    pairs |= pairs << 4
    pairs &= 0x0F0F
    return pairs.view(np.uint8)[:count]
