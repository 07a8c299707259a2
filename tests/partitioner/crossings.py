"""Cuts of an fp32 head as tails take them, without a plan."""

from collections.abc import Sequence

import numpy as np

from isthmus import CutTensor, Encoding, Lossless, Symbols
from isthmus_partitioner import Network, Samples
from isthmus_partitioner.cuts.cut import NetworkCut
from isthmus_partitioner.parts.arrivals import Arrival
from isthmus_partitioner.parts.boundary import Boundary, HeadGraph
from isthmus_partitioner.parts.tails import TailCut
from isthmus_partitioner.wire.stages import stage_is_needed, stage_of, wire_spec
from isthmus_partitioner.wire.transform import PLAIN, Transform

FINE = Symbols(levels=256, step=1 / 16, zero_point=40)


def crossing(
    network: Network, cut: NetworkCut, name: str, transforms: Sequence[Transform] = ()
) -> TailCut:
    """The tail's side of a cut, whose quantised tensors get a bias of 1/4, too."""
    at = HeadGraph(network, network.model).at(cut)
    assert at is not None
    how = tuple(transforms) or (PLAIN,) * len(at.boundaries)
    pairs = list(zip(at.boundaries, how, strict=True))
    tensors = tuple(_tensor(boundary, transform) for boundary, transform in pairs)
    bias = np.full((), 1 / 4, np.float32)
    arrivals = tuple(
        Arrival(boundary, transform, bias, tensor.feeds)
        for (boundary, transform), tensor in zip(pairs, tensors, strict=True)
        if boundary.is_quantised
    )
    rung: tuple[Encoding, ...] = tuple(
        FINE if boundary.is_quantised else Lossless() for boundary in at.boundaries
    )
    return TailCut(name, cut, tensors, arrivals, rung)


def _tensor(boundary: Boundary, transform: Transform) -> CutTensor:
    is_staged = stage_is_needed(boundary, transform)
    return CutTensor(
        boundary=boundary.spec,
        wire=wire_spec(boundary, transform),
        stage=stage_of(boundary, transform, "") if is_staged else None,
    )


def random_items(network: Network, count: int) -> Samples:
    """Noise from -4 to 4 for a network whose inputs are all floats."""
    random = np.random.default_rng(5)
    arrays = {
        spec.name: random.uniform(-4, 4, (count, *spec.shape)).astype(np.float32)
        for spec in network.inputs
    }
    return Samples(arrays, ("noise",) * count)
