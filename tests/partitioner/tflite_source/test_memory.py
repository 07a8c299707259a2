"""However often a small file says its weights, they take little memory."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from tests.partitioner.tflite_source.tflites import Tflite

from isthmus import ModelError
from isthmus_partitioner.tflite_source import import_tflite
from isthmus_partitioner.tflite_source.emitter import emit
from isthmus_partitioner.tflite_source.flatbuffer import read_source

LAYERS, WIDTH = 20, 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.tflite"


def nbytes(model: onnx.ModelProto) -> int:
    """Of all that the drawing stores."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def dense(build: Tflite, rows: int, weights: int) -> int:
    options = schema.FullyConnectedOptionsT()
    return build.make("FULLY_CONNECTED", [rows, weights], (1, WIDTH), options)


def test_weights_that_many_operations_read_are_drawn_once(file: Path) -> None:
    build = Tflite()
    rows, weights = build.input(1, WIDTH), build.noise(WIDTH, WIDTH)
    for _ in range(LAYERS):
        rows = dense(build, rows, weights)
    imported = import_tflite(build.save(file, rows))
    assert nbytes(imported.model) == 4 * WIDTH * WIDTH


def test_weights_that_are_made_real_many_times_are_drawn_once(file: Path) -> None:
    build = Tflite()
    rows = build.input(1, WIDTH)
    integers = build.random.integers(-127, 128, (WIDTH, WIDTH)).astype(np.int8)
    weights = build.constant(integers, (0.01, 0))
    for _ in range(LAYERS):
        rows = dense(build, rows, build.make("DEQUANTIZE", [weights], (WIDTH, WIDTH)))
    imported = import_tflite(build.save(file, rows))
    assert nbytes(imported.model) == 4 * WIDTH * WIDTH


def test_the_constant_of_a_product_is_drawn_once(file: Path) -> None:
    build = Tflite()
    rows = build.input(1, 3, WIDTH)
    inputs = [rows, build.noise(1, WIDTH, WIDTH)]
    product = build.make("BATCH_MATMUL", inputs, (1, 3, WIDTH), schema.BatchMatMulOptionsT())
    assert nbytes(import_tflite(build.save(file, product)).model) == 4 * WIDTH * WIDTH


def test_a_small_file_that_is_drawn_large_is_refused(file: Path) -> None:
    """Constants that are added to an image are turned for each operation."""
    build = Tflite()
    image = build.conv(build.input(1, 16, 16, 4), 16)
    added = build.noise(1, 16, 16, 16)
    for _ in range(3 * LAYERS):
        image = build.make("ADD", [image, added], (1, 16, 16, 16), schema.AddOptionsT())
    source = read_source(build.save(file, image))
    with pytest.raises(ModelError, match=r"[\d,]+ bytes of a file become more than 16 times"):
        emit(source)


def test_inputs_that_are_large_together_are_refused(file: Path) -> None:
    build = Tflite()
    parts = [build.input(1, 1 << 24) for _ in range(5)]
    total = parts[0]
    for part in parts[1:]:
        total = build.make("ADD", [total, part], (1, 1 << 24), schema.AddOptionsT())
    with pytest.raises(ModelError, match=r"inputs of 335,544,320 bytes for one item; allowed: 268"):
        read_source(build.save(file, total))
