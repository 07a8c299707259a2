"""The ladder of a cut: the steps in which its tensor may cross.

Steps are shares of the values' standard deviation, about one bit a doubling. A step has 16 levels
where they hold nearly all values, else 256: two symbols a byte save a few percent of the bytes, and
clipping what reaches far costs much more in answers. The zero point is where clipping costs least,
so that a tensor behind a ReLU or SiLU wastes no level on values that never come.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isthmus import Levels, Predictor, Quantisation, SymbolCoder, Symbols
from isthmus.prediction import predicted
from isthmus_partitioner.wire.transform import PLAIN, Transform, by_entropy

__all__ = ["best_order", "best_predictor", "step_encodings", "wire_ladder"]

FloatArray = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]
Indices = NDArray[np.intp]

# What 16 levels may add to the squared error by clipping. Measured: a tenth more already makes up
# to four times the KL, for 7 % fewer bytes.
_CLIPPING = 1.03
_SAMPLE = 20_000
_SIZED = 8  # items whose sizes decide
_ORDER_GAIN = 0.005  # an order of channels must save this share of the bytes
_PREDICTOR_GAIN = 0.03  # a predictor must save this share of the bytes
_LEAST_WIDTH = 28  # smaller maps have too few neighbours for one


def wire_ladder(
    values: FloatArray,
    steps: Sequence[float],
    source: Quantisation | None,
) -> tuple[Symbols, ...]:
    """Distinct encodings for values [n,*shape], the finest first; see `step_encodings`."""
    return tuple(dict.fromkeys(step_encodings(values, steps, source)))


def step_encodings(
    values: FloatArray, steps: Sequence[float], source: Quantisation | None
) -> tuple[Symbols, ...]:
    """One encoding of values [n,*shape] for each of `steps`, standard deviations in rising order.

    A step below that of the integers in hand (`source`) would carry nothing more: it is that one.
    """
    sigma = float(values.std(dtype=np.float64)) or 1e-6  # masks hold the least float32
    flat = values.reshape(-1)
    # An odd stride, so that no row length hides a column
    sample = np.sort(flat[:: flat.size // _SAMPLE | 1])
    least = 0.0 if source is None else source.scale
    # Both sides compute with the float32 that the plan holds.
    sizes = [float(np.float32(max(sigma * share, least))) for share in sorted(steps)]
    known = {step: _encoding(sample, step) for step in dict.fromkeys(sizes)}
    return tuple(known[step] for step in sizes)


def _encoding(sample: FloatArray, step: float) -> Symbols:
    fine, coarse = (_placed(sample, step, levels) for levels in _LEVELS)
    return coarse[0] if coarse[1] <= _CLIPPING * fine[1] else fine[0]


def best_order(symbols: UInt8Array, levels: Levels, *, blank: int = 0) -> Transform:
    """Channels of symbols [n,C,H,W] by entropy, if that makes them enough smaller; else as is.

    `blank` is the symbol of zero.
    """
    if symbols.ndim != 4:
        return PLAIN
    transform = by_entropy(symbols)
    assert transform.order is not None
    sized = symbols[:_SIZED]
    plain = _coded_bytes(sized, levels, blank)
    ordered = _coded_bytes(np.take(sized, transform.order, axis=1), levels, blank)
    return transform if ordered < (1 - _ORDER_GAIN) * plain else PLAIN


def best_predictor(symbols: UInt8Array, levels: Levels, *, blank: int = 0) -> Predictor:
    """The predictor that makes symbols [n,C,H,W] smallest, "none" unless it gains enough.

    `blank` is the symbol of zero.
    """
    if symbols.ndim != 4 or min(symbols.shape[2:]) < _LEAST_WIDTH:
        return "none"
    sized = symbols[:_SIZED]
    plain = _coded_bytes(sized, levels, blank)
    # Between neighbours the symbol that comes most is no difference.
    sizes = {name: _coded_bytes(predicted(sized, name, levels), levels, 0) for name in _PREDICTORS}
    best = min(_PREDICTORS, key=lambda name: sizes[name])
    return best if sizes[best] < (1 - _PREDICTOR_GAIN) * plain else "none"


_PREDICTORS: tuple[Predictor, ...] = ("left", "up")


def _coded_bytes(items: UInt8Array, levels: Levels, blank: int) -> int:
    coder = SymbolCoder()
    return sum(len(coder.encode(item, levels, blank=blank).data) for item in items)


_LEVELS: tuple[Levels, Levels] = (256, 16)


def _running(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the first 0, 1, 2 … values."""
    return np.concatenate(([0.0], np.cumsum(values)))


def _placed(sample: FloatArray, step: float, levels: Levels) -> tuple[Symbols, float]:
    """The encoding with the zero point of least squared error, and that error in squared steps.

    Of zero points that are equally good, the one that leaves both ends room in proportion to how
    far the values reach. `sample` is sorted: what is clipped at a zero point is then a beginning
    and an end of it, whose errors are differences of running sums.
    """
    scaled = (sample / np.float32(step)).astype(np.float64)
    rounded = np.rint(scaled)
    tried = np.unique(np.linspace(0, levels - 1, 64).round().astype(int))
    lowest, highest = -tried, levels - 1 - tried
    begin = np.searchsorted(rounded, lowest, "left")
    end = np.searchsorted(rounded, highest, "right")
    count, sums, squares = (_running(scaled**power) for power in range(3))
    inside = _running(np.square(rounded - scaled))

    def clipped(to: NDArray[np.int64], first: Indices, last: Indices) -> NDArray[np.float64]:
        """The sum of (to - value)^2 over the values from first to last."""
        n, total, square = (each[last] - each[first] for each in (count, sums, squares))
        return n * np.square(to) - 2 * to * total + square

    ends = np.full_like(end, len(scaled))
    errors = clipped(lowest, np.zeros_like(begin), begin) + clipped(highest, end, ends)
    errors = (errors + inside[end] - inside[begin]) / len(scaled)
    good = tried[errors <= errors.min() * (1 + 1e-3)]
    below, above = max(0.0, -rounded.min()), max(0.0, rounded.max())
    even = (levels - 1) * below / max(1.0, below + above)
    zero_point = int(good[np.abs(good - even).argmin()])
    return Symbols(levels=levels, step=step, zero_point=zero_point), float(errors.min())
