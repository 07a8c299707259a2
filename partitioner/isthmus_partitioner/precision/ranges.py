"""Ranges of the activations, for every way of calibration at once.

One run of each item gives exact extremes and exact percentiles: of a tensor only the few values
beyond the percentile are kept, no histogram is needed.
"""

from collections.abc import Iterable, Mapping
from math import floor
from typing import Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from isthmus import ModelError
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.runtime import RUNTIME_ERRORS, all_cores, open_session
from isthmus_partitioner.samples import Samples

__all__ = ["METHODS", "Method", "Ranges", "collect_ranges"]

Method = Literal["minmax", "percentile"]
Ranges = Mapping[str, tuple[float, float]]  # by tensor: least and greatest value that counts

METHODS: tuple[Method, ...] = get_args(Method)
PERCENTILE = 99.999  # between the two ends; half of the rest lies beyond each

FloatArray = NDArray[np.float32]


def collect_ranges(
    network: Network, samples: Samples, tensors: Iterable[str]
) -> dict[Method, Ranges]:
    """The range of each of `tensors` (float32, of the network) over the samples.

    Tensors without a finite value are left out. ModelError if the runtime cannot run the model.
    """
    inputs = {spec.name for spec in network.inputs}
    wanted = set(tensors)
    made = sorted(wanted - inputs)
    session = open_session(_showing(network, made), threads=all_cores())
    ends = {name: _Ends(len(samples)) for name in wanted}
    for feed in samples.feeds(network.inputs):
        try:
            results = session.run(made, feed) if made else []
        except RUNTIME_ERRORS as error:
            raise ModelError(f"ONNX Runtime cannot run the model: {error}") from error
        fed = {name: feed[name] for name in wanted & inputs}
        for name, values in (fed | dict(zip(made, results, strict=True))).items():
            ends[name].add(values.astype(np.float32, copy=False).ravel())
    seen = {name: end for name, end in ends.items() if end.count}
    return {
        "minmax": {name: end.extremes() for name, end in seen.items()},
        "percentile": {name: end.percentiles() for name, end in seen.items()},
    }


def _showing(network: Network, tensors: list[str]) -> onnx.ModelProto:
    """The network with these tensors as its outputs."""
    shown = onnx.ModelProto()
    shown.CopyFrom(network.model)
    del shown.graph.output[:]
    shown.graph.output.extend(network.info(network.tensors[name]) for name in tensors)
    return shown


class _Ends:
    """The least and the greatest values of a tensor, as many as its percentile may need."""

    def __init__(self, items: int) -> None:
        self.count = 0
        self._items = items
        self._low = self._high = np.empty(0, np.float32)

    def add(self, values: FloatArray) -> None:
        """One item's values; those that are not finite do not count."""
        if not np.isfinite(values.sum(dtype=np.float64)):
            values = values[np.isfinite(values)]
        if not values.size:
            return
        self.count += values.size
        kept = _rank(values.size * self._items)
        self._high = _greatest(self._high, values, kept)
        self._low = -_greatest(-self._low, -values, kept)

    def extremes(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return float(self._low.min()), float(self._high.max())

    def percentiles(self) -> tuple[float, float]:
        """The values between which the percentile of all lies."""
        rank = min(_rank(self.count), self._low.size)
        return float(np.sort(self._low)[rank - 1]), float(np.sort(self._high)[-rank])


def _rank(count: int) -> int:
    """Of the value at the percentile among `count`, from the end; 1 is the extreme."""
    return 1 + floor(count * (1 - PERCENTILE / 100) / 2)


def _greatest(known: FloatArray, values: FloatArray, count: int) -> FloatArray:
    """The `count` greatest values of both together."""
    if known.size >= count:
        values = values[values > known.min()]  # nothing below can be among them; cheap
    both = np.concatenate([known, values])
    return both if both.size <= count else np.partition(both, both.size - count)[-count:]
