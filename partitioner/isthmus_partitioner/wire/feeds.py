"""What a tail is fed, item by item: the cut's tensors and what their symbols stand for."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from isthmus import Encoding, Symbols, TensorSpec
from isthmus_partitioner.parts.boundary import Boundary
from isthmus_partitioner.parts.segments import tail_inputs
from isthmus_partitioner.runtime import AnyArray

__all__ = ["tail_feed", "tail_feeds"]


def tail_feed(
    boundaries: Sequence[Boundary], tensors: Sequence[AnyArray], rung: Sequence[Encoding]
) -> dict[str, AnyArray]:
    """One item: each tensor of the cut in its graph shape, by the names of the tail's inputs."""
    feed: dict[str, AnyArray] = {}
    for names, tensor, encoding in zip(tail_inputs(boundaries), tensors, rung, strict=True):
        feed[names[0]] = tensor
        if isinstance(encoding, Symbols):
            feed[names[1]] = np.asarray(encoding.step, np.float32)
            feed[names[2]] = np.asarray(encoding.zero_point, np.uint8)
    return feed


def tail_feeds(
    boundaries: Sequence[Boundary], tensors: Sequence[AnyArray], rung: Sequence[Encoding]
) -> Iterator[Mapping[str, AnyArray]]:
    """All items: `tensors` are [n,*wire shape], in the order of the cut."""
    for row in zip(*tensors, strict=True):
        graph = (
            _in_graph(boundary.tensor, value)
            for boundary, value in zip(boundaries, row, strict=True)
        )
        yield tail_feed(boundaries, tuple(graph), rung)


def _in_graph(tensor: TensorSpec, value: AnyArray) -> AnyArray:
    """With the batch of one; a projection changes sizes, but no axis."""
    if tensor.batch_axis is None:
        return np.asarray(value)  # a row of scalars is no array any more
    return np.expand_dims(value, tensor.batch_axis)
