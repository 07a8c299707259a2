"""Graphs in fp16, for a provider that has no switch for it: made when they are loaded.

ONNX Runtime's own converter does it, which needs the package onnx beside it. The service does
without where that is missing: then it computes in fp32.
"""

import importlib
import importlib.util
import warnings
from pathlib import Path

from isthmus import ModelError

__all__ = ["can_halve", "half_of"]

# Steps and zero points come as float32, and say what integers stand for.
_STAYS_FLOAT = ("DequantizeLinear", "QuantizeLinear")


def can_halve() -> bool:
    """Whether the tools are here."""
    return importlib.util.find_spec("onnx") is not None


def half_of(path: Path) -> bytes:
    """The graph of a file with fp16 weights and tensors inside; what it reads and makes is as it
    was. Says nothing of its answers: they must be compared. ModelError if it cannot be made."""
    try:
        onnx = importlib.import_module("onnx")
        converter = importlib.import_module("onnxruntime.transformers.float16")
        blocked = [*converter.DEFAULT_OP_BLOCK_LIST, *_STAYS_FLOAT]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights that do not fit: the comparison tells
            model = converter.convert_float_to_float16(
                onnx.load(path), keep_io_types=True, op_block_list=blocked
            )
        content: bytes = model.SerializeToString()
    except Exception as error:  # the converter has no errors of its own
        raise ModelError(f"{path}: cannot be turned into fp16: {error!r}") from error
    return content
