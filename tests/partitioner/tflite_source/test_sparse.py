"""Weights that are stored sparse come out as LiteRT's DENSIFY makes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tests.partitioner.tflite_source.tflites import Tflite, answers_of, with_fields

from isthmus import ModelError
from isthmus_partitioner.runtime import AnyArray, open_session, run_one
from isthmus_partitioner.tflite_source.emitter import emit
from isthmus_partitioner.tflite_source.flatbuffer import read_source

ROWS, COLUMNS = 5, 8


def weights() -> AnyArray:
    """[5,8], of which pairs of columns are all there or not at all; one row is empty."""
    random = np.random.default_rng(6)
    values = random.uniform(-1, 1, (ROWS, COLUMNS)).astype(np.float32)
    kept = np.repeat(random.integers(0, 2, (ROWS, COLUMNS // 2)), 2, axis=1)
    kept[3] = 0
    values[kept == 0] = 0
    return values


def dense_level(size: int) -> Any:
    return with_fields(
        schema.DimensionMetadataT(), format=schema.DimensionType.DENSE, denseSize=size
    )


def sparse_level(kept: AnyArray) -> Any:
    """The columns of each row that are there."""
    counts = [0, *np.cumsum(np.asarray(kept, np.int64).sum(axis=1)).tolist()]
    return with_fields(
        schema.DimensionMetadataT(),
        format=schema.DimensionType.SPARSE_CSR,
        arraySegmentsType=schema.SparseIndexVector.Uint8Vector,
        arraySegments=with_fields(schema.Uint8VectorT(), values=counts),
        arrayIndicesType=schema.SparseIndexVector.Uint16Vector,
        arrayIndices=with_fields(schema.Uint16VectorT(), values=np.nonzero(kept)[1].tolist()),
    )


def network(*, in_blocks: bool) -> Tflite:
    """A fully connected layer with those weights."""
    build, dense = Tflite(), weights()
    rows = build.input(1, COLUMNS)
    index = build.constant(dense[dense != 0])
    stored = build.graph.tensors[index]
    stored.shape = [ROWS, COLUMNS]
    kept = dense[:, ::2] != 0 if in_blocks else dense != 0
    stored.sparsity = with_fields(
        schema.SparsityParametersT(),
        traversalOrder=[0, 1, 2] if in_blocks else [0, 1],
        blockMap=[1] if in_blocks else [],
        dimMetadata=[
            dense_level(ROWS), sparse_level(kept), *([dense_level(2)] if in_blocks else []),
        ],
    )  # fmt: skip
    full = build.make("DENSIFY", [index], (ROWS, COLUMNS), schema.DensifyOptionsT())
    options = schema.FullyConnectedOptionsT()
    inputs = [rows, full, build.noise(ROWS)]
    build.graph.outputs = [build.make("FULLY_CONNECTED", inputs, (1, ROWS), options)]
    return build


@pytest.mark.parametrize("in_blocks", [False, True])
def test_sparse_weights_become_dense(in_blocks: bool, tmp_path: Path) -> None:
    path = network(in_blocks=in_blocks).save(tmp_path / "model.tflite")
    source = read_source(path)
    assert np.array_equal(source.tensors[1].real(), weights())
    row = np.random.default_rng(8).uniform(-1, 1, (1, COLUMNS)).astype(np.float32)
    name = source.tensors[source.outputs[0]].name
    (found,) = run_one(open_session(emit(source), threads=1), {"in0": row}, [name])
    assert np.allclose(found.astype(np.float64), answers_of(path, [row])[0], atol=1e-5)


def test_sparse_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    build = network(in_blocks=False)
    build.graph.tensors[1].sparsity.dimMetadata[0].denseSize = 2**30
    with pytest.raises(ModelError, match="sparse weights in a tensor of 40"):
        read_source(build.save(tmp_path / "model.tflite"))
