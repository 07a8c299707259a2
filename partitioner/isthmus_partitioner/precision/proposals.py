"""Mixes worth building: what is known of each group, and the cheapest mixes at rising prices."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from isthmus_partitioner.config import Progress
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.precision.assignment import Trade, cheapest
from isthmus_partitioner.precision.bases import Base
from isthmus_partitioner.precision.group_times import Feed, borders, time_groups
from isthmus_partitioner.precision.groups import Group, coarser, fused_groups
from isthmus_partitioner.precision.sensitivity import Judge, damages

__all__ = ["Proposal", "Proposals", "measure_groups"]

MOST_GROUPS = 96  # whose sensitivity is measured; of larger networks neighbours are joined
# Times the price at which all damage weighs as much as all time.
_PRICES = (0.0, *(2.0 ** np.arange(-6, 10, 0.25)).tolist())
_FINER = 32  # prices between two


@dataclass(frozen=True, slots=True)
class Proposal:
    """The cheapest mix at a price in ms for one unit of damage; `fp32` are nodes."""

    price: float
    fp32: frozenset[int]
    predicted_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Answers with mixes of measured groups."""

    groups: tuple[Group, ...]
    trade: Trade

    def along_front(self, most: int) -> list[Proposal]:
        """At most so many, from the fastest to the most faithful, most of them fast."""
        total = self.trade.damage[np.isfinite(self.trade.damage)].sum()
        gained = np.abs(self.trade.fp32_ms - self.trade.int8_ms).sum()
        unit = float(gained / total) if total > 0 else 0.0
        return _thinned(self._different(price * unit for price in _PRICES), most)

    def between(self, one: Proposal, other: Proposal, most: int) -> list[Proposal]:
        """At most so many at prices in between, other than the two."""
        prices = np.linspace(one.price, other.price, _FINER)
        ends = (one.fp32, other.fp32)
        return _thinned((p for p in self._different(prices.tolist()) if p.fp32 not in ends), most)

    def _different(self, prices: Iterable[float]) -> Iterator[Proposal]:
        seen: set[frozenset[int]] = set()
        for price in prices:
            fp32 = cheapest(self.trade, price)
            if fp32 not in seen and len(fp32) < len(self.groups):
                seen.add(fp32)
                nodes = (node for index in fp32 for node in self.groups[index].nodes)
                yield Proposal(price, frozenset(nodes), self.trade.predicted_ms(fp32))


def measure_groups(
    network: Network, base: Base, judge: Judge, feed: Feed, progress: Progress
) -> Proposals:
    """Measure what each group gains, what conversions cost, and what each group harms."""
    groups = _few_groups(network)
    progress(f"profiling {len(groups)} fused groups in fp32 and int8")
    times = time_groups(network, base, groups, feed)
    damage = damages(judge, base, groups, progress)
    return Proposals(groups, Trade(times.fp32_ms, times.int8_ms, damage, times.borders_ms))


def _few_groups(network: Network) -> tuple[Group, ...]:
    groups = fused_groups(network.model.graph, network.macs)
    return coarser(groups, borders(network, groups), MOST_GROUPS)


def _thinned(proposals: Iterable[Proposal], most: int) -> list[Proposal]:
    """At most so many, by predicted time: each step on is longer than the one before."""
    found = sorted(proposals, key=lambda proposal: proposal.price)
    if len(found) <= most:
        return found
    first, last = found[0].predicted_ms, found[-1].predicted_ms
    targets = [first + (last - first) * (place / (most - 1)) ** 2 for place in range(most)]
    chosen: dict[float, Proposal] = {}
    for target in targets:
        left = [proposal for proposal in found if proposal.price not in chosen]
        nearest = min(left, key=lambda proposal: abs(proposal.predicted_ms - target))
        chosen[nearest.price] = nearest
    return [chosen[price] for price in sorted(chosen)]
