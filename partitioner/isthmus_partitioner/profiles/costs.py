"""Node costs of a network on the plan's device and in its cloud, from profiles."""

import time
from functools import partial

from isthmus import ConfigError
from isthmus.profiles import DeviceProfile
from isthmus_partitioner.config import PlanConfig
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.planning.node_costs import FloatArray, NodeCosts
from isthmus_partitioner.profiles.node_times import node_ms, require_same_model
from isthmus_partitioner.runtime import all_cores, interleaved_ms, open_session
from isthmus_partitioner.samples import Samples

__all__ = ["node_costs"]

_ROUNDS = 7
_NETWORKS = {"fp32": "fp32", "int8": "head"}  # precision: the profile's name of the network


def node_costs(
    network: Network,
    here: DeviceProfile,
    edge: DeviceProfile | None,
    cloud: DeviceProfile | None,
    config: PlanConfig,
    items: Samples,
) -> NodeCosts:
    """Costs for `edge` and `cloud`, or for this machine where one of them is None.

    Without a profile of the device it is `config.edge_factor` times slower than this machine. The
    cloud's default is this machine with all cores, in which the whole network is timed with the
    first of `items`. ConfigError for profiles of another model, and for a profile with a factor.
    """
    require_same_model(edge, cloud, network)
    if edge is not None and (config.edge_factor != 1 or config.edge_network_ms is not None):
        raise ConfigError(
            "an edge profile says how slow the device is; leave --edge-factor and "
            "--edge-network-ms out, or --edge"
        )
    graph = network.model.graph
    times = {
        precision: node_ms(here, name, graph)
        for precision, name in _NETWORKS.items()
        if here.has(name)
    }
    if edge is None:
        factor = _factor(config, here)
        device = {precision: ms * factor for precision, ms in times.items()}
    else:
        device = {precision: node_ms(edge, _NETWORKS[precision], graph) for precision in times}
    there_bytes, here_bytes = (
        {p: profile.network(_NETWORKS[p]).memory_bytes for p in times}
        for profile in (edge or here, here)
    )
    in_cloud = _cloud(network, times["fp32"], cloud, items)
    return NodeCosts(times, device, in_cloud, there_bytes, here_bytes)


def _factor(config: PlanConfig, here: DeviceProfile) -> float:
    if config.edge_network_ms is None:
        return config.edge_factor
    return config.edge_network_ms / here.network("head" if here.has("head") else "fp32").ms


def _cloud(
    network: Network, fp32_ms: FloatArray, cloud: DeviceProfile | None, items: Samples
) -> FloatArray:
    if cloud is not None:
        return node_ms(cloud, "fp32", network.model.graph)
    feed = next(iter(items.feeds(network.inputs)))
    session = open_session(network.model, threads=all_cores())
    runs = {"whole": partial(session.run, None, feed)}
    whole_ms = interleaved_ms(runs, _ROUNDS, time.perf_counter)["whole"]
    scaled: FloatArray = fp32_ms * (whole_ms / fp32_ms.sum())
    return scaled
