"""From what a device measured to what each node of the network costs there."""

from collections.abc import Iterable, Iterator

import numpy as np
import onnx
from numpy.typing import NDArray

from isthmus import ConfigError, RuntimeName
from isthmus.profiles import DeviceProfile, KernelTime, PrefixTime
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import nodes_between
from isthmus_partitioner.profiles.anchors import Anchors

__all__ = ["charged_ms", "node_ms", "require_same_model"]

FloatArray = NDArray[np.float64]


def node_ms(
    profile: DeviceProfile,
    name: str,
    graph: onnx.GraphProto,
    runtime: RuntimeName | None = None,
    shape: DeviceProfile | None = None,
) -> FloatArray:
    """What each node of `graph` (the fp32 network's) takes in the network `name`, in ms.

    On `runtime`; None: the one that is fastest for it. Which kernel takes which share only ONNX
    Runtime tells: if it was not measured on that device, `shape` is whose shares are taken.

    Kernels are charged to the nodes that they come from. Sums of kernels are not the time of a
    network, so the sums are scaled to the whole network and to each prefix that was timed as such:
    the cumulative time runs through all of them, monotone, and is linear in the kernels' own
    between two. Raises ConfigError if the profile has no such network.
    """
    network = profile.on(name, runtime)
    times = charged_ms(_kernels(name, profile, shape), graph)
    if not times.any():  # too quick for the profiler's clock
        times += 1
    rank = np.full(len(graph.node), -1)  # how many prefixes end before the node, -1: not said yet
    ends_ms: list[float] = []
    prefixes = [
        prefix
        for prefix in profile.prefixes
        if (prefix.network, prefix.runtime) == (name, network.runtime)
    ]
    for members, prefix in _nested(prefixes, graph):
        band = members & (rank < 0)
        if times[band].sum() > 0 and times[~members].sum() > 0:
            rank[band] = len(ends_ms)
            ends_ms.append(prefix.ms)
    rank[rank < 0] = len(ends_ms)
    ends = np.minimum(np.maximum.accumulate([*ends_ms, network.ms]), network.ms)
    spans_ms = np.diff(ends, prepend=0.0)
    sums_ms = np.bincount(rank, weights=times, minlength=len(ends))
    scales: FloatArray = np.divide(spans_ms, sums_ms, out=np.zeros(len(ends)), where=sums_ms > 0)
    times *= scales[rank]
    return times


def _kernels(name: str, *profiles: DeviceProfile | None) -> tuple[KernelTime, ...]:
    """Those of the first profile that has any."""
    for profile in profiles:
        for network in () if profile is None else profile.on_runtimes(name):
            if network.kernels:
                return network.kernels
    return ()


def charged_ms(kernels: Iterable[KernelTime], graph: onnx.GraphProto) -> FloatArray:
    """Each kernel's time at the node it comes from; the runtime's own at the next such node."""
    anchors = Anchors(graph)
    charged = np.zeros(len(graph.node))
    waiting, last = 0.0, 0
    for kernel in kernels:
        anchor = anchors.find(kernel.name, kernel.op)
        waiting += kernel.ms
        if anchor is not None:
            charged[anchor] += waiting
            waiting, last = 0.0, anchor
    charged[last] += waiting
    return charged


def _nested(
    prefixes: Iterable[PrefixTime], graph: onnx.GraphProto
) -> Iterator[tuple[NDArray[np.bool_], PrefixTime]]:
    """Which nodes each prefix has, the shortest first; one that crosses a shorter is left out."""
    place = {node.name: index for index, node in enumerate(graph.node)}
    found = []
    for prefix in prefixes:
        members = np.zeros(len(graph.node), np.bool_)
        members[[place[node.name] for node in nodes_between(graph, [], prefix.tensors)]] = True
        found.append((members, prefix))
    before = np.zeros(len(graph.node), np.bool_)
    for members, prefix in sorted(found, key=lambda each: int(each[0].sum())):
        if bool((members >= before).all()):
            before = members
            yield members, prefix


def require_same_model(
    edge: DeviceProfile | None, cloud: DeviceProfile | None, network: Network
) -> None:
    """ConfigError if one of the profiles was made of another model than the one to be planned."""
    for side, profile in (("edge", edge), ("cloud", cloud)):
        if profile is not None and profile.model_sha256 != network.sha256:
            raise ConfigError(
                f"the {side} profile is of the model {profile.model_name!r} (sha256 "
                f"{profile.model_sha256}), not of {network.path} (sha256 {network.sha256}); write "
                f"a kit with `isthmus profile --kit DIR {network.path}` and measure it on the "
                f"{side} side with `isthmus edge profile DIR -o FILE`"
            )
