"""How few bytes symbols can take: order-0 entropy, over all and channel by channel.

Entropy is counted without the bytes of the tables, which a real coder has to send or to know.
"""

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import ConfigError

__all__ = ["channel_order0_bytes", "order0_bytes", "static_channel_order0_bytes"]

UInt8Array = NDArray[np.uint8]
Counts = NDArray[np.int64]

_VALUES = 256
_POOLED_WEIGHT = 32.0  # symbols' worth of trust in what all channels have in common


def order0_bytes(symbols: UInt8Array) -> float:
    """Entropy of one item's own histogram, times its symbols (Shannon 1948)."""
    return _entropy_bytes(np.bincount(symbols.reshape(-1), minlength=_VALUES))


def channel_order0_bytes(symbols: UInt8Array) -> float:
    """The same with a histogram for each channel of one item [C,...].

    Small maps make this too good to reach: 49 symbols of a channel have at most 5.6 bits each.
    """
    return _entropy_bytes(_channel_counts(symbols[np.newaxis])[0])


def static_channel_order0_bytes(items: UInt8Array, learnt_from: UInt8Array) -> float:
    """Mean bytes of an item of [N,C,...] coded with one fixed table for each channel.

    The tables are learnt from other items [M,C,...], best those of calibration pictures; where a
    channel has shown little, the histogram of all channels fills in. It can be more than
    `order0_bytes`: a table learnt elsewhere fits less well. ConfigError if either holds no item
    or their shapes differ.
    """
    if not (len(items) and len(learnt_from)) or items.shape[1:] != learnt_from.shape[1:]:
        raise ConfigError(
            f"items {list(items.shape)}, tables learnt from {list(learnt_from.shape)}: "
            "give one item or more of each, of one shape"
        )
    counts, learnt = (_channel_counts(part).sum(axis=0) for part in (items, learnt_from))
    return _cross_bytes(counts, learnt) / len(items)


def _channel_counts(items: UInt8Array) -> Counts:
    """Histograms [N,C,256] of [N,C,...]."""
    count, channels = items.shape[:2]
    offsets = np.arange(count * channels).reshape(count * channels, 1) * _VALUES
    places = items.reshape(count * channels, -1) + offsets
    counts = np.bincount(places.reshape(-1), minlength=count * channels * _VALUES)
    return counts.reshape(count, channels, _VALUES)


def _entropy_bytes(counts: Counts) -> float:
    """Of histograms [...,256], each coded with itself."""
    totals = np.broadcast_to(counts.sum(axis=-1, keepdims=True), counts.shape)
    seen = counts > 0
    return float((counts[seen] * np.log2(totals[seen] / counts[seen])).sum() / 8)


def _cross_bytes(counts: Counts, learnt: Counts) -> float:
    """Bytes of symbols counted [C,256], coded with tables learnt from `learnt`."""
    pooled = learnt.sum(axis=0) + 1.0
    pooled /= pooled.sum()
    tables = (learnt + _POOLED_WEIGHT * pooled) / (
        learnt.sum(axis=1, keepdims=True) + _POOLED_WEIGHT
    )
    return float(-(counts * np.log2(tables)).sum() / 8)
