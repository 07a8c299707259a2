"""How far a mean over some items can be from the mean over all items like them.

Two intervals of 95 %, of which the union is given:

* Wilson's score interval for a share of n independent items (E. B. Wilson, "Probable inference,
  the law of succession, and statistical inference", JASA 22, 1927), which is sound near 0 and 1,
  where agreement lies. For values between 0 and 1 that are not a share, as F1 is, it is on the
  safe side: their variance is at most that of a share of the same mean.
* The cluster bootstrap (Davison and Hinkley, "Bootstrap Methods and their Application", 1997,
  section 3.8): crops of one photograph fail together, so whole sources are drawn, with replacement,
  and the percentiles of the mean taken. Below five sources it means nothing and is left out: the
  interval is then that of independent items, and too narrow.

Where all items agree, nothing is known of how sources differ, and Wilson's interval stands alone.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["interval_of_mean", "wilson"]

CONFIDENCE = 0.95
LEAST_SOURCES = 5
_DRAWS = 1000
_SEED = 0


def interval_of_mean(
    values: NDArray[np.float64], sources: Sequence[str] = ()
) -> tuple[float, float]:
    """Lowest and highest likely mean (0-1) of values [n] from 0 to 1; (0, 1) for no values.

    `sources` [n] names what each item was taken from; without them each is its own source.
    """
    low, high = wilson(float(values.mean()) if len(values) else 0.0, len(values))
    groups = np.unique(sources, return_inverse=True)[1] if sources else np.arange(len(values))
    sizes = np.bincount(groups)
    if len(sizes) < LEAST_SOURCES:
        return low, high
    least, most = _bootstrap(np.bincount(groups, values).astype(np.float64), sizes)
    return min(low, least), max(high, most)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's interval of a share (0-1) that was seen in `count` independent items."""
    if not count:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle = share + z * z / (2 * count)
    reach = z * sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z * z / count
    # At 0 and 1 the bounds are exact but for rounding.
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def _bootstrap(sums: NDArray[np.float64], sizes: NDArray[np.intp]) -> tuple[float, float]:
    """Percentiles of the mean when groups of these sums and sizes are drawn again and again."""
    count = len(sizes)
    random = np.random.default_rng(_SEED)
    drawn = random.multinomial(count, np.full(count, 1 / count), size=_DRAWS)
    means = (drawn @ sums) / (drawn @ sizes)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
