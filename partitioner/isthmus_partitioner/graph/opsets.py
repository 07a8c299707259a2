"""Old operators: converted, where the converter knows them, so that layers can be quantised."""

from dataclasses import replace

from onnx import version_converter

from isthmus_partitioner.graph.files import INLINE_LIMIT_BYTES, weight_bytes
from isthmus_partitioner.graph.reading import ModelFile
from isthmus_partitioner.graph.refusals import first_line

__all__ = ["modern"]

OLDEST_OPSET = 13  # per-channel QuantizeLinear


def modern(file: ModelFile) -> tuple[ModelFile, tuple[str, ...]]:
    """The file with opset 13 or newer, or as it is with a note why. Answers are not compared."""
    if not 0 < file.opset < OLDEST_OPSET:
        return file, ()
    if weight_bytes(file.model) > INLINE_LIMIT_BYTES:
        return file, (f"opset {file.opset} is kept: the model is too large for the converter",)
    try:
        converted = version_converter.convert_version(file.with_weights(), OLDEST_OPSET)
    except (RuntimeError, version_converter.ConvertError) as error:
        reason = first_line(error)
        return file, (f"opset {file.opset} is kept, for it cannot be converted ({reason})",)
    return replace(file, model=converted), ()
