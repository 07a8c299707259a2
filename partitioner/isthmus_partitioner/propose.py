"""From a profile to the few cuts that are worth building.

Every one-tensor cut gets a prediction: head and tail from the profile, bytes from the real codec
on calibration pictures. With one tensor a cut the least cost over all cuts *is* the minimal cut
of the graph, so looking at each is exact, and linear. Which of them are built decides the lower
envelope over bandwidth, of latency and of the period, for the finer and the coarser step alone
(the coarser always sends less; whether its answers are good enough is measured later).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from isthmus import Symbols, TensorSpec
from isthmus_partitioner.boundary import Boundary, boundaries, quantised, wire_ladder
from isthmus_partitioner.config import PlanConfig, UInt8Array
from isthmus_partitioner.envelope import Offer, best_latency, best_period
from isthmus_partitioner.network import Network
from isthmus_partitioner.precision import Quantised
from isthmus_partitioner.profiling import CutRow, Profile
from isthmus_partitioner.runtime import AnyArray, all_cores, open_session, run_batches
from isthmus_partitioner.surgery import assemble, initialisers, nodes_between, tensor_info
from isthmus_partitioner.wire import through_the_wire

__all__ = ["Proposal", "WireForecast", "activations", "edge_factor", "propose", "widest"]

_PICTURES = 6  # enough for a spread and a payload size; all cut tensors of them are held at once


class WireForecast(msgspec.Struct, frozen=True, kw_only=True):
    """One cut and wire encoding as predicted: times for the device of the plan, in ms."""

    tensor: str
    levels: int
    device_ms: float
    payload_bytes: float
    cloud_ms: float
    is_proposed: bool


@dataclass(frozen=True, slots=True)
class Proposal:
    """A cut to be built, with its two wire encodings."""

    boundary: Boundary
    ladder: tuple[Symbols, Symbols]


def propose(
    network: Network,
    head: Quantised,
    profile: Profile,
    rivals: Sequence[Offer],
    pictures: UInt8Array,
    config: PlanConfig,
) -> tuple[tuple[Proposal, ...], tuple[WireForecast, ...]]:
    """At most `max_cuts` cuts in the network's order, and the forecast for every cut.

    `rivals` are the ways without a cut, which a cut has to beat somewhere; `pictures` those that
    ranges were fitted to.
    """
    known = boundaries(head.head, network.cuts, head.ranges)
    factor = edge_factor(config, profile.head_ms)
    ladders: dict[str, tuple[Symbols, Symbols]] = {}
    offers: dict[int, list[Offer]] = {256: [], 16: []}
    rows = {row.tensor: row for row in profile.cuts}
    values = activations(network, known, pictures[:_PICTURES])
    for boundary in known:
        tensor = boundary.cut.tensor
        ladders[tensor] = wire_ladder(values[tensor], boundary.quantisation)
        symbols = quantised(values.pop(tensor), boundary.quantisation)
        for encoding in ladders[tensor]:
            offer = _forecast(rows[tensor], boundary, encoding, symbols, factor)
            offers[encoding.levels].append(offer)
    groups = [[*rivals, *ladder] for ladder in offers.values()]
    chosen = widest(groups, set(ladders), config.max_cuts)
    proposals = (Proposal(b, ladders[b.cut.tensor]) for b in known if b.cut.tensor in chosen)
    return tuple(proposals), tuple(_forecasts(offers, chosen))


def edge_factor(config: PlanConfig, head_ms: float) -> float:
    """How many times slower than this machine the device is."""
    if config.edge_network_ms is None:
        return config.edge_factor
    return config.edge_network_ms / head_ms


def activations(
    network: Network, wanted: tuple[Boundary, ...], pictures: UInt8Array
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


def _forecast(
    row: CutRow, boundary: Boundary, encoding: Symbols, symbols: UInt8Array, factor: float
) -> Offer:
    spec = TensorSpec(name=boundary.symbols, data_type="uint8", shape=boundary.cut.shape)
    _, wire = through_the_wire(symbols, spec, encoding, boundary.quantisation)
    device_ms = (row.head_ms + wire.encode_ms) * factor
    return Offer(row.tensor, device_ms, wire.payload_bytes, row.tail_ms + wire.decode_ms)


def _forecasts(offers: dict[int, list[Offer]], chosen: set[str]) -> Iterator[WireForecast]:
    for levels, ladder in offers.items():
        for offer in ladder:
            yield WireForecast(
                tensor=offer.id,
                levels=levels,
                device_ms=offer.device_ms,
                payload_bytes=offer.payload_bytes,
                cloud_ms=offer.cloud_ms,
                is_proposed=offer.id in chosen,
            )
