"""From node costs and tensor sizes to the few cuts that are worth building.

Candidates come from exact minimum cuts of the network's DAG, solved for *all* bandwidths at once,
for each precision of the head and for several steps of the wire; and from every place where one
tensor crosses, so that streams, whose slowest stage counts, have a choice, too. The lower envelope
over bandwidth, of latency and of the period, picks the more promising ones; these are probed for
the step that they really need, and the envelope at that step picks those that are built.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from isthmus import answer_bytes, left_to_answer
from isthmus_partitioner.cuts.cut import NetworkCut, cut_before
from isthmus_partitioner.cuts.dag import Costs
from isthmus_partitioner.cuts.network_dag import NetworkDag
from isthmus_partitioner.cuts.parametric import best_cuts
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.planning.envelope import (
    FASTEST_BPS,
    SLOWEST_BPS,
    Offer,
    best_latency,
    best_period,
)
from isthmus_partitioner.planning.node_costs import NodeCosts
from isthmus_partitioner.planning.probe import PROBED_STEPS, Probe
from isthmus_partitioner.planning.sizes import TensorSizes, exact_tensors

__all__ = ["Forecast", "Proposer", "best_at", "widest"]

_USUAL = 0.25  # a step that most cuts can afford
_PROBED = 3  # times as many cuts are probed as are built
_AT_LEAST = 2  # cuts that are built to show what splitting would cost, where none wins


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """One cut, head precision and wire step as predicted; times for the plan's device, in ms.

    `edge_ms` is the head without the encoder, `tail_ms` the tail without the decoder; `step` in
    standard deviations; `answer_bytes` come back. Where it was built, `cut` is its id in the plan.
    """

    tensors: tuple[str, ...]
    precision: str
    macs_share: float
    step: float
    edge_ms: float
    encode_ms: float
    payload_bytes: float
    decode_ms: float
    tail_ms: float
    answer_bytes: int
    cut: str | None = None

    @property
    def key(self) -> str:
        """Stands for the cut."""
        return "|".join(self.tensors)

    @property
    def offer(self) -> Offer:
        """As the envelope sees it."""
        device_ms, cloud_ms = self.edge_ms + self.encode_ms, self.decode_ms + self.tail_ms
        return Offer(self.key, device_ms, self.payload_bytes, cloud_ms, self.answer_bytes)


class Proposer:
    """Finds cuts of one network; `heads` by precision, `sizes` by tensor.

    `answer_top_k` as in `Goals`.
    """

    def __init__(
        self,
        network: Network,
        places: NetworkDag,
        heads: Mapping[str, HeadGraph],
        costs: NodeCosts,
        sizes: Mapping[str, TensorSizes],
        answer_top_k: int,
    ) -> None:
        self._network, self._places, self._heads = network, places, heads
        self._costs, self._sizes = costs, sizes
        self._answer_top_k = answer_top_k

    @property
    def preferred(self) -> str:
        """The precision that heads should have."""
        return next(iter(self._heads))

    def propose(
        self, rivals: Sequence[Offer], most: int, may_leave: float, probe: Probe
    ) -> tuple[tuple[NetworkCut, ...], tuple[Forecast, ...]]:
        """At most `most` cuts, the shallowest first, and the forecast for every cut looked at.

        `rivals` are the ways without a cut, which a cut has to beat somewhere. Heads with less than
        a share of `may_leave` of the multiply-accumulates are left out: nothing shallower may
        leave the device.
        """
        found: dict[str, NetworkCut] = {}
        forecasts: list[Forecast] = []
        for precision, head in self._heads.items():
            for cut in self._cuts(precision):
                if cut.macs_share >= may_leave and head.at(cut) is not None:
                    own = list(self._forecasts(cut, precision))
                    forecasts += own
                    found[own[0].key] = cut
        at_step = {step: _offers(f for f in forecasts if f.step == step) for step in PROBED_STEPS}
        promising = widest(
            [[*rivals, *offers.values()] for offers in at_step.values()], set(found), most * _PROBED
        )
        promising |= best_at(rivals, at_step[_USUAL], min(most, _AT_LEAST))
        needed = self._needed([found[key] for key in promising], probe)
        real = _offers(
            f for f in forecasts if f.key in promising and f.step == needed.get(found[f.key].head)
        )
        cuts = {found[key].head: found[key] for key in best_at(rivals, real, most)}
        return tuple(sorted(cuts.values(), key=lambda cut: len(cut.head))), tuple(forecasts)

    def _needed(self, cuts: Iterable[NetworkCut], probe: Probe) -> dict[frozenset[int], float]:
        """The step that each cut needs, by its head."""
        fp32 = HeadGraph(self._network, self._network.model, exact_tensors(self._sizes))
        needed: dict[frozenset[int], float] = {}
        for cut in cuts:
            at = fp32.at(cut)
            step = None if at is None or cut.head in needed else probe.step(at)
            if step is not None:  # else it cannot be run in two parts, as the probe notes
                needed[cut.head] = step
        return needed

    def _cuts(self, precision: str) -> Iterable[NetworkCut]:
        """The best somewhere, and all of one tensor; neither `input` nor `local`."""
        heads = {
            found.head
            for index in range(len(PROBED_STEPS))
            for found in best_cuts(
                self._places.dag,
                self._dag_costs(precision, index),
                slowest_bps=SLOWEST_BPS,
                fastest_bps=FASTEST_BPS,
            )
            if found.tensors and found.head
        }
        heads |= set(self._places.single_tensor_heads())
        cuts = (cut_before(self._network, self._places.in_network(head)) for head in heads)
        return sorted((c for c in cuts if 0 < c.macs_share < 1), key=lambda cut: len(cut.head))

    def _dag_costs(self, precision: str, index: int) -> Costs:
        nodes = list(self._places.nodes)
        wire = [self._sizes.get(tensor.name) for tensor in self._places.dag.tensors]
        pace = self._costs.pace(precision)
        return Costs(
            edge_ms=self._costs.device[precision][nodes],
            cloud_ms=self._costs.cloud[nodes],
            wire_bytes=np.array(
                [0.0 if s is None else s.by_step[index].payload_bytes for s in wire]
            ),
            wire_ms=np.array(
                [
                    0.0
                    if s is None
                    else s.by_step[index].encode_ms * pace + s.by_step[index].decode_ms
                    for s in wire
                ]
            ),
        )

    def _forecasts(self, cut: NetworkCut, precision: str) -> Iterator[Forecast]:
        pace = self._costs.pace(precision)
        asked = left_to_answer(self._network.outputs, cut.answers)
        for index, step in enumerate(PROBED_STEPS):
            wire = [self._sizes[spec.name].by_step[index] for spec in cut.tensors]
            yield Forecast(
                tensors=tuple(spec.name for spec in cut.tensors),
                precision=precision,
                macs_share=cut.macs_share,
                step=step,
                edge_ms=self._costs.device_ms(precision, cut.head),
                encode_ms=sum(figures.encode_ms for figures in wire) * pace,
                payload_bytes=sum(figures.payload_bytes for figures in wire),
                decode_ms=sum(figures.decode_ms for figures in wire),
                tail_ms=self._costs.cloud_ms(cut.head),
                answer_bytes=answer_bytes(asked, self._answer_top_k),
            )


def widest(groups: Sequence[Sequence[Offer]], cuts: set[str], most: int) -> set[str]:
    """The `most` cuts that are best over the widest ranges of bandwidth, counted in octaves."""
    octaves = dict.fromkeys(sorted(cuts), 0.0)
    for offers in groups:
        for spans in (best_latency(offers), best_period(offers)):
            for name in spans.keys() & cuts:
                octaves[name] += sum(span.octaves for span in spans[name])
    ranked = sorted((name for name in octaves if octaves[name] > 0), key=lambda n: -octaves[n])
    return set(ranked[:most])


def _offers(forecasts: Iterable[Forecast]) -> dict[str, Offer]:
    """By cut, with the head that is faster on the device."""
    best: dict[str, Offer] = {}
    for forecast in forecasts:
        offer = forecast.offer
        if forecast.key not in best or offer.device_ms < best[forecast.key].device_ms:
            best[forecast.key] = offer
    return best


def best_at(rivals: Sequence[Offer], offers: Mapping[str, Offer], most: int) -> set[str]:
    """The offers that win somewhere; if too few do, those that come nearest, too."""
    winners = widest([[*rivals, *offers.values()]], set(offers), most)
    missing = min(_AT_LEAST, most) - len(winners)
    rest = sorted(offers.keys() - winners, key=lambda key: _lag(offers[key], rivals))
    return winners | set(rest[: max(0, missing)])


def _lag(offer: Offer, rivals: Sequence[Offer]) -> float:
    """How many times longer a cut takes than the best rival, where it comes nearest."""
    grid = np.geomspace(SLOWEST_BPS, FASTEST_BPS, 31)
    return min(
        offer.latency_ms(bps) / min(rival.latency_ms(bps) for rival in rivals) for bps in grid
    )
