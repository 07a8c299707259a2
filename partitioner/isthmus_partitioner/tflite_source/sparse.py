"""Weights that are stored sparse, made dense.

The levels of the storage are the tensor's dimensions in some order, and perhaps blocks of them. A
dense level holds every index; a sparse one lists for each entry of the level above, from
`segments[entry]` to `segments[entry + 1]`, the indices that there are (CSR).
"""

import math
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from isthmus_partitioner.tflite_source.records import AnyArray

__all__ = ["dense_values"]

_VECTORS = {
    schema.SparseIndexVector.Int32Vector: schema.Int32Vector,
    schema.SparseIndexVector.Uint16Vector: schema.Uint16Vector,
    schema.SparseIndexVector.Uint8Vector: schema.Uint8Vector,
}
_MOST_LEVELS = 16

Indices = NDArray[np.int64]


def dense_values(sparsity: Any, values: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    """The tensor that `values` are the stored part of; ValueError where they do not fit it."""
    order = _numbers(sparsity.TraversalOrderAsNumpy())
    blocks = _numbers(sparsity.BlockMapAsNumpy())
    levels = sparsity.DimMetadataLength()
    if not levels == len(order) == len(shape) + len(blocks) <= _MOST_LEVELS:
        raise ValueError(f"{levels} levels of sparse weights for {len(shape)} dimensions")
    entries = np.zeros(1, np.int64)
    places: dict[int, Indices] = {}
    sizes: dict[int, int] = {}
    for level, dimension in enumerate(order):
        metadata = sparsity.DimMetadata(level)
        sizes[dimension] = metadata.DenseSize()
        owners, indices, entries = _next(metadata, entries, math.prod(shape))
        places = {known: column[owners] for known, column in places.items()}
        places[dimension] = indices
    columns = [places[dimension] for dimension in range(len(shape))]
    for number, dimension in enumerate(blocks):
        inner = len(shape) + number
        columns[dimension] = columns[dimension] * sizes[inner] + places[inner]
    flat = np.ravel_multi_index(tuple(columns), shape)  # ValueError beyond the shape
    dense = np.zeros(math.prod(shape), values.dtype)
    dense[flat] = values
    return dense.reshape(shape)


def _next(metadata: Any, entries: Indices, most: int) -> tuple[Indices, Indices, Indices]:
    """One level down: of each new entry its owner, its index, and its number."""
    if metadata.Format() == schema.DimensionType.DENSE:
        size = metadata.DenseSize()
        _check_count(len(entries) * size, most)
        owners = np.repeat(np.arange(len(entries)), size)
        indices = np.tile(np.arange(size), len(entries))
        return owners, indices, entries[owners] * size + indices
    segments = _vector(metadata.ArraySegmentsType(), metadata.ArraySegments())
    stored = _vector(metadata.ArrayIndicesType(), metadata.ArrayIndices())
    starts, counts = segments[entries], segments[entries + 1] - segments[entries]
    if counts.min(initial=0) < 0:
        raise ValueError("segments of sparse weights that run backwards")
    _check_count(int(counts.sum()), most)
    owners = np.repeat(np.arange(len(entries)), counts)
    within = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    numbers = starts[owners] + within
    return owners, stored[numbers], numbers


def _check_count(count: int, most: int) -> None:
    if not 0 < count <= most:
        raise ValueError(f"{count:,} sparse weights in a tensor of {most:,}")


def _vector(kind: int, table: Any) -> Indices:
    vector = _VECTORS[kind]()
    vector.Init(table.Bytes, table.Pos)
    return np.asarray(vector.ValuesAsNumpy(), np.int64)


def _numbers(vector: Any) -> list[int]:
    return [] if isinstance(vector, int) else [int(each) for each in vector[:_MOST_LEVELS]]
