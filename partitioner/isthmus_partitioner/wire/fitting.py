"""How a proposed cut crosses: transforms, ladder, predictors and the tail's bias, from calibration.

Everything is fitted to the fitted items. What may also harm - a projection, a bias - stays only
where it does better on the held-back ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from isthmus import (
    Encoding,
    Lossless,
    Symbols,
    left_to_answer,
    quantised,
    requantise_table,
)
from isthmus_partitioner.agreement.metrics import Answers, Closeness, Metric
from isthmus_partitioner.config import PlanConfig, UInt8Array
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.boundary import Boundary, ChainCut
from isthmus_partitioner.parts.segments import tail_model
from isthmus_partitioner.runtime import AnyArray, Session, all_cores, open_session, run_items
from isthmus_partitioner.wire.bottleneck import Curve, Verdict, compare, projections
from isthmus_partitioner.wire.feeds import tail_feeds
from isthmus_partitioner.wire.ladder import best_order, best_predictor, step_encodings
from isthmus_partitioner.wire.stages import quantises
from isthmus_partitioner.wire.through import forecast
from isthmus_partitioner.wire.transform import PLAIN, Transform

__all__ = ["CutFitter", "CutValues", "Fitted"]

FloatArray = NDArray[np.float32]
Ladder = tuple[tuple[Encoding, ...], ...]  # by rung, then by tensor of the cut

_SIZED = 8  # items whose sizes are weighed
_PLAIN_POINTS, _PROJECTED_POINTS = 5, 3  # rungs by which a projection is judged


@dataclass(frozen=True, slots=True, eq=False)
class CutValues:
    """What is known of a cut's tensors, each [n,*shape], in the order of the cut.

    `real` is what the fp32 network computes for the fitted items, `fitted` and `held_back` what the
    chain holds for those and for the held-back ones.
    """

    real: tuple[AnyArray, ...]
    fitted: tuple[AnyArray, ...]
    held_back: tuple[AnyArray, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """How one cut crosses; `bottleneck` says what came of a projection, if one was tried.

    `biases` are what the tail adds, by place in the cut; none where they do not help.
    """

    transforms: tuple[Transform, ...]
    ladder: Ladder
    tail: onnx.ModelProto
    biases: Mapping[int, FloatArray]
    bottleneck: Verdict | None

    @property
    def has_bias(self) -> bool:
        """Whether the tail adds back a part of the head's error."""
        return bool(self.biases)


