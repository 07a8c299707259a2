"""What the fp32 network computes inside."""

from collections.abc import Mapping, Sequence

import onnx

from isthmus import TensorSpec
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import assemble, initialisers, nodes_between
from isthmus_partitioner.runtime import AnyArray, all_cores, open_session, run_items, run_one
from isthmus_partitioner.samples import Samples

__all__ = ["activations", "item_activations"]


def activations(
    network: Network, wanted: Sequence[TensorSpec], samples: Samples
) -> dict[str, AnyArray]:
    """The fp32 network's values [n,*shape] of tensors, an input among them being itself."""
    given = {spec.name for spec in network.inputs}
    inner = [spec for spec in wanted if spec.name not in given]
    found = {spec.name: samples.arrays[spec.name] for spec in wanted if spec.name in given}
    if not inner:
        return found
    session = open_session(_showing(network, inner), threads=all_cores())
    return found | run_items(session, samples.feeds(network.inputs), inner)


def item_activations(
    network: Network, wanted: Sequence[TensorSpec], feed: Mapping[str, AnyArray]
) -> dict[str, AnyArray]:
    """The same for a single item, in graph shapes, as `feed` holds the model's inputs."""
    inner = [spec for spec in wanted if spec.name not in feed]
    found = {spec.name: feed[spec.name] for spec in wanted if spec.name in feed}
    if not inner:
        return found
    names = [spec.name for spec in inner]
    session = open_session(_showing(network, inner), threads=all_cores())
    return found | dict(zip(names, run_one(session, feed, names), strict=True))


def _showing(network: Network, inner: Sequence[TensorSpec]) -> onnx.ModelProto:
    """What computes these tensors, with them as its outputs."""
    graph = network.model.graph
    nodes = nodes_between(graph, [], [spec.name for spec in inner])
    inputs = [network.info(spec) for spec in network.inputs]
    infos = [network.info(spec) for spec in inner]
    return assemble(network.model, nodes, inputs, infos, initialisers(graph))
