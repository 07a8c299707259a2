"""Tails outside the service: as the parts that a bundle has, and as one graph.

The bare loop and the engine's own times need them without anything of the service around them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx.compose import add_prefix

from isthmus import Bundle, Candidate, Symbols, TensorSpec

AnyArray = NDArray[np.generic]

__all__ = ["Tail", "TailSpec", "load_spec", "save_spec", "write_tail"]

_TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}  # of steps and zero points


class TailSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tail as files: its `parts` in their order, and the same as one graph, `whole`.

    `wires` are what crosses; `constants`, steps and zero points, are the same for every frame of
    the candidate. `outputs` are what the tail answers.
    """

    parts: tuple[str, ...]
    whole: str
    wires: tuple[TensorSpec, ...]
    constants: dict[str, float]
    outputs: tuple[str, ...]


class Tail:
    """Graphs in ONNX Runtime that run one after the other, with the settings of the service."""

    def __init__(self, spec: TailSpec, graphs: Sequence[str], threads: int) -> None:
        self._spec = spec
        self._sessions = [_session(path, threads) for path in graphs]
        self._ranks = {
            node.name: (len(node.shape), _TYPES[node.type])
            for session in self._sessions
            for node in session.get_inputs()
            if node.name in spec.constants
        }

    def answer(self, raw: bytes) -> bytes:
        """Raw wire tensors of one frame to the raw outputs, one after the other."""
        outputs = self.run(self.feeds([raw]))
        return b"".join(np.ascontiguousarray(output).tobytes() for output in outputs)

    def feeds(self, raws: Sequence[bytes]) -> dict[str, AnyArray]:
        """A batch of frames as the graphs' inputs."""
        feeds: dict[str, AnyArray] = {}
        start = 0
        for wire in self._spec.wires:
            end = start + wire.nbytes
            rows = [_tensor(raw[start:end], wire) for raw in raws]
            axis = wire.batch_axis
            feeds[wire.name] = rows[0] if axis is None else np.concatenate(rows, axis)
            start = end
        for name, value in self._spec.constants.items():
            rank, kind = self._ranks[name]
            feeds[name] = np.full((len(raws),) * rank, value, kind)
        return feeds

    def run(self, feeds: Mapping[str, AnyArray]) -> list[AnyArray]:
        """The spec's outputs."""
        values = dict(feeds)
        for session in self._sessions:
            names = [node.name for node in session.get_outputs()]
            inputs = {node.name: values[node.name] for node in session.get_inputs()}
            values |= zip(names, session.run(names, inputs), strict=True)
        return [values[name] for name in self._spec.outputs]


def write_tail(bundle: Bundle, candidate: Candidate, folder: Path) -> TailSpec:
    """The tail of a candidate, and below `folder` the one graph that it makes."""
    cut = bundle.manifest.cut_of(candidate)
    parts = [bundle.file(name) for name in cut.tail]
    outputs = [spec for spec in bundle.manifest.outputs if spec.name not in cut.answers]
    whole = folder / f"tail-{candidate.id}.onnx"
    onnx.save(_joined(parts, [spec.name for spec in outputs]), whole)
    constants: dict[str, float] = {}
    for tensor, encoding in zip(cut.tensors, candidate.encodings, strict=True):
        if isinstance(encoding, Symbols):
            _, step, zero_point = tensor.feeds
            constants |= {step: encoding.step, zero_point: float(encoding.zero_point)}
    return TailSpec(
        parts=tuple(str(path) for path in parts),
        whole=str(whole),
        wires=tuple(tensor.wire for tensor in cut.tensors),
        constants=constants,
        outputs=tuple(spec.name for spec in outputs),
    )


def save_spec(spec: TailSpec, path: Path) -> None:
    """Write it for other processes."""
    path.write_bytes(msgspec.json.encode(spec))


def load_spec(path: str | Path) -> TailSpec:
    """What `save_spec` wrote."""
    return msgspec.json.decode(Path(path).read_bytes(), type=TailSpec)


def _tensor(raw: bytes, spec: TensorSpec) -> AnyArray:
    return np.frombuffer(raw, spec.data_type).reshape(spec.graph_shape)


def _session(path: str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # 8-bit products saturate on x86 without VNNI, unless weights are made uint8 as they are loaded.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _joined(parts: Sequence[Path], outputs: Sequence[str]) -> onnx.ModelProto:
    """Parts that hand each other tensors by name as one graph; inner names are kept apart."""
    models = [
        add_prefix(onnx.load(path), f"part-{index}/", rename_inputs=False, rename_outputs=False)
        for index, path in enumerate(parts)
    ]
    joined = onnx.ModelProto()
    joined.CopyFrom(models[0])
    graph = joined.graph
    for model in models[1:]:
        made = {value.name for value in graph.output} | {value.name for value in graph.input}
        graph.node.extend(model.graph.node)
        graph.initializer.extend(model.graph.initializer)
        graph.input.extend(value for value in model.graph.input if value.name not in made)
        graph.output.extend(model.graph.output)
        known = {opset.domain for opset in joined.opset_import}
        joined.opset_import.extend(o for o in model.opset_import if o.domain not in known)
    wanted = {value.name: value for value in graph.output}
    del graph.output[:]
    graph.output.extend(wanted[name] for name in outputs)
    del graph.value_info[:]
    onnx.checker.check_model(joined)
    return joined
