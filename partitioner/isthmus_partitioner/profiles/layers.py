"""Layer by layer: what the network costs on this machine, in fp32 and in int8.

Layer times do not add up to the time of a network (runtimes fuse, profilers distort), so the
profile only *proposes* cuts: each node's 25th percentile over many profiled runs is charged to a
node of the original graph, and the sums are scaled to whole networks that were timed unprofiled.
"""

import re
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from isthmus import describe_machine
from isthmus_partitioner.config import PictureSets, Progress, UInt8Array
from isthmus_partitioner.cuts.one_tensor import MAC_OPS, tensor_shapes
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.precision.mixed import Quantised
from isthmus_partitioner.runtime import interleaved_ms, open_session, session_options

__all__ = ["Anchors", "CutRow", "NodeRow", "Profile", "profile"]

_RUNS = 20
_ROUNDS = 12
_PERCENTILE = 25  # of a node's times: means were 30 % off on a busy machine

FloatArray = NDArray[np.float64]


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the network; a node that was fused into another has 0 ms.

    `shape` is of one item's output; `int8_ms` is None where there is no int8 network.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    macs: int
    fp32_ms: float
    int8_ms: float | None


class CutRow(msgspec.Struct, frozen=True, kw_only=True):
    """One one-tensor cut: `head_ms` for all before it in the chosen precision, `tail_ms` fp32."""

    tensor: str
    shape: tuple[int, ...]
    macs_share: float
    tensor_bytes: int
    head_ms: float
    tail_ms: float


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Measured times of a network on one machine, one thread, one picture.

    `fp32_ms`, `int8_ms` and `head_ms` are whole networks, timed as such; node times are scaled
    so that they add up to those. `head_ms` is the chosen mix of precisions.
    """

    machine: str
    model_sha256: str
    input_bytes: int
    fp32_ms: float
    int8_ms: float | None
    head_ms: float
    head_name: str
    nodes: tuple[NodeRow, ...]
    cuts: tuple[CutRow, ...]


def profile(
    network: Network,
    quantised: Quantised,
    pictures: PictureSets,
    progress: Progress,
) -> Profile:
    """Profile every layer in fp32 and int8, and what lies before each one-tensor cut."""
    picture = pictures.fitted[:1]
    progress(f"profiling {len(network.model.graph.node)} nodes in fp32 and int8, {_RUNS} runs each")
    models = {"fp32": network.model, "head": quantised.head}
    if quantised.int8 is not None:
        models["int8"] = quantised.int8
    whole_ms = _whole_networks_ms(models, network.input.name, picture)
    node_ms = {
        name: _scaled(_node_ms(model, network, picture), whole_ms[name])
        for name, model in models.items()
    }
    return Profile(
        machine=describe_machine(),
        model_sha256=network.sha256,
        input_bytes=network.input.nbytes,
        fp32_ms=whole_ms["fp32"],
        int8_ms=whole_ms.get("int8"),
        head_ms=whole_ms["head"],
        head_name=quantised.chosen.name,
        nodes=tuple(_node_rows(network, node_ms["fp32"], node_ms.get("int8"))),
        cuts=tuple(_cut_rows(network, node_ms["head"], node_ms["fp32"])),
    )


def _whole_networks_ms(
    models: dict[str, onnx.ModelProto], input_name: str, picture: UInt8Array
) -> dict[str, float]:
    sessions = {name: open_session(model, threads=1) for name, model in models.items()}
    feeds = {input_name: picture}
    runs = {name: partial(session.run, None, feeds) for name, session in sessions.items()}
    return interleaved_ms(runs, _ROUNDS, time.thread_time)


def _node_ms(model: onnx.ModelProto, network: Network, picture: UInt8Array) -> FloatArray:
    """Time charged to each node of the original network, in its order."""
    anchors = Anchors(network.model.graph)
    charged = np.zeros(len(network.model.graph.node))
    waiting = 0.0
    last = 0
    for name, op_type, taken_ms in _profiled(model, network.input.name, picture):
        anchor = anchors.find(name, op_type)
        waiting += taken_ms
        if anchor is not None:
            # Reorders and transposes of the runtime's own are charged to the next layer.
            charged[anchor] += waiting
            waiting, last = 0.0, anchor
    charged[last] += waiting
    return charged


def _scaled(times: FloatArray, whole_ms: float) -> FloatArray:
    total = times.sum()
    return times * (whole_ms / total) if total > 0 else times


class _Event(msgspec.Struct):
    """What is read of one event of ONNX Runtime's profile; `dur` in microseconds."""

    name: str
    cat: str
    dur: int = 0
    args: dict[str, object] = {}


