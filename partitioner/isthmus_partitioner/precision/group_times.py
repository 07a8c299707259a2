"""What each group takes in fp32 and in int8, and what a change of precision costs between two.

ONNX Runtime's profile of single nodes distorts small ones, so its sums are scaled to networks that
were timed as wholes, and what conversions cost is taken from a whole network too: one in which
every other group is fp32.
"""

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from isthmus import KernelTime, kernels_of
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import used_by
from isthmus_partitioner.precision.bases import Base
from isthmus_partitioner.precision.groups import Group
from isthmus_partitioner.profiles.node_times import charged_ms
from isthmus_partitioner.runtime import (
    AnyArray,
    interleaved_ms,
    open_session,
    run_one,
    session_options,
)

__all__ = ["Feed", "GroupTimes", "borders", "time_groups", "time_models"]

_RUNS = 8
_ALL_ROUNDS_MS = 6000
_ROUNDS = (5, 15)

Feed = Mapping[str, AnyArray]
FloatArray = NDArray[np.float64]


def time_models(models: Mapping[str, onnx.ModelProto], feed: Feed) -> dict[str, float]:
    """Thread CPU time in ms of each whole network, which take turns; one thread."""
    runs = {
        name: partial(open_session(model, threads=1).run, None, feed)
        for name, model in models.items()
    }
    first_ms = interleaved_ms(runs, 1, time.thread_time)
    affordable = int(_ALL_ROUNDS_MS / max(sum(first_ms.values()), 1e-3))
    return interleaved_ms(runs, min(max(affordable, _ROUNDS[0]), _ROUNDS[1]), time.thread_time)


@dataclass(frozen=True, slots=True, eq=False)
class GroupTimes:
    """Times in ms by group, and of conversions between two groups of different precision."""

    fp32_ms: FloatArray
    int8_ms: FloatArray
    borders_ms: Mapping[tuple[int, int], float]


def time_groups(network: Network, base: Base, groups: Sequence[Group], feed: Feed) -> GroupTimes:
    """Time the groups of a network in both precisions."""
    int8 = base.mix()
    mixed = [index for index, group in enumerate(groups) if group.nodes & base.int8_nodes]
    striped = {index: place % 2 == 1 for place, index in enumerate(mixed)}
    stripes = frozenset(n for index in mixed if striped[index] for n in groups[index].nodes)
    whole = {"fp32": network.model, "int8": int8, "striped": base.mix(stripes)}
    whole_ms = time_models(whole, feed)
    fp32_ms, int8_ms = (
        _by_group(network, groups, _kernels(whole[name], name, feed), whole_ms[name])
        for name in ("fp32", "int8")
    )
    is_fp32 = [striped.get(index, True) for index in range(len(groups))]
    elements = borders(network, groups)
    sum_ms = float(np.where(is_fp32, fp32_ms, int8_ms).sum())
    # What int8 throughout converts anyway is in the groups' own times.
    new = sum(
        n
        for (a, b), n in elements.items()
        if a in striped and b in striped and is_fp32[a] != is_fp32[b]
    )
    element_ms = max(0.0, whole_ms["striped"] - sum_ms) / new if new else 0.0
    return GroupTimes(fp32_ms, int8_ms, {pair: n * element_ms for pair, n in elements.items()})


def borders(network: Network, groups: Sequence[Group]) -> dict[tuple[int, int], int]:
    """How many float values cross between each two groups."""
    graph = network.model.graph
    group_of = {node: index for index, group in enumerate(groups) for node in group.nodes}
    made_by = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    crossing: dict[tuple[int, int], int] = {}
    for index, node in enumerate(graph.node):
        for name in used_by(node) & made_by.keys() & network.tensors.keys():
            one, other = sorted((group_of[made_by[name]], group_of[index]))
            spec = network.tensors[name]
            if one != other and spec.data_type == "float32":
                crossing[one, other] = crossing.get((one, other), 0) + spec.size
    return crossing


def _by_group(
    network: Network,
    groups: Sequence[Group],
    kernels: Iterable[KernelTime],
    whole_ms: float,
) -> FloatArray:
    """The time of each group, adding up to that of the whole network."""
    by_node = charged_ms(kernels, network.model.graph)
    charged = np.array([by_node[sorted(group.nodes)].sum() for group in groups])
    total = float(charged.sum())
    return charged * (whole_ms / total) if total > 0 else charged


def _kernels(model: onnx.ModelProto, name: str, feed: Feed) -> tuple[KernelTime, ...]:
    """What each kernel of a network took by the runtime's own profiler."""
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        options = session_options(1)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = open_session(model, threads=1, options=options)
        for _ in range(_RUNS):
            run_one(session, feed, [info.name for info in model.graph.output])
        return kernels_of(Path(session.end_profiling()).read_bytes(), name)
