"""What happens to a cut's channels before they are quantised: nothing, an order, or a projection.

*Order*: channels sorted by the entropy of their symbols let each block of the entropy coder have
symbols of one kind. *Projection*: a 1x1 convolution onto the principal components of the channels
(Pearson 1901; Hotelling 1933), computed from calibration data; without the weakest of them it is a
bottleneck that needs no training. Both are constants of the head's and the tail's graphs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PLAIN", "Transform", "by_entropy", "principal"]

FloatArray = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """From a cut's tensor [N,C,...] to what is quantised, and back.

    `order` [C] lists the channels as they are sent. `components` [K,C] are orthonormal rows, `mean`
    [C] is taken off first. At most one of the two is there.
    """

    order: NDArray[np.int64] | None = None
    components: FloatArray | None = None
    mean: FloatArray | None = None

    def forward(self, values: FloatArray) -> FloatArray:
        """What crosses, [N,C or K,...]."""
        if self.order is not None:
            return np.take(values, self.order, axis=1)  # in C order, unlike an index
        if self.components is not None and self.mean is not None:
            flat = values.reshape(*values.shape[:2], -1) - self.mean[:, None]
            projected: FloatArray = np.matmul(self.components, flat)
            return projected.reshape(values.shape[0], -1, *values.shape[2:])
        return values

    def backward(self, sent: FloatArray) -> FloatArray:
        """The cut's tensor again, [N,C,...]; of a projection, what its components tell."""
        if self.order is not None:
            return np.take(sent, np.argsort(self.order), axis=1)
        if self.components is not None and self.mean is not None:
            flat = sent.reshape(*sent.shape[:2], -1)
            values: FloatArray = np.matmul(self.components.T, flat) + self.mean[:, None]
            return values.reshape(sent.shape[0], -1, *sent.shape[2:])
        return sent

    def wire_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one item on the wire, of a cut tensor's [C,...]."""
        return shape if self.components is None else (len(self.components), *shape[1:])

    def extra_macs(self, shape: tuple[int, ...]) -> int:
        """Multiply-accumulates for one item that a projection adds on *each* side."""
        if self.components is None:
            return 0
        positions = int(np.prod(shape[1:]))
        return self.components.size * positions

    def described(self, shape: tuple[int, ...]) -> str:
        """In words, for the report."""
        if self.order is not None:
            return "channels sorted by entropy"
        if self.components is not None:
            return f"PCA {shape[0]} -> {len(self.components)} channels"
        return "as it is"


PLAIN = Transform()


def by_entropy(symbols: UInt8Array) -> Transform:
    """Channels of symbols [N,C,...] from the least to the greatest order-0 entropy."""
    channels = np.moveaxis(symbols, 1, 0).reshape(symbols.shape[1], -1)
    entropies = [_entropy(channel) for channel in channels]
    return Transform(order=np.argsort(entropies, kind="stable"))


def principal(values: FloatArray, kept_energy: float) -> Transform:
    """The components of values [N,C,...] that hold a share (0-1) of their variance."""
    channels = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1).astype(np.float64)
    mean = channels.mean(axis=1)
    variances, vectors = np.linalg.eigh(np.atleast_2d(np.cov(channels)))
    energy = np.cumsum(variances[::-1]) / max(float(variances.sum()), np.finfo(float).tiny)
    count = int(np.searchsorted(energy, kept_energy)) + 1
    components = vectors[:, ::-1].T[:count]
    return Transform(components=components.astype(np.float32), mean=mean.astype(np.float32))


def _entropy(symbols: UInt8Array) -> float:
    """Bits a symbol, order 0 (Shannon 1948)."""
    counts = np.bincount(symbols, minlength=256)
    shares = counts[counts > 0] / symbols.size
    return float(-(shares * np.log2(shares)).sum())
