"""What each tensor of a network would take on the wire, by the real codec on calibration data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from isthmus import SymbolCoder, TensorSpec
from isthmus.lossless import encode_exactly
from isthmus_partitioner.config import Progress
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.boundary import Boundary
from isthmus_partitioner.parts.values import activations
from isthmus_partitioner.runtime import AnyArray
from isthmus_partitioner.samples import Samples
from isthmus_partitioner.wire.ladder import quantised, step_encodings
from isthmus_partitioner.wire.through import WireFigures, forecast

__all__ = ["ITEMS", "TensorSizes", "exact_tensors", "tensor_sizes"]

ITEMS = 4  # enough for a spread and a payload size
_AT_ONCE_BYTES = 512 * 1024 * 1024  # activations that are held at the same time


@dataclass(frozen=True, slots=True)
class TensorSizes:
    """One tensor on the wire: a forecast for each of the steps that were asked for.

    `is_exact`: its values never changed, or were no numbers, so no step can be fitted to them.
    """

    by_step: tuple[WireFigures, ...]
    is_exact: bool = False


def tensor_sizes(
    network: Network,
    tensors: Sequence[TensorSpec],
    samples: Samples,
    steps: Sequence[float],
    progress: Progress,
) -> Mapping[str, TensorSizes]:
    """By tensor; `steps` in standard deviations, the finest first."""
    items = samples[:ITEMS]
    progress(f"measuring the wire bytes of {len(tensors)} tensors in {len(steps)} steps each")
    found = {}
    for group in _groups(tensors, len(items)):
        values = activations(network, group, items)
        for spec in group:
            found[spec.name] = _sizes(spec, values.pop(spec.name), steps)
    return found


def exact_tensors(sizes: Mapping[str, TensorSizes]) -> frozenset[str]:
    """Names of the tensors that no step can be fitted to."""
    return frozenset(name for name, size in sizes.items() if size.is_exact)


def _groups(tensors: Sequence[TensorSpec], count: int) -> Iterator[list[TensorSpec]]:
    """In order, as many at a time as there is room for."""
    ends = accumulate(spec.nbytes * count for spec in tensors)
    numbers = (end // _AT_ONCE_BYTES for end in ends)
    groups: dict[int, list[TensorSpec]] = {}
    for number, spec in zip(numbers, tensors, strict=True):
        groups.setdefault(number, []).append(spec)
    yield from groups.values()


def _sizes(spec: TensorSpec, values: AnyArray, steps: Sequence[float]) -> TensorSizes:
    if not Boundary(spec, spec.name, None).is_quantised:
        return TensorSizes((_exact(values),) * len(steps))
    real = values.view(np.float32)
    if not np.isfinite(real).all() or real.min() == real.max():
        return TensorSizes((_exact(values),) * len(steps), is_exact=True)
    encodings = step_encodings(real, steps, None)
    return TensorSizes(tuple(forecast(quantised(real, e), e) for e in encodings))


def _exact(values: AnyArray) -> WireFigures:
    """Ids, masks and a few numbers cross as they are."""
    coder = SymbolCoder()
    sizes = [len(encode_exactly(item[np.newaxis], coder).data) for item in values]
    return WireFigures(int(np.median(sizes)), max(sizes), 0.0, 0.0)
