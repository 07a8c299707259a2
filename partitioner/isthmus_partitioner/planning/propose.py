"""From a profile to the few cuts that are worth building.

Every one-tensor cut gets a prediction: head and tail from the profile, bytes from the real codec
on calibration pictures. With one tensor a cut the least cost over all cuts *is* the minimal cut
of the graph, so looking at each is exact, and linear. Which of them are built decides the lower
envelope over bandwidth, of latency and of the period, for the finer and the coarser step alone
(the coarser always sends less; whether its answers are good enough is measured later).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from isthmus import Symbols
from isthmus_partitioner.config import PlanConfig, UInt8Array
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import assemble, initialisers, nodes_between, tensor_info
from isthmus_partitioner.parts.boundary import Boundary, boundaries
from isthmus_partitioner.planning.envelope import Offer, best_latency, best_period
from isthmus_partitioner.precision.mixed import Quantised
from isthmus_partitioner.profiles.layers import CutRow, Profile
from isthmus_partitioner.runtime import AnyArray, all_cores, open_session, run_batches
from isthmus_partitioner.wire.ladder import quantised, wire_ladder
from isthmus_partitioner.wire.through import forecast

__all__ = ["WireForecast", "activations", "edge_factor", "propose", "widest"]

FORECAST_STEPS = (0.25, 0.5)  # standard deviations: a finer step and a coarser one
_PICTURES = 6  # enough for a spread and a payload size; all cut tensors of them are held at once


class WireForecast(msgspec.Struct, frozen=True, kw_only=True):
    """One cut and wire encoding as predicted: times for the device of the plan, in ms."""

    tensor: str
    levels: int
    device_ms: float
    payload_bytes: float
    cloud_ms: float
    is_proposed: bool


def propose(
    network: Network,
    head: Quantised,
    profile: Profile,
    rivals: Sequence[Offer],
    pictures: UInt8Array,
    config: PlanConfig,
) -> tuple[tuple[Boundary, ...], tuple[WireForecast, ...]]:
    """At most `max_cuts` cuts in the network's order, and the forecast for every cut.

    `rivals` are the ways without a cut, which a cut has to beat somewhere; `pictures` those that
    ranges were fitted to.
    """
    known = boundaries(head.head, network.cuts)
    factor = edge_factor(config, profile.head_ms)
    finer: list[_Foreseen] = []
    coarser: list[_Foreseen] = []
    rows = {row.tensor: row for row in profile.cuts}
    values = activations(network, known, pictures[:_PICTURES])
    for boundary in known:
        real = values.pop(boundary.cut.tensor)
        ladder = wire_ladder(real, FORECAST_STEPS, boundary.quantisation)
        # One rung alone, where the integers in hand are coarse, is both.
        for foreseen, encoding in ((finer, ladder[0]), (coarser, ladder[-1])):
            offer = _forecast(
                rows[boundary.cut.tensor], encoding, quantised(real, encoding), factor
            )
            foreseen.append(_Foreseen(encoding, offer))
    groups = [[*rivals, *(each.offer for each in foreseen)] for foreseen in (finer, coarser)]
    chosen = widest(groups, {b.cut.tensor for b in known}, config.max_cuts)
    proposals = tuple(b for b in known if b.cut.tensor in chosen)
    return proposals, tuple(_forecasts((*finer, *coarser), chosen))


@dataclass(frozen=True, slots=True)
class _Foreseen:
    encoding: Symbols
    offer: Offer


def edge_factor(config: PlanConfig, head_ms: float) -> float:
    """How many times slower than this machine the device is."""
    if config.edge_network_ms is None:
        return config.edge_factor
    return config.edge_network_ms / head_ms


def activations(
    network: Network, wanted: Sequence[Boundary], pictures: UInt8Array
) -> dict[str, NDArray[np.float32]]:
    """The fp32 network's values [n,*shape] at each boundary."""
    infos = [tensor_info(b.cut.tensor, "float32", b.cut.shape) for b in wanted]
    graph = network.model.graph
    nodes = nodes_between(graph, [], [info.name for info in infos])
    model = assemble(network.model, nodes, graph.input, infos, initialisers(graph))
    if not infos:
        return {}
    session = open_session(model, threads=all_cores())
    feeds: dict[str, AnyArray] = {network.input.name: pictures}
    results = run_batches(session, feeds)
    return {info.name: r.astype(np.float32) for info, r in zip(infos, results, strict=True)}


def widest(groups: list[list[Offer]], cuts: set[str], most: int) -> set[str]:
    """The `most` cuts that are best over the widest ranges of bandwidth, counted in octaves."""
    octaves = dict.fromkeys(sorted(cuts), 0.0)
    for offers in groups:
        for spans in (best_latency(offers), best_period(offers)):
            for name in spans.keys() & cuts:
                octaves[name] += sum(span.octaves for span in spans[name])
    ranked = sorted((name for name in octaves if octaves[name] > 0), key=lambda n: -octaves[n])
    return set(ranked[:most])


def _forecast(row: CutRow, encoding: Symbols, symbols: UInt8Array, factor: float) -> Offer:
    wire = forecast(symbols, encoding)
    device_ms = (row.head_ms + wire.encode_ms) * factor
    return Offer(row.tensor, device_ms, wire.payload_bytes, row.tail_ms + wire.decode_ms)


def _forecasts(foreseen: Iterable[_Foreseen], chosen: set[str]) -> Iterator[WireForecast]:
    for each in foreseen:
        yield WireForecast(
            tensor=each.offer.id,
            levels=each.encoding.levels,
            device_ms=each.offer.device_ms,
            payload_bytes=each.offer.payload_bytes,
            cloud_ms=each.offer.cloud_ms,
            is_proposed=each.offer.id in chosen,
        )