class CutFitter:
    """Fits cuts of one network; `reference` is what it answers to the held-back items."""

    def __init__(
        self, network: Network, reference: Answers, metric: Metric, config: PlanConfig
    ) -> None:
        self._network, self._config = network, config
        self._reference, self._metric = reference, metric

    def fit(self, cut: ChainCut, values: CutValues) -> Fitted:
        """All that is to be known of how a cut crosses."""
        pairs = tuple(zip(cut.boundaries, values.fitted, strict=True))
        transforms = tuple(self._ordered(boundary, held) for boundary, held in pairs)
        ladder = self._ladder(cut, transforms, values)
        bottleneck = None
        may_project = self._config.bottleneck and _may_project(cut)
        if may_project and self._is_promising(cut, transforms, ladder, values):
            projected, rungs, bottleneck = self._projected(cut, transforms, ladder, values)
            if bottleneck.is_kept:
                transforms, ladder = projected, rungs
        tail, biases = self._tail(cut, transforms, ladder, values)
        return Fitted(transforms, ladder, tail, biases, bottleneck)

    def _ordered(self, boundary: Boundary, held: AnyArray) -> Transform:
        if not boundary.is_quantised or boundary.tensor.batch_axis != 0:
            return PLAIN
        encodings = self._encodings(boundary, PLAIN, held)
        middle = encodings[len(encodings) // 2]
        symbols = _Sent(boundary, PLAIN, held).symbols(middle)
        return best_order(symbols, middle.levels, blank=middle.zero_point)

    def _ladder(self, cut: ChainCut, transforms: Sequence[Transform], values: CutValues) -> Ladder:
        """One rung for each step; those in which no tensor changes are left out."""
        columns = [
            self._column(boundary, transform, held)
            for boundary, transform, held in zip(
                cut.boundaries, transforms, values.fitted, strict=True
            )
        ]
        return tuple(dict.fromkeys(zip(*columns, strict=True)))

    def _column(self, boundary: Boundary, transform: Transform, held: AnyArray) -> list[Encoding]:
        if not boundary.is_quantised:
            return [Lossless()] * len(self._config.steps)
        sent = _Sent(boundary, transform, held[:_SIZED])
        column: list[Encoding] = []
        for encoding in self._encodings(boundary, transform, held):
            symbols = sent.symbols(encoding)
            predictor = best_predictor(symbols, encoding.levels, blank=encoding.zero_point)
            column.append(msgspec.structs.replace(encoding, predictor=predictor))
        return column

    def _encodings(
        self, boundary: Boundary, transform: Transform, held: AnyArray
    ) -> tuple[Symbols, ...]:
        source = None if quantises(boundary, transform) else boundary.quantisation
        sent = transform.forward(_real(boundary, held))
        return step_encodings(sent, self._config.steps, source)

    def _is_promising(
        self, cut: ChainCut, transforms: Sequence[Transform], ladder: Ladder, values: CutValues
    ) -> bool:
        """Whether the finest rung may meet the agreement floor; a projection makes it no better."""
        tail = self._opened(tail_model(self._network, cut, transforms))
        sent = _arriving(_columns(cut, transforms, values.held_back), ladder[0])
        finest = self._closeness(tail, cut, sent, ladder[0])
        return finest.high >= self._config.agreement_floor

    def _projected(
        self, cut: ChainCut, rivals: tuple[Transform, ...], ladder: Ladder, values: CutValues
    ) -> tuple[tuple[Transform, ...], Ladder, Verdict]:
        """The best projection of a lone tensor, its ladder, and whether it beats the cut as is."""
        (boundary,), (held,) = cut.boundaries, values.fitted
        plain = self._curve(cut, rivals, _spread(ladder, _PLAIN_POINTS), values)
        tried = {}
        for transform in projections(_real(boundary, held)):
            rungs = self._ladder(cut, (transform,), values)
            curve = self._curve(cut, (transform,), _spread(rungs, _PROJECTED_POINTS), values)
            verdict = compare(transform, boundary, plain, curve)
            ratio = inf if verdict.bytes_ratio is None else verdict.bytes_ratio
            tried[ratio] = (transform,), rungs, verdict
        return tried[min(tried)]

    def _curve(
        self,
        cut: ChainCut,
        transforms: Sequence[Transform],
        ladder: Ladder,
        values: CutValues,
    ) -> Curve:
        """Divergence and bytes of each rung on held-back items."""
        tail = self._opened(tail_model(self._network, cut, transforms))
        points = []
        columns = _columns(cut, transforms, values.held_back)
        for rung in ladder:
            sent = _arriving(columns, rung)
            size = sum(
                forecast(symbols[:_SIZED].view(np.uint8), encoding).payload_bytes
                for symbols, encoding in zip(sent, rung, strict=True)
                if isinstance(encoding, Symbols)
            )
            points.append((self._closeness(tail, cut, sent, rung).divergence, float(size)))
        return tuple(points)

    def _tail(
        self,
        cut: ChainCut,
        transforms: Sequence[Transform],
        ladder: Ladder,
        values: CutValues,
    ) -> tuple[onnx.ModelProto, dict[int, FloatArray]]:
        """The tail with or without biases, whichever answers more like the unsplit network."""
        rung = ladder[len(ladder) // 2]
        biases = {
            index: self._bias(boundary, transforms[index], encoding, values, index)
            for index, (boundary, encoding) in enumerate(zip(cut.boundaries, rung, strict=True))
            if isinstance(encoding, Symbols)
        }
        plain = tail_model(self._network, cut, transforms)
        biased = tail_model(self._network, cut, transforms, biases)
        sent = _arriving(_columns(cut, transforms, values.held_back), rung)
        before, after = (
            self._closeness(self._opened(model), cut, sent, rung).divergence
            for model in (plain, biased)
        )
        return (biased, biases) if after < before else (plain, {})

    def _bias(
        self,
        boundary: Boundary,
        transform: Transform,
        encoding: Symbols,
        values: CutValues,
        index: int,
    ) -> FloatArray:
        """The mean over the fitted items of fp32 tensor minus what arrives, as in the graph."""
        symbols = _Sent(boundary, transform, values.fitted[index]).symbols(encoding)
        # Channels come second in what ONNX calls an image; all else is averaged.
        is_image = boundary.tensor.batch_axis == 0
        axes = (0, *range(2, symbols.ndim)) if is_image else None
        with np.errstate(over="ignore", invalid="ignore"):  # masks hold the least float32
            arrived = (symbols.astype(np.float32) - encoding.zero_point) * np.float32(encoding.step)
            error = values.real[index].astype(np.float32) - transform.backward(arrived)
            mean = np.asarray(error.mean(axis=axes, keepdims=is_image, dtype=np.float32))
        bias: FloatArray = np.nan_to_num(mean, nan=0, posinf=0, neginf=0)
        return bias

    @staticmethod
    def _opened(tail: onnx.ModelProto) -> Session:
        return open_session(tail, threads=all_cores())

    def _closeness(
        self,
        tail: Session,
        cut: ChainCut,
        sent: Sequence[AnyArray],
        rung: Sequence[Encoding],
    ) -> Closeness:
        outputs = left_to_answer(self._network.outputs, cut.cut.answers)
        answers = run_items(tail, tail_feeds(cut.boundaries, sent, rung), outputs)
        # What the head has answered already is the same whatever crosses.
        return self._metric.closeness(self._reference, {**self._reference, **answers})


def _spread(ladder: Ladder, most: int) -> Ladder:
    """At most so many of its rungs, both ends among them."""
    places = np.linspace(0, len(ladder) - 1, min(most, len(ladder))).round().astype(int)
    return tuple(ladder[place] for place in places)


def _may_project(cut: ChainCut) -> bool:
    """Whether the cut is one image-like tensor [C,H,W] of symbols."""
    if len(cut.boundaries) != 1:
        return False
    (boundary,) = cut.boundaries
    tensor = boundary.tensor
    return boundary.is_quantised and tensor.batch_axis == 0 and len(tensor.shape) == 3


def _real(boundary: Boundary, held: AnyArray) -> FloatArray:
    """What the chain's values at a boundary stand for."""
    known = boundary.quantisation
    if known is None:
        return held.view(np.float32)
    return (held.astype(np.float32) - known.zero_point) * np.float32(known.scale)


class _Sent:
    """What the device sends of the chain's values [n,*shape], without the entropy coder.

    The transform is done once for all encodings.
    """

    def __init__(self, boundary: Boundary, transform: Transform, held: AnyArray) -> None:
        self.held = held
        self._known = None if quantises(boundary, transform) else boundary.quantisation
        if not boundary.is_quantised:
            return
        if self._known is None:
            self._real = transform.forward(_real(boundary, held))
        else:
            integers = held.view(np.uint8)
            order = transform.order
            self._integers = integers if order is None else np.take(integers, order, axis=1)

    def symbols(self, encoding: Symbols) -> UInt8Array:
        if self._known is None:
            return quantised(self._real, encoding)
        return requantise_table(self._known, encoding)[self._integers]


def _columns(
    cut: ChainCut, transforms: Sequence[Transform], held: Sequence[AnyArray]
) -> tuple[_Sent, ...]:
    """By tensor of the cut."""
    return tuple(
        _Sent(boundary, transform, values)
        for boundary, transform, values in zip(cut.boundaries, transforms, held, strict=True)
    )


def _arriving(columns: Sequence[_Sent], rung: Sequence[Encoding]) -> tuple[AnyArray, ...]:
    """What arrives in the cloud for each tensor of the cut [n,*wire shape]."""
    return tuple(
        column.symbols(encoding) if isinstance(encoding, Symbols) else column.held
        for column, encoding in zip(columns, rung, strict=True)
    )
