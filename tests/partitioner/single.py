"""Cuts of one tensor, for networks of which a test knows where they lie."""

from isthmus_partitioner import Network
from isthmus_partitioner.cuts.cut import NetworkCut, cut_before
from isthmus_partitioner.cuts.network_dag import network_dag


def one_tensor_cuts(network: Network) -> dict[str, NetworkCut]:
    """By tensor, in order; those before the first or after the last layer left out."""
    places = network_dag(network)
    cuts = (cut_before(network, places.in_network(head)) for head in places.single_tensor_heads())
    return {cut.tensors[0].name: cut for cut in cuts if 0 < cut.macs_share < 1}
