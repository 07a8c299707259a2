"""What the fp32 network computes inside."""

from collections.abc import Sequence

from isthmus import TensorSpec
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import assemble, initialisers, nodes_between, spec_info
from isthmus_partitioner.runtime import AnyArray, all_cores, open_session, run_items
from isthmus_partitioner.samples import Samples

__all__ = ["activations"]


def activations(
    network: Network, wanted: Sequence[TensorSpec], samples: Samples
) -> dict[str, AnyArray]:
    """The fp32 network's values [n,*shape] of tensors, an input among them being itself."""
    given = {spec.name for spec in network.inputs}
    inner = [spec for spec in wanted if spec.name not in given]
    found = {spec.name: samples.arrays[spec.name] for spec in wanted if spec.name in given}
    if not inner:
        return found
    graph = network.model.graph
    nodes = nodes_between(graph, [], [spec.name for spec in inner])
    inputs = [spec_info(spec, network.batches) for spec in network.inputs]
    infos = [spec_info(spec, network.batches) for spec in inner]
    model = assemble(network.model, nodes, inputs, infos, initialisers(graph))
    session = open_session(model, threads=all_cores())
    return found | run_items(session, samples.feeds(network.inputs), inner)
