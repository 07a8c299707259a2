"""Sums of 8-bit products are exact on every processor, wherever Isthmus runs a graph.

x86 without VNNI adds two products of uint8 and int8 in 16 bits: 2 x 255 x 127 does not fit.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from isthmus import TensorSpec
from isthmus_cloud.engines.ort_session import CPU_PLACEMENT
from isthmus_cloud.engines.ort_session import open_session as open_in_the_cloud
from isthmus_edge.runtimes import GraphFiles
from isthmus_edge.runtimes.onnx_runtime import OnnxRuntime
from isthmus_partitioner.runtime import open_session

CHANNELS = 64
SCALE = 16384.0  # of the output: a step for so many of the sum
BRIGHT = np.full((1, CHANNELS, 4, 4), 255, np.uint8)
WANTED = round(255 * 127 * CHANNELS / SCALE)  # 127


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A 1 x 1 convolution whose every product is the largest there is."""
    held = {
        "one": np.float32(1),
        "scale": np.float32(SCALE),
        "zero": np.uint8(0),
        "even": np.int8(0),
        "weights": np.full((CHANNELS, CHANNELS, 1, 1), 127, np.int8),
    }
    reads = ["x", "one", "zero", "weights", "one", "even", "scale", "zero"]
    shape = [1, CHANNELS, 4, 4]
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", reads, ["y"])],
        "bright",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, tmp_path / "bright.onnx")
    return tmp_path / "bright.onnx"


def test_on_the_device(model: Path) -> None:
    shape = (CHANNELS, 4, 4)
    files = GraphFiles(
        folder=model.parent,
        onnx=model.name,
        tflite=None,
        inputs=(TensorSpec(name="x", data_type="uint8", shape=shape),),
        outputs=(TensorSpec(name="y", data_type="uint8", shape=shape),),
    )
    (found,) = OnnxRuntime().load(files, threads=1).run({"x": BRIGHT}, ["y"])
    assert np.unique(found) == [WANTED]


def test_in_the_cloud(model: Path) -> None:
    (found,) = open_in_the_cloud(model, CPU_PLACEMENT, threads=1).run(None, {"x": BRIGHT})
    assert np.unique(found) == [WANTED]


def test_where_the_plan_is_made(model: Path) -> None:
    (found,) = open_session(model, threads=1).run(None, {"x": BRIGHT})
    assert np.unique(found) == [WANTED]