def _profiled(
    model: onnx.ModelProto, input_name: str, picture: UInt8Array
) -> Iterator[tuple[str, str, float]]:
    """Name, op and 25th percentile in ms of each node that ran, in the order of running."""
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        options = session_options(1)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = open_session(model, threads=1, options=options)
        for _ in range(_RUNS):
            session.run(None, {input_name: picture})
        events = msgspec.json.decode(Path(session.end_profiling()).read_bytes(), type=list[_Event])
    times: dict[tuple[str, str, object], list[int]] = {}
    for event in events:
        if event.cat == "Node" and event.name.endswith("_kernel_time"):
            name = event.name.removesuffix("_kernel_time")
            key = (name, str(event.args.get("op_name")), event.args.get("node_index"))
            times.setdefault(key, []).append(event.dur)
    for (name, op_type, _), taken in times.items():
        yield name, op_type, float(np.percentile(taken, _PERCENTILE)) / 1e3


class Anchors:
    """From the names that ONNX Runtime gives its fused nodes back to the original ones."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._nodes = list(graph.node)
        self._made_by = {name: i for i, node in enumerate(self._nodes) for name in node.output}
        self._index = self._made_by | {node.name: i for i, node in enumerate(self._nodes)}

    def find(self, name: str, op_type: str) -> int | None:
        """The index of the node that the time belongs to, None for one the runtime added.

        A fused layer may bear the name of its last tensor (Conv + Add + Clip); its time belongs
        to the layer.
        """
        index = next((self._index[n] for n in _spellings(name) if n in self._index), None)
        if index is not None and ("Conv" in op_type or "Gemm" in op_type or "MatMul" in op_type):
            return self._layer_behind(index)
        return index

    def _layer_behind(self, index: int) -> int:
        place = index
        for _ in range(4):  # a layer, its Add, its activation
            if self._nodes[place].op_type in MAC_OPS:
                return place
            before = [self._made_by[n] for n in self._nodes[place].input if n in self._made_by]
            if not before:
                break
            place = max(before)
        return index


_ADDED = re.compile(
    r"(_nchwc|_token_\d+|_QuantizeLinear|_DequantizeLinear|/duplicated|_quant|/\w+Fusion/?)$"
)


def _spellings(name: str) -> Iterator[str]:
    """The name, then without one suffix of the runtime after the other."""
    yield name
    while (shorter := _ADDED.sub("", name)) != name:
        name = shorter
        yield name


def _node_rows(
    network: Network, fp32_ms: FloatArray, int8_ms: FloatArray | None
) -> Iterator[NodeRow]:
    shapes = tensor_shapes(network.model.graph)
    for index, node in enumerate(network.model.graph.node):
        yield NodeRow(
            name=node.name,
            op=node.op_type,
            shape=shapes.get(node.output[0], ()),
            macs=network.macs[index],
            fp32_ms=float(fp32_ms[index]),
            int8_ms=None if int8_ms is None else float(int8_ms[index]),
        )


def _cut_rows(network: Network, head_ms: FloatArray, fp32_ms: FloatArray) -> Iterator[CutRow]:
    for cut in network.cuts:
        yield CutRow(
            tensor=cut.tensor,
            shape=cut.shape,
            macs_share=cut.macs_share,
            tensor_bytes=int(np.prod(cut.shape)),
            head_ms=float(head_ms[: cut.node + 1].sum()),
            tail_ms=float(fp32_ms[cut.node + 1 :].sum()),
        )
