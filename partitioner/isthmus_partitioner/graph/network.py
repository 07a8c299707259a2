"""The network to be cut: an ONNX file that was read, checked, cleaned and tried out."""

import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError

from isthmus import ModelError, TensorSpec, sha256_of
from isthmus_partitioner.cuts.one_tensor import CutPoint, find_cuts, macs_of, tensor_shapes
from isthmus_partitioner.graph.surgery import BATCH
from isthmus_partitioner.runtime import RUNTIME_ERRORS, AnyArray, session_options

__all__ = ["RESERVED_NAMES", "Network", "load_model"]

OLDEST_OPSET = 13  # per-channel QuantizeLinear
RESERVED_NAMES = ("symbols", "step", "zero_point")  # inputs of a tail
_LACKING = re.compile("No Op registered|not a registered function|find an implementation")
_DATA_TYPES = {"uint8", "float32", "int64"}


@dataclass(frozen=True, slots=True)
class Network:
    """A network that ONNX Runtime can run, for any batch.

    `model` has its constants folded and its batch normalisations merged (the runtime's basic
    optimisations), a name on every node, and known shapes. `macs` is by node, in order.
    """

    path: Path
    sha256: str
    model: onnx.ModelProto
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    cuts: tuple[CutPoint, ...]
    macs: tuple[int, ...]


def load_model(path: Path) -> Network:
    """Read an ONNX image classifier whose only input is a uint8 picture [N,H,W,3].

    Raises ModelError that names what is wrong with the file, the op or the input.
    """
    model = _read(path)
    picture = _picture_input(model, path)
    _check(model, path)
    model = _modern(model, path)
    _free_batch(model)
    _free_reserved_names(model.graph, path)
    model = _optimised(model, path)
    outputs = _try_out(model, picture, path)
    shapes = tensor_shapes(model.graph)
    macs = macs_of(model.graph, shapes)
    cuts = find_cuts(model.graph, shapes, macs)
    return Network(path, sha256_of(path), model, picture, outputs, cuts, tuple(macs))


