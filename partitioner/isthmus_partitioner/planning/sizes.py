"""What each tensor of a network would take on the wire, by the real codec on calibration data."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, repeat

import numpy as np

from isthmus import (
    ModelError,
    SymbolCoder,
    TensorSpec,
    quantised,
)
from isthmus.lossless import encode_exactly
from isthmus_partitioner.config import Progress
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.refusals import first_line
from isthmus_partitioner.parts.boundary import Boundary
from isthmus_partitioner.parts.values import activations
from isthmus_partitioner.runtime import AnyArray, all_cores
from isthmus_partitioner.samples import Samples
from isthmus_partitioner.wire.ladder import step_encodings
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
) -> tuple[dict[str, TensorSizes], dict[str, str]]:
    """By tensor; `steps` in standard deviations, the finest first.

    Tensors that the runtime does not hand out are left out: by tensor, why (the second result).
    """
    items = samples[:ITEMS]
    progress(f"measuring the wire bytes of {len(tensors)} tensors in {len(steps)} steps each")
    found: dict[str, TensorSizes] = {}
    refused: dict[str, str] = {}
    with ThreadPoolExecutor(all_cores()) as pool:  # times are those of single threads
        for group in _groups(tensors, len(items)):
            values = _values(network, group, items, refused)
            here = [spec for spec in group if spec.name in values]
            sizes = pool.map(_sizes, here, (values[spec.name] for spec in here), repeat(steps))
            found |= dict(zip((spec.name for spec in here), sizes, strict=True))
    return found, refused


def _values(
    network: Network,
    tensors: Sequence[TensorSpec],
    items: Samples,
    refused: MutableMapping[str, str],
) -> dict[str, AnyArray]:
    """Of all tensors that the runtime hands out; adds the others to `refused`."""
    try:
        return activations(network, tensors, items)
    except ModelError as error:
        if len(tensors) == 1:
            refused[tensors[0].name] = first_line(error)
            return {}
    half = len(tensors) // 2
    halves = (tensors[:half], tensors[half:])
    left, right = (_values(network, some, items, refused) for some in halves)
    return left | right


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
