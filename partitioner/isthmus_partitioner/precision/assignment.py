"""Which groups run in fp32: for a price of damage, an exact minimum over all mixes.

A mix costs the times of its groups, the conversions between groups of different precision, and its
damage at a price in ms. With costs of single groups and of pairs that differ, the cheapest mix is a
minimum s-t cut (Greig, Porteous and Seheult, "Exact maximum a posteriori estimation for binary
images", 1989): groups on the side of the source run in fp32. A rising price walks along the
front of time against damage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

__all__ = ["Trade", "cheapest"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]

_TOTAL = 10**8  # units of capacity: float capacities return wrong cuts


@dataclass(frozen=True, slots=True, eq=False)
class Trade:
    """What is known of each group before mixes are built: times in ms and damage in int8.

    `borders` holds what a change of precision between two groups costs, in ms. A `damage` of
    infinity keeps a group in fp32.
    """

    fp32_ms: FloatArray
    int8_ms: FloatArray
    damage: FloatArray
    borders: Mapping[tuple[int, int], float]

    def predicted_ms(self, fp32: frozenset[int]) -> float:
        """The time of the mix with these groups in fp32."""
        is_fp32 = np.isin(np.arange(len(self.fp32_ms)), sorted(fp32))
        crossed = sum(ms for (a, b), ms in self.borders.items() if is_fp32[a] != is_fp32[b])
        return float(np.where(is_fp32, self.fp32_ms, self.int8_ms).sum()) + crossed


def cheapest(trade: Trade, price: float) -> frozenset[int]:
    """The groups in fp32 of the mix with the least time + price * damage; price in ms."""
    count = len(trade.fp32_ms)
    source, sink = count, count + 1
    must_stay = ~np.isfinite(trade.damage)
    as_int8 = trade.int8_ms + price * np.where(must_stay, 0, trade.damage)
    # Only differences matter, and capacities must not be negative.
    least = np.minimum(as_int8, trade.fp32_ms)
    in_int8, in_fp32 = as_int8 - least, trade.fp32_ms - least
    total = float(in_int8.sum() + in_fp32.sum() + sum(trade.borders.values())) or 1.0
    edges = [(source, group, cost) for group, cost in enumerate(in_int8)]
    edges += [(group, sink, cost) for group, cost in enumerate(in_fp32)]
    for (a, b), ms in trade.borders.items():
        edges += [(a, b, ms), (b, a, ms)]
    edges += [(source, int(group), 2 * total) for group in np.flatnonzero(must_stay)]
    return _source_side(edges, _TOTAL / total, source, sink)


def _source_side(
    edges: Sequence[tuple[int, int, float]], scale: float, source: int, sink: int
) -> frozenset[int]:
    rows, columns, costs = zip(*edges, strict=True)
    capacities = np.round(np.asarray(costs) * scale).astype(np.int32)
    shape = (sink + 1, sink + 1)
    graph = csr_array(coo_array((capacities, (rows, columns)), shape=shape))
    flow = maximum_flow(graph, source, sink).flow
    left = csr_array(graph - flow)
    left.eliminate_zeros()
    reached = breadth_first_order(left, source, return_predecessors=False)
    return frozenset(int(node) for node in reached if node < source)
