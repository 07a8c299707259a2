"""Node costs of a network on the plan's device and in its cloud, from profiles."""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from types import MappingProxyType

from isthmus import ConfigError, RuntimeName
from isthmus.profiles import DeviceProfile
from isthmus_partitioner.config import PlanConfig
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.planning.node_costs import ALL_INT8, FloatArray, NodeCosts
from isthmus_partitioner.profiles.node_times import node_ms, require_same_model
from isthmus_partitioner.runtime import all_cores, interleaved_ms, open_session
from isthmus_partitioner.samples import Samples

__all__ = ["node_costs"]

_ROUNDS = 7
# What profiles call the networks of chains.
_NETWORKS: Mapping[str, str] = MappingProxyType({"fp32": "fp32", "int8": "head", ALL_INT8: "int8"})
_WAY_OUT = (
    "install ONNX Runtime there (pip install 'isthmus[edge]'), which runs every network, and "
    "measure again with `isthmus edge profile KIT -o FILE`"
)


def node_costs(  # noqa: PLR0913, PLR0917  what is planned, for whom, and what is known of them
    network: Network,
    here: DeviceProfile,
    edge: DeviceProfile | None,
    cloud: DeviceProfile | None,
    config: PlanConfig,
    items: Samples,
    runtimes: Mapping[str, RuntimeName] = MappingProxyType({}),
    networks: Mapping[str, str] = _NETWORKS,
) -> NodeCosts:
    """Costs for `edge` and `cloud`, or for this machine where one of them is None.

    Without a profile of the device it is `config.edge_factor` times slower than this machine. The
    cloud's default is this machine with all cores, in which the whole network is timed with the
    first of `items`. `runtimes` says what the device runs a network of a profile on: ONNX Runtime,
    as here, if it is not there. `networks` are those of a profile, by precision and `ALL_INT8`; of
    those only what was measured here. ConfigError for profiles of another model, for a profile with
    a factor, and where the device has not measured what its heads run; `ALL_INT8` is left out then.
    """
    require_same_model(edge, cloud, network)
    if edge is not None and (config.edge_factor != 1 or config.edge_network_ms is not None):
        raise ConfigError(
            "an edge profile says how slow the device is; leave --edge-factor and "
            "--edge-network-ms out, or --edge"
        )
    graph = network.model.graph
    there = edge or here
    names = dict(_known(networks, runtimes, here, there))
    chosen = {name: runtimes.get(name, "onnxruntime") for name in names.values()}
    times = {p: node_ms(here, name, graph, "onnxruntime") for p, name in names.items()}
    factor = _factor(config, here, names, chosen) if edge is None else 1.0
    device = {p: node_ms(there, n, graph, chosen[n], here) * factor for p, n in names.items()}
    there_bytes = {p: there.on(n, chosen[n]).memory_bytes for p, n in names.items()}
    here_bytes = {p: here.on(n, "onnxruntime").memory_bytes for p, n in names.items()}
    paces = {p: factor * _pace(there, here, name, chosen[name]) for p, name in names.items()}
    in_cloud = _cloud(network, times["fp32"], cloud, items)
    return NodeCosts(times, device, in_cloud, there_bytes, here_bytes, paces)


def _known(
    networks: Mapping[str, str],
    runtimes: Mapping[str, RuntimeName],
    here: DeviceProfile,
    there: DeviceProfile,
) -> Iterator[tuple[str, str]]:
    """Those of `networks` that were measured here, and there on what shall run them."""
    for key, name in networks.items():
        runtime = runtimes.get(name, "onnxruntime")
        is_there = any(times.runtime == runtime for times in there.on_runtimes(name))
        if here.has(name) and is_there:
            yield key, name
        elif here.has(name) and key != ALL_INT8:
            has = ", ".join(f"{network.name} on {network.runtime}" for network in there.networks)
            raise ConfigError(
                f"the profile of {there.conditions.device} has no network {name!r} on {runtime}, "
                f"it has: {has}; {_WAY_OUT}"
            )


def _factor(
    config: PlanConfig,
    here: DeviceProfile,
    names: Mapping[str, str],
    chosen: Mapping[str, RuntimeName],
) -> float:
    if config.edge_network_ms is None:
        return config.edge_factor
    name = names.get("int8", "fp32")
    return config.edge_network_ms / here.on(name, chosen[name]).ms


def _pace(there: DeviceProfile, here: DeviceProfile, name: str, preferred: RuntimeName) -> float:
    """The ratio of two devices' times for a network, on a runtime that both have."""
    known = {times.runtime: times.ms for times in here.on_runtimes(name)}
    found = {times.runtime: times.ms for times in there.on_runtimes(name)}
    both = [runtime for runtime in found if known.get(runtime)]
    if not both:
        return there.on(name).ms / here.on(name).ms
    runtime = preferred if preferred in both else both[0]
    return found[runtime] / known[runtime]


def _cloud(
    network: Network, fp32_ms: FloatArray, cloud: DeviceProfile | None, items: Samples
) -> FloatArray:
    if cloud is not None:
        return node_ms(cloud, "fp32", network.model.graph, "onnxruntime")
    feed = next(iter(items.feeds(network.inputs)))
    session = open_session(network.model, threads=all_cores())
    runs = {"whole": partial(session.run, None, feed)}
    whole_ms = interleaved_ms(runs, _ROUNDS, time.perf_counter)["whole"]
    scaled: FloatArray = fp32_ms * (whole_ms / fp32_ms.sum())
    return scaled
