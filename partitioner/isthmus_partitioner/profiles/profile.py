"""The profile of a network: what each of its nodes costs on the device, and in the cloud."""

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from isthmus.profiles import DeviceProfile
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import used_by
from isthmus_partitioner.planning.node_costs import NodeCosts
from isthmus_partitioner.profiles.runtime_choice import TITLES, RuntimeNote

__all__ = ["NodeRow", "Profile", "as_json", "profile_of"]


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the network; a node that was fused into another has 0 ms.

    `shape` is of one item's first output, `output_bytes` of all its outputs, the tensors `makes`;
    `reads` are the rows whose outputs it reads. Times hold for the plan's device, `cloud_ms` for
    the fp32 network in the cloud; `int8_ms` is the head's mix of precisions, None where it is fp32.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    macs: int
    output_bytes: int
    makes: tuple[str, ...]
    reads: tuple[int, ...]
    fp32_ms: float
    int8_ms: float | None
    cloud_ms: float


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What a network costs, for one item, in ms; `edge` and `cloud` say on what.

    Node times were scaled to whole networks and prefixes that were timed as such. `runtimes` says
    what each network takes on every runtime that was measured, and which of them runs it;
    `memory_bytes` is that of each network on that runtime.
    """

    edge: str
    cloud: str
    model_sha256: str
    input_bytes: int
    fp32_ms: float
    int8_ms: float | None
    cloud_ms: float
    head_name: str
    memory_bytes: dict[str, int]
    runtimes: tuple[RuntimeNote, ...]
    nodes: tuple[NodeRow, ...]
    notes: tuple[str, ...]


def as_json(profile: Profile) -> str:
    """Indented JSON."""
    return msgspec.json.format(msgspec.json.encode(profile), indent=1).decode()


def profile_of(
    network: Network,
    costs: NodeCosts,
    device: DeviceProfile,
    cloud: str,
    head_name: str,
    runtimes: Iterable[RuntimeNote] = (),
) -> Profile:
    """The profile of a network, from what was measured on `device`; `cloud` in words."""
    int8 = costs.device.get("int8")
    notes = {note.network: note for note in runtimes}
    used = {name: note.runtime for name, note in notes.items()}
    return Profile(
        edge=_described(device),
        cloud=cloud,
        model_sha256=network.sha256,
        input_bytes=sum(spec.nbytes for spec in network.inputs),
        fp32_ms=float(costs.device["fp32"].sum()),
        int8_ms=None if int8 is None else float(int8.sum()),
        cloud_ms=float(costs.cloud.sum()),
        head_name=head_name,
        memory_bytes={
            times.name: device.on(times.name, used.get(times.name)).memory_bytes
            for times in device.networks
        },
        runtimes=tuple(notes.values()),
        nodes=tuple(_rows(network, costs.device["fp32"], int8, costs.cloud)),
        notes=device.notes,
    )


def _described(device: DeviceProfile) -> str:
    known = device.conditions
    threads = "1 thread" if known.threads == 1 else f"{known.threads} threads"
    runtimes = ", ".join(f"{TITLES[name]} {known.runtimes[name]}" for name in known.runtimes)
    return f"{known.device}, {threads}, {runtimes}"


def _rows(
    network: Network,
    fp32_ms: NDArray[np.float64],
    int8_ms: NDArray[np.float64] | None,
    cloud_ms: NDArray[np.float64],
) -> Iterator[NodeRow]:
    made_by: dict[str, int] = {}
    for index, node in enumerate(network.model.graph.node):
        specs = [network.tensors[name] for name in node.output if name in network.tensors]
        yield NodeRow(
            name=node.name,
            op=node.op_type,
            shape=specs[0].shape if specs else (),
            macs=network.macs[index],
            output_bytes=sum(spec.nbytes for spec in specs),
            makes=tuple(filter(None, node.output)),
            reads=tuple(sorted({made_by[name] for name in used_by(node) if name in made_by})),
            fp32_ms=float(fp32_ms[index]),
            int8_ms=None if int8_ms is None else float(int8_ms[index]),
            cloud_ms=float(cloud_ms[index]),
        )
        made_by |= dict.fromkeys(node.output, index)
