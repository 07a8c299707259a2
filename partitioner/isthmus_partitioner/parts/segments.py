"""The device's chain of segments, and what lies behind a cut, as ONNX models.

A chain holds a head network once: a cut is "run the first i segments", and the local remainder
after an outage is the rest. What lies behind is the rear of the *fp32* network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from isthmus import TensorSpec, left_to_answer
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.rewriting import OWN
from isthmus_partitioner.graph.surgery import (
    assemble,
    constant,
    initialisers,
    nodes_between,
    used_by,
)
from isthmus_partitioner.parts.arrivals import Arrival
from isthmus_partitioner.parts.boundary import Boundary, ChainCut, HeadGraph
from isthmus_partitioner.wire.transform import PLAIN, Transform

__all__ = ["SegmentModel", "device_chain", "tail_inputs", "tail_model", "whole_model"]


@dataclass(frozen=True, slots=True)
class SegmentModel:
    """One segment: what it reads of the inputs and of earlier segments, and what it makes."""

    model: onnx.ModelProto
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def device_chain(
    network: Network, head: HeadGraph, cuts: Sequence[ChainCut]
) -> tuple[SegmentModel, ...]:
    """The segments of `head`, divided at `cuts`, each of which nests in the next."""
    held = {spec.name: spec for spec in network.inputs}
    integers: dict[str, Boundary] = {}
    segments = []
    for cut in (*cuts, None):
        wanted = _wanted(network, cut)
        targets = {name: spec for name, spec in wanted.items() if name not in held}
        segments.append(_segment(network, head, held, integers, targets))
        held |= targets
        if cut is not None:
            integers |= {b.tensor.name: b for b in cut.boundaries if b.quantisation is not None}
    return tuple(segments)


def _wanted(network: Network, cut: ChainCut | None) -> dict[str, TensorSpec]:
    """What has to be there behind a segment: the cut's tensors and outputs, or all outputs."""
    if cut is None:
        return {spec.name: spec for spec in network.outputs}
    answers = {spec.name: spec for spec in network.outputs if spec.name in cut.cut.answers}
    return {boundary.name: boundary.spec for boundary in cut.boundaries} | answers


def _segment(
    network: Network,
    head: HeadGraph,
    held: Mapping[str, TensorSpec],
    integers: Mapping[str, Boundary],
    targets: Mapping[str, TensorSpec],
) -> SegmentModel:
    graph = head.model.graph
    constants = initialisers(graph)
    nodes = nodes_between(graph, held.keys() | integers.keys(), targets)
    used = {name for node in nodes for name in used_by(node)} | targets.keys()
    for name in sorted((used & integers.keys()) - held.keys()):
        values = _scale_and_zero_point(integers[name])
        constants |= values
        nodes.insert(0, _dequantise(integers[name], tuple(values)))
        used.add(integers[name].name)
    inputs = tuple(spec for name, spec in held.items() if name in used)
    outputs = tuple(targets.values())
    model = assemble(
        head.model,
        nodes,
        [network.info(spec) for spec in inputs],
        [network.info(spec) for spec in outputs],
        constants,
    )
    return SegmentModel(model, inputs, outputs)


def _dequantise(boundary: Boundary, scale_and_zero_point: tuple[str, ...]) -> onnx.NodeProto:
    return helper.make_node(
        "DequantizeLinear",
        [boundary.name, *scale_and_zero_point],
        [boundary.tensor.name],
        name=f"{OWN}DequantizeLinear_{boundary.tensor.name}",
    )


def _scale_and_zero_point(boundary: Boundary) -> dict[str, onnx.TensorProto]:
    known = boundary.quantisation
    assert known is not None
    values: dict[str, NDArray[np.generic]] = {
        f"{OWN}scale_{boundary.tensor.name}": np.asarray(known.scale, np.float32),
        f"{OWN}zero_point_{boundary.tensor.name}": np.asarray(known.zero_point, np.uint8),
    }
    return {name: constant(name, value) for name, value in values.items()}


def whole_model(network: Network) -> onnx.ModelProto:
    """The whole fp32 network, fed with the model's inputs: what lies behind `input`."""
    graph = network.model.graph
    infos = [network.info(spec) for spec in network.inputs]
    outputs = [network.info(spec) for spec in network.outputs]
    nodes = nodes_between(graph, [], [info.name for info in outputs])
    return assemble(network.model, nodes, infos, outputs, initialisers(graph))


def tail_inputs(boundaries: Sequence[Boundary]) -> tuple[tuple[str, ...], ...]:
    """For each tensor of a cut, the names of the tail's inputs in order.

    Symbols, step and zero point where it is quantised, else the tensor itself.
    """
    return tuple(
        tuple(f"{OWN}{what}_{index}" for what in ("symbols", "step", "zero_point"))
        if boundary.is_quantised
        else (boundary.tensor.name,)
        for index, boundary in enumerate(boundaries)
    )


def tail_model(
    network: Network,
    cut: ChainCut,
    transforms: Sequence[Transform] | None = None,
    biases: Mapping[int, NDArray[np.float32]] | None = None,
) -> onnx.ModelProto:
    """The fp32 network behind a cut, without the outputs that the head has computed.

    Inputs are those of `tail_inputs`: symbols uint8 [N,*wire shape], step float32 and zero point
    uint8, both scalars. Transforms are undone, then `biases` (by place in the cut) are added. Plans
    are measured with it; a bundle has the same as `entry_model` and parts.
    """
    graph = network.model.graph
    outputs = left_to_answer(network.outputs, cut.cut.answers)
    names = [boundary.tensor.name for boundary in cut.boundaries]
    rear = nodes_between(graph, names, [spec.name for spec in outputs])
    constants = initialisers(graph)
    plain = transforms or [PLAIN] * len(names)
    nodes: list[onnx.NodeProto] = []
    inputs: list[onnx.ValueInfoProto] = []
    for index, (boundary, feeds) in enumerate(
        zip(cut.boundaries, tail_inputs(cut.boundaries), strict=True)
    ):
        if boundary.is_quantised:
            bias = None if biases is None else biases.get(index)
            arrival = Arrival(boundary, plain[index], bias, feeds)
            nodes += arrival.nodes(index, constants)
            inputs += [network.info(arrival.symbols), *_scalars(feeds)]
        else:
            inputs.append(network.info(boundary.tensor))
    infos = [network.info(spec) for spec in outputs]
    return assemble(network.model, nodes + rear, inputs, infos, constants)


def _scalars(feeds: Sequence[str]) -> tuple[onnx.ValueInfoProto, onnx.ValueInfoProto]:
    _, step, zero_point = feeds
    return (
        helper.make_tensor_value_info(step, TensorProto.FLOAT, []),
        helper.make_tensor_value_info(zero_point, TensorProto.UINT8, []),
    )
