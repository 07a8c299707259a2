"""How a proposed cut crosses: transform, ladder, predictors and the tail's bias, from calibration.

Everything is fitted to the fitted pictures. What may also harm - a projection, a bias - stays only
where it does better on the held-back ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from isthmus import Segment, Symbols, requantise_table
from isthmus_partitioner.config import PictureSets, PlanConfig, UInt8Array
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.boundary import Boundary
from isthmus_partitioner.parts.segments import STEP, SYMBOLS, ZERO_POINT, tail_model
from isthmus_partitioner.planning.agreement import answer_index, closeness
from isthmus_partitioner.planning.propose import activations
from isthmus_partitioner.runtime import (
    AnyArray,
    all_cores,
    open_session,
    pictures_feed,
    run_batches,
)
from isthmus_partitioner.wire.bottleneck import Curve, Verdict, compare, projections
from isthmus_partitioner.wire.ladder import best_order, best_predictor, quantised, wire_ladder
from isthmus_partitioner.wire.stages import quantises
from isthmus_partitioner.wire.through import forecast
from isthmus_partitioner.wire.transform import PLAIN, Transform

__all__ = ["CutFitter", "Fitted", "tail_feed"]

FloatArray = NDArray[np.float32]

_SIZED = 8  # pictures whose sizes are weighed


@dataclass(frozen=True, slots=True)
class Fitted:
    """How one cut crosses; `bottleneck` says what came of the projection, if one was tried."""

    transform: Transform
    ladder: tuple[Symbols, ...]
    tail: onnx.ModelProto
    has_bias: bool
    bottleneck: Verdict | None


def tail_feed(symbols: AnyArray, encoding: Symbols) -> dict[str, AnyArray]:
    """What a tail is fed: symbols [n,*wire shape] and how they stand for real numbers."""
    return {
        SYMBOLS: symbols,
        STEP: np.asarray(encoding.step, np.float32),
        ZERO_POINT: np.asarray(encoding.zero_point, np.uint8),
    }


class CutFitter:
    """Fits the cuts of one chain, whose segments are written below `folder`."""

    def __init__(
        self,
        network: Network,
        cuts: Sequence[Boundary],
        segments: Sequence[Segment],
        pictures: PictureSets,
        config: PlanConfig,
        folder: Path,
    ) -> None:
        self._network, self._config = network, config
        self._real = activations(network, cuts, pictures.fitted)
        self._fitted = _head_values(segments, pictures.fitted, folder)
        self._held_back = _head_values(segments, pictures.held_back, folder)
        self._answer = answer_index(network.outputs)
        whole = open_session(network.model, threads=all_cores())
        feed = pictures_feed(whole, pictures.held_back)
        self._reference = run_batches(whole, feed)[self._answer]

    def fit(self, boundary: Boundary) -> Fitted:
        """All that is to be known of how a cut crosses."""
        transform = self._ordered(boundary)
        ladder = self._ladder(boundary, transform)
        bottleneck = None
        if self._config.bottleneck and len(boundary.cut.shape) == 3:
            best, projected, bottleneck = self._projected(boundary, transform, ladder)
            if bottleneck.is_kept:
                transform, ladder = best, projected
        tail, has_bias = self._tail(boundary, transform, ladder)
        return Fitted(transform, ladder, tail, has_bias, bottleneck)

    def _ordered(self, boundary: Boundary) -> Transform:
        middle = _middle(self._plain_ladder(boundary, PLAIN))
        symbols = _symbols(boundary, PLAIN, self._fitted[boundary.name], middle)
        return best_order(symbols, middle.levels, blank=middle.zero_point)

    def _ladder(self, boundary: Boundary, transform: Transform) -> tuple[Symbols, ...]:
        head = self._fitted[boundary.name][:_SIZED]
        rungs = []
        for encoding in self._plain_ladder(boundary, transform):
            symbols = _symbols(boundary, transform, head, encoding)
            predictor = best_predictor(symbols, encoding.levels, blank=encoding.zero_point)
            rungs.append(msgspec.structs.replace(encoding, predictor=predictor))
        return tuple(rungs)

    def _plain_ladder(self, boundary: Boundary, transform: Transform) -> tuple[Symbols, ...]:
        values = transform.forward(_real(boundary, self._fitted[boundary.name]))
        return wire_ladder(
            values,
            self._config.steps,
            None if quantises(boundary, transform) else boundary.quantisation,
        )

    def _projected(
        self, boundary: Boundary, rival: Transform, ladder: tuple[Symbols, ...]
    ) -> tuple[Transform, tuple[Symbols, ...], Verdict]:
        """The best projection, its ladder, and whether it beats the cut as it is."""
        plain = self._curve(boundary, rival, ladder)
        tried = {}
        for transform in projections(_real(boundary, self._fitted[boundary.name])):
            rungs = self._ladder(boundary, transform)
            verdict = compare(transform, boundary, plain, self._curve(boundary, transform, rungs))
            ratio = inf if verdict.bytes_ratio is None else verdict.bytes_ratio
            tried[ratio] = transform, rungs, verdict
        return tried[min(tried)]

    def _curve(
        self, boundary: Boundary, transform: Transform, ladder: tuple[Symbols, ...]
    ) -> Curve:
        """KL and bytes of each rung on held-back pictures."""
        tail = open_session(tail_model(self._network, boundary, transform), threads=all_cores())
        head = self._held_back[boundary.name]
        points = []
        for encoding in ladder:
            symbols = _symbols(boundary, transform, head, encoding)
            answers = run_batches(tail, tail_feed(symbols, encoding))[self._answer]
            size = forecast(symbols[:_SIZED], encoding).payload_bytes
            points.append((closeness(self._reference, answers).kl, float(size)))
        return tuple(points)

    def _tail(
        self, boundary: Boundary, transform: Transform, ladder: tuple[Symbols, ...]
    ) -> tuple[onnx.ModelProto, bool]:
        """The tail with or without bias, whichever answers more like the unsplit network."""
        encoding = _middle(ladder)
        bias = self._bias(boundary, transform, encoding)
        plain = tail_model(self._network, boundary, transform)
        biased = tail_model(self._network, boundary, transform, bias)
        symbols = _symbols(boundary, transform, self._held_back[boundary.name], encoding)
        has_bias = self._kl(biased, symbols, encoding) < self._kl(plain, symbols, encoding)
        return (biased if has_bias else plain), has_bias

    def _bias(
        self, boundary: Boundary, transform: Transform, encoding: Symbols
    ) -> NDArray[np.float32]:
        """The mean over the fitted pictures of fp32 tensor minus what arrives in the cloud."""
        symbols = _symbols(boundary, transform, self._fitted[boundary.name], encoding)
        sent = (symbols.astype(np.float32) - encoding.zero_point) * np.float32(encoding.step)
        error = self._real[boundary.cut.tensor] - transform.backward(sent)
        # Channels come second in what ONNX calls an image; all else is averaged.
        axes = (0, *range(2, error.ndim))
        bias: NDArray[np.float32] = error.mean(axis=axes, keepdims=True, dtype=np.float32)
        return bias

    def _kl(self, model: onnx.ModelProto, symbols: UInt8Array, encoding: Symbols) -> float:
        session = open_session(model, threads=all_cores())
        answers = run_batches(session, tail_feed(symbols, encoding))[self._answer]
        return closeness(self._reference, answers).kl


def _middle(ladder: Sequence[Symbols]) -> Symbols:
    return ladder[len(ladder) // 2]


def _real(boundary: Boundary, head: AnyArray) -> FloatArray:
    """What the head's values at a boundary stand for."""
    known = boundary.quantisation
    if known is None:
        return head.view(np.float32)
    return (head.astype(np.float32) - known.zero_point) * np.float32(known.scale)


def _symbols(
    boundary: Boundary, transform: Transform, head: AnyArray, encoding: Symbols
) -> UInt8Array:
    """What the device sends of the head's values [n,*shape], without the entropy coder."""
    known = boundary.quantisation
    if known is None or quantises(boundary, transform):
        return quantised(transform.forward(_real(boundary, head)), encoding)
    integers = head.view(np.uint8)
    if transform.order is not None:
        integers = np.take(integers, transform.order, axis=1)
    return requantise_table(known, encoding)[integers]


def _head_values(
    segments: Sequence[Segment], pictures: UInt8Array, folder: Path
) -> dict[str, AnyArray]:
    """What the device computes at each boundary [n,*shape]."""
    found: dict[str, AnyArray] = {}
    values: AnyArray = pictures
    for segment in segments[:-1]:
        session = open_session(folder / segment.file, threads=all_cores())
        values = run_batches(session, {segment.inputs[0].name: values})[0]
        found[segment.outputs[0].name] = values
    return found
