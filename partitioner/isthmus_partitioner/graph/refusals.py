"""Why a model is refused: what the runtime or the file reader said, in one line with its node."""

import re
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnxruntime as ort

from isthmus import ModelError

__all__ = ["first_line", "refusal"]

_LACKING = re.compile("No Op registered|not a registered function|find an implementation")
_LONG = 300
_PREFIX = re.compile(r"\[ONNXRuntimeError\][^:]*:[^:]*:\s*\w+\s*:\s*")


def refusal(model: onnx.ModelProto, path: Path, error: Exception) -> ModelError:
    """What the runtime said when it loaded the model, with the node it was about."""
    message = first_line(error)
    culprit = _culprit(model.graph.node, str(error))
    if culprit is None or not _LACKING.search(message):
        return ModelError(f"{path}: not a valid model for ONNX Runtime: {message}")
    op = f"{culprit.domain or 'ai.onnx'}:{culprit.op_type}"
    name = culprit.name or next(iter(culprit.output), "")
    return ModelError(
        f"{path}: node {name!r} is a {op}, which ONNX Runtime "
        f"{ort.__version__} does not have ({message}); replace it, or export for another opset"
    )


def first_line(error: Exception) -> str:
    """The first line of a message, never empty, nor longer than people read."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    line = _PREFIX.sub("", line)
    return line if len(line) <= _LONG else f"{line[:_LONG]}..."


def _culprit(nodes: Sequence[onnx.NodeProto], message: str) -> onnx.NodeProto | None:
    """The node that a message is about: of an op that it names, best with its own name too."""
    named = [node for node in nodes if _mentions(message, node.op_type)]
    exact = [node for node in named if node.name and _mentions(message, node.name)]
    return next(iter(exact or named), None)


def _mentions(message: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", message) is not None
