"""A cut problem as arrays, so that it can be shrunk and sliced at numpy's speed."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from isthmus_partitioner.cuts.dag import Costs, Dag, Numbers

__all__ = ["Indices", "Mask", "Problem", "problem_of", "summed"]

Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Places 0 … last in topological order; place 0 is always on the edge, `last` in the cloud.

    `extra_ms` [place] is the time a place takes longer on the edge than in the cloud. Tensor t is
    made by `maker[t]` (0: the device held it already) and costs `wire_ms[t]` (infinite: it may not
    cross) and `wire_bytes[t]`. Reading r: place `reader[r]` reads tensor `read[r]`; both are sorted
    by tensor, then reader. Every tensor is read.
    """

    extra_ms: Numbers
    maker: Indices
    wire_ms: Numbers
    wire_bytes: Numbers
    read: Indices
    reader: Indices

    @property
    def last(self) -> int:
        """The place that is always in the cloud."""
        return len(self.extra_ms) - 1

    def wire_at(self, ms_per_byte: float) -> Numbers:
        """What each tensor costs on a link."""
        return self.wire_ms + self.wire_bytes * ms_per_byte

    def last_reader(self) -> Indices:
        """By tensor."""
        ends = np.searchsorted(self.read, np.arange(len(self.maker)), side="right")
        return self.reader[ends - 1]

    def merged(self, group: Indices) -> "Problem":
        """Places of the same group as one; the groups are numbered in topological order."""
        count = int(group[-1]) + 1
        maker, reader = group[self.maker], group[self.reader]
        leaves = maker[self.read] != reader
        keys = np.unique(self.read[leaves] * count + reader[leaves])
        kept, read = np.unique(keys // count, return_inverse=True)
        return Problem(
            extra_ms=summed(group, self.extra_ms, count),
            maker=maker[kept],
            wire_ms=self.wire_ms[kept],
            wire_bytes=self.wire_bytes[kept],
            read=read.astype(np.int64),
            reader=keys % count,
        )

    def between(self, first: int, last: int) -> "Problem":
        """What is left to decide if all up to `first` is on the edge, all from `last` in the cloud.

        The places before and behind are as one with these two, whose times are left out.
        """
        spans = (self.maker < last) & (self.last_reader() > first)
        readings = np.flatnonzero(spans[self.read] & (self.reader > first))
        count = last - first + 1
        reader = np.minimum(self.reader[readings], last) - first
        keys = np.unique((np.cumsum(spans) - 1)[self.read[readings]] * count + reader)
        extra_ms = self.extra_ms[first : last + 1].copy()
        extra_ms[[0, -1]] = 0.0
        return Problem(
            extra_ms=extra_ms,
            maker=np.maximum(self.maker[spans] - first, 0),
            wire_ms=self.wire_ms[spans],
            wire_bytes=self.wire_bytes[spans],
            read=keys // count,
            reader=keys % count,
        )


def problem_of(dag: Dag, costs: Costs) -> Problem:
    """Node v is place v + 1; tensors that nobody reads are left out, for they never cross."""
    kept = [number for number, tensor in enumerate(dag.tensors) if tensor.consumers]
    tensors = [dag.tensors[number] for number in kept]
    lengths = [len(tensor.consumers) for tensor in tensors]
    cuttable = np.fromiter((t.is_cuttable for t in tensors), np.bool_, len(tensors))
    maker = np.fromiter((t.producer for t in tensors), np.int64, len(tensors))
    readers = chain.from_iterable(t.consumers for t in tensors)
    return Problem(
        extra_ms=np.concatenate(([0.0], costs.edge_ms - costs.cloud_ms, [0.0])),
        maker=maker + 1,
        wire_ms=np.where(cuttable, costs.wire_ms[kept], np.inf),
        wire_bytes=costs.wire_bytes[kept],
        read=np.repeat(np.arange(len(tensors)), lengths),
        reader=np.fromiter(readers, np.int64, sum(lengths)) + 1,
    )


def summed(where: Indices, values: Numbers, count: int) -> Numbers:
    """For each number below `count`, the sum of the values where that number stands."""
    return np.bincount(where, values, count).astype(np.float64)
