"""The entropy coder of quantised tensors: 256 or 16 levels, packed, then a starved zstd.

zstd's match finder *hurts* on activations: a match costs more than the literals it replaces, so
zstd-1 ends 9 % and zstd-3 15 % above the order-0 entropy of 3-bit symbols. Starved of matches
(strategy fast, the shortest hash table, the longest minimal match) it is a Huffman coder in a
standard zstd frame and ends at 1-3 % above. With 16 levels two symbols share a byte, and Huffman
over pairs goes below order-0 entropy. `window_log=14` gives each 16 KiB its own table.
"""

from dataclasses import dataclass

import numpy as np
import zstandard
from numpy.typing import NDArray

from isthmus.errors import WireError
from isthmus.manifest import Quantisation, Symbols

__all__ = ["Coded", "SymbolCoder", "max_coded_bytes", "packed_bytes", "requantise_table"]

UInt8Array = NDArray[np.uint8]

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


@dataclass(frozen=True, slots=True)
class Coded:
    """Coded symbols; `stored` when entropy coding would have made them larger."""

    payload: bytes
    stored: bool


class SymbolCoder:
    """Encodes and decodes symbols; one per thread (zstd contexts are not thread safe)."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(compression_params=_STARVED)
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 17)

    def encode(self, symbols: UInt8Array, levels: int) -> Coded:
        """Pack and compress symbols of any shape, each below `levels` (256 or 16)."""
        flat = np.ascontiguousarray(symbols).reshape(-1)
        packed = _pack_pairs(flat) if levels == 16 else flat
        payload = self._compressor.compress(packed.data)
        if len(payload) < packed.size:
            return Coded(payload, stored=False)
        return Coded(packed.tobytes(), stored=True)

    def decode(self, coded: Coded, count: int, levels: int) -> UInt8Array:
        """Give back `count` symbols, flat; WireError if the payload does not hold exactly those."""
        expected = packed_bytes(count, levels)
        packed = coded.payload if coded.stored else self._decompress(coded.payload, expected)
        if len(packed) != expected:
            raise WireError(
                f"payload holds {len(packed)} bytes, "
                f"{count} symbols of {levels} levels take {expected}"
            )
        flat = np.frombuffer(packed, np.uint8)
        return _unpack_pairs(flat)[:count] if levels == 16 else flat

    def _decompress(self, payload: bytes, expected: int) -> bytes:
        # zstandard ignores max_output_size when the frame states its own size: ask the frame first.
        try:
            announced = zstandard.frame_content_size(payload)
            if announced != expected:
                raise WireError(f"zstd frame announces {announced} bytes, expected {expected}")
            return self._decompressor.decompress(payload, max_output_size=expected)
        except zstandard.ZstdError as error:
            raise WireError(f"payload is not a whole zstd frame: {error}") from error


def packed_bytes(count: int, levels: int) -> int:
    """Bytes of `count` symbols before entropy coding."""
    return (count + 1) // 2 if levels == 16 else count


def max_coded_bytes(count: int, levels: int) -> int:
    """The largest payload that `encode` ever makes: it stores what it cannot shrink."""
    return packed_bytes(count, levels)


def requantise_table(source: Quantisation, target: Symbols) -> UInt8Array:
    """All 256 values of a uint8 boundary tensor, requantised to the wire's coarser step.

    `table[q]` turns the head's integer output straight into symbols, without a float detour.
    """
    real = (np.arange(256) - source.zero_point) * source.scale
    symbols = np.rint(real / target.step) + target.zero_point
    table: UInt8Array = np.clip(symbols, 0, target.levels - 1).astype(np.uint8)
    return table


# Two symbols of a byte as one little-endian pair, low nibble first.
_PAIRS: NDArray[np.uint16] = (np.arange(256) & 15 | (np.arange(256) >> 4) << 8).astype("<u2")


def _pack_pairs(flat: UInt8Array) -> UInt8Array:
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    pairs = flat.view(_PAIRS.dtype)
    packed: UInt8Array = (pairs | (pairs >> 4)).astype(np.uint8)
    return packed


def _unpack_pairs(packed: UInt8Array) -> UInt8Array:
    return _PAIRS[packed].view(np.uint8)
