"""The tiny network that runtimes are tried on: five convolutions, fp32 and int8, 100 KB in all.

`tests/edge/doctor/tiny_models.py` makes the files. Weights and scales are powers of two times
integers, so that both precisions compute with the same weights.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isthmus import DataType, TensorSpec, TfliteForm
from isthmus_edge.runtimes import AnyArray, GraphFiles

FOLDER = Path(__file__).parent / "models"
INPUT = "picture"
OUTPUT = "features"
INPUT_SHAPE = (8, 64, 64)
OUTPUT_SHAPE = (32, 32, 32)
INPUT_SCALE = 1 / 256  # uint8, zero point 0
OUTPUT_ZERO_POINT = 128

__all__ = ["FOLDER", "FP32", "INT8", "cosine", "fp32_feed", "int8_feed"]


def _files(name: str, kind: DataType) -> GraphFiles:
    return GraphFiles(
        folder=FOLDER,
        onnx=f"{name}.onnx",
        tflite=TfliteForm(file=f"{name}.tflite", channels_last=(INPUT, OUTPUT)),
        inputs=(TensorSpec(name=INPUT, data_type=kind, shape=INPUT_SHAPE),),
        outputs=(TensorSpec(name=OUTPUT, data_type=kind, shape=OUTPUT_SHAPE),),
    )


FP32 = _files("tiny-fp32", "float32")
INT8 = _files("tiny-int8", "uint8")


def int8_feed() -> dict[str, AnyArray]:
    """The same picture on every machine, uint8 [1,8,64,64]."""
    channel, row, column = np.indices(INPUT_SHAPE)
    values = (row * 3 + column * 5 + channel * 37 + row * column) % 256
    return {INPUT: values.astype(np.uint8)[None]}


def fp32_feed() -> dict[str, AnyArray]:
    """The real numbers that it stands for."""
    return {INPUT: int8_feed()[INPUT].astype(np.float32) * np.float32(INPUT_SCALE)}


def cosine(int8: AnyArray, fp32: AnyArray) -> float:
    """Of the angle between what the two precisions compute; 1 where they agree."""
    left: NDArray[np.float64] = np.asarray(int8, np.float64).ravel() - OUTPUT_ZERO_POINT
    right: NDArray[np.float64] = np.asarray(fp32, np.float64).ravel()
    length = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / length if length else 0.0