def _read(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
    except DecodeError as error:
        raise ModelError(f"{path}: not an ONNX file, or not all of it; export it again") from error
    except onnx.checker.ValidationError as error:
        raise ModelError(f"{path}: its weights cannot be read: {_first_line(error)}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"{path}: cannot be read ({reason}); name an .onnx file") from error
    if model.ir_version == 0 or not model.graph.node:
        raise ModelError(f"{path}: holds no ONNX graph; name an .onnx file, or export it again")
    return model


def _check(model: onnx.ModelProto, path: Path) -> None:
    try:
        onnx.checker.check_model(model)
        ort.InferenceSession(model.SerializeToString(), session_options(1))
    except onnx.checker.ValidationError as error:
        raise _refusal(model, path, error) from error
    except RUNTIME_ERRORS as error:
        raise _refusal(model, path, error) from error


def _refusal(model: onnx.ModelProto, path: Path, error: Exception) -> ModelError:
    """What the checker or the runtime said, with the node it was about."""
    message = re.sub(r"^\[ONNXRuntimeError\][^:]*:[^:]*:\s*\w+\s*:\s*", "", _first_line(error))
    culprit = _culprit(model.graph.node, str(error))
    if culprit is None or not _LACKING.search(message):
        return ModelError(f"{path}: not a valid model for ONNX Runtime: {message}")
    op = f"{culprit.domain or 'ai.onnx'}:{culprit.op_type}"
    return ModelError(
        f"{path}: node {culprit.name or culprit.output[0]!r} is a {op}, which ONNX Runtime "
        f"{ort.__version__} does not have ({message}); replace it, or export for another opset"
    )


def _culprit(nodes: Sequence[onnx.NodeProto], message: str) -> onnx.NodeProto | None:
    """The node that a message is about: of an op that it names, best with its own name too."""
    named = [node for node in nodes if _mentions(message, node.op_type)]
    exact = [node for node in named if node.name and _mentions(message, node.name)]
    return next(iter(exact or named), None)


def _mentions(message: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", message) is not None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _picture_input(model: onnx.ModelProto, path: Path) -> TensorSpec:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(_described(info) for info in inputs) or "none"
        raise ModelError(f"{path}: has {len(inputs)} inputs ({names}); only one picture is allowed")
    kind = inputs[0].type.tensor_type
    sizes = [dim.dim_value for dim in kind.shape.dim]
    is_picture = len(sizes) == 4 and sizes[3] == 3 and all(sizes[1:]) and sizes[0] in {0, 1}
    if kind.elem_type != onnx.TensorProto.UINT8 or not is_picture:
        raise ModelError(
            f"{path}: its input is {_described(inputs[0])}; needed: the picture itself, uint8 "
            "[N,H,W,3] with fixed H and W. Put the preprocessing into the graph, for instance "
            "Cast -> Sub(mean) -> Div(std) -> Transpose(0,3,1,2) in front of it with "
            "onnx.compose.merge_models"
        )
    return TensorSpec(name=inputs[0].name, data_type="uint8", shape=tuple(sizes[1:]))


def _described(info: onnx.ValueInfoProto) -> str:
    kind = info.type.tensor_type
    sizes = ",".join(dim.dim_param or str(dim.dim_value or "?") for dim in kind.shape.dim)
    return f"{info.name!r} {onnx.TensorProto.DataType.Name(kind.elem_type).lower()} [{sizes}]"


def _modern(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    opset = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0)
    if opset >= OLDEST_OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OLDEST_OPSET)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        raise ModelError(
            f"{path}: opset {opset} cannot be converted ({_first_line(error)}); "
            f"export it with opset {OLDEST_OPSET} or newer"
        ) from error


def _free_batch(model: onnx.ModelProto) -> None:
    """Make the first dimension of input and outputs symbolic; what else was stated is inferred."""
    graph = model.graph
    for info in (*graph.input, *graph.output):
        if info.type.tensor_type.shape.dim:
            info.type.tensor_type.shape.dim[0].dim_param = BATCH
    del graph.value_info[:]
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)


def _free_reserved_names(graph: onnx.GraphProto, path: Path) -> None:
    """Rename inner tensors that are called like the inputs of a tail."""
    for name in RESERVED_NAMES:
        if name in {info.name for info in graph.output}:
            raise ModelError(f"{path}: an output is called {name!r}; give it another name")
        for node in graph.node:
            for names in (node.input, node.output):
                for index in (i for i, tensor in enumerate(names) if tensor == name):
                    names[index] = f"{name}_inner"
        for tensor in graph.initializer:
            if tensor.name == name:
                tensor.name = f"{name}_inner"


def _optimised(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Constants folded, batch normalisations merged, nodes named, shapes inferred."""
    _name_nodes(model.graph.node)
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        target = Path(folder) / "optimised.onnx"
        options = session_options(1)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        try:
            ort.InferenceSession(model.SerializeToString(), options)
        except RUNTIME_ERRORS as error:
            raise _refusal(model, path, error) from error
        model = onnx.load(target)
    _name_nodes(model.graph.node)
    return onnx.shape_inference.infer_shapes(model)


def _name_nodes(nodes: Sequence[onnx.NodeProto]) -> None:
    taken = Counter(node.name for node in nodes)
    for index, node in enumerate(nodes):
        if not node.name or taken[node.name] > 1:
            node.name = f"{node.name or node.op_type}_{index}"


def _try_out(model: onnx.ModelProto, picture: TensorSpec, path: Path) -> tuple[TensorSpec, ...]:
    """Run two black pictures: what comes out has to be a batch of two."""
    session = ort.InferenceSession(model.SerializeToString(), session_options(1))
    try:
        results = session.run(None, {picture.name: np.zeros((2, *picture.shape), np.uint8)})
    except RUNTIME_ERRORS as error:
        raise ModelError(
            f"{path}: cannot run a batch of two ({_first_line(error)}); "
            "export it with a dynamic batch dimension"
        ) from error
    names = [info.name for info in model.graph.output]
    return tuple(_output(n, result, path) for n, result in zip(names, results, strict=True))


def _output(name: str, result: AnyArray, path: Path) -> TensorSpec:
    if result.ndim < 2 or len(result) != 2 or result.dtype.name not in _DATA_TYPES:
        raise ModelError(
            f"{path}: output {name!r} is {result.dtype} {list(result.shape)} for two pictures; "
            "needed: one row for each picture, float32, int64 or uint8"
        )
    return TensorSpec(name=name, data_type=_data_type(result), shape=result.shape[1:])


def _data_type(array: AnyArray) -> Literal["uint8", "float32", "int64"]:
    return cast(Literal["uint8", "float32", "int64"], array.dtype.name)
