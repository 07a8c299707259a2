"""A smaller graph with the same answers: by onnxslim, else by the runtime's basic optimisations."""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime as ort
import onnxslim  # type: ignore[import-untyped]
from onnx import TensorProto

from isthmus import ModelError
from isthmus_partitioner.graph.files import INLINE_LIMIT_BYTES, weight_bytes
from isthmus_partitioner.graph.folding import RANDOM_OPS
from isthmus_partitioner.graph.refusals import first_line
from isthmus_partitioner.runtime import open_session, session_options

__all__ = ["simplified"]

_GROWTH = 1.2  # beyond it, weights that were stored as integers became floats

_INTEGERS = frozenset({TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4})
_FEW = 4096  # bytes

Tidy = Callable[[onnx.ModelProto], onnx.ModelProto]
Check = Callable[[onnx.ModelProto], str | None]


def simplified(
    model: onnx.ModelProto, tidy: Tidy, check: Check
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The simplified model, and notes if it is not the best one.

    `tidy` puts names and sizes right again that a simplifier changed. `check` runs a model and says
    what is wrong with it, or None; what is larger than before counts as wrong. Models beyond
    protobuf's 2 GB are left as they are. Raises ModelError if the model itself is wrong already.
    """
    notes: list[str] = []
    if weight_bytes(model) > INLINE_LIMIT_BYTES:
        notes.append("too large to be simplified: it stays as it is")
    else:
        for name, simplify in (("onnxslim", _slimmed), ("ONNX Runtime", _optimised)):
            try:
                result = tidy(simplify(model))
                problem = _problem(model, result) or check(result)
            except ModelError as error:
                problem = str(error)
            if problem is None:
                return result, tuple(notes)
            notes.append(f"{name} cannot simplify it ({problem})")
    if (problem := check(model)) is not None:
        raise ModelError(f"the model cannot be prepared for cutting: {problem}")
    return model, tuple(notes)


def _slimmed(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    try:
        result = onnxslim.slim(copy, size_threshold=_folded_bytes(model))
    except Exception as error:  # whatever its passes stumble over
        raise ModelError(f"{type(error).__name__}: {first_line(error)}") from error
    if not isinstance(result, onnx.ModelProto):
        raise ModelError("no model came back")
    return result


def _folded_bytes(model: onnx.ModelProto) -> int | None:
    """The largest constant to be folded: weights that were stored as integers shall stay so."""
    is_quantised = any(
        tensor.data_type in _INTEGERS and math.prod(tensor.dims) > _FEW
        for tensor in model.graph.initializer
    )
    return _FEW if is_quantised else None


def _optimised(model: onnx.ModelProto) -> onnx.ModelProto:
    options = session_options(1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        target = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(target)
        open_session(model, threads=1, options=options)
        return onnx.load(target)


def _problem(before: onnx.ModelProto, after: onnx.ModelProto) -> str | None:
    for side in ("input", "output"):
        names = [[info.name for info in getattr(m.graph, side)] for m in (before, after)]
        if names[0] != names[1]:
            return f"its {side}s are called {names[1]}"
    if _random_nodes(after) != _random_nodes(before):
        return "its random numbers became constants"
    if weight_bytes(after) > _GROWTH * weight_bytes(before) + 65_536:
        return "its weights became larger"
    return None


def _random_nodes(model: onnx.ModelProto) -> int:
    return sum(node.op_type in RANDOM_OPS for node in model.graph.node)
