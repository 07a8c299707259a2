"""How close an answer, as it was sent, is to what the unsplit model says.

What counts is the plan's own metric (`isthmus.agreement.named`), on one frame and on the outputs
that the service sent: those that the head has computed already are not here.

top-1                  the first class, of all classes; where only the k greatest values were sent,
                       of these. The divergence takes what was not sent for right.
equal texts            the text of the line
cosine                 all outputs that were sent; what was not sent of a row counts as right
cosine of OUTPUT       this one; what was not sent of it counts as right
F1 at IoU, … boxes     the share of boxes that belong together (0-1)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus import IsthmusError, TensorSpec, decode_answer
from isthmus.agreement.classification import Classes, Lines
from isthmus.agreement.closeness import Closeness, Metric
from isthmus.agreement.detection import Detections, LaidOut
from isthmus.agreement.distance import Tensors, Vectors
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.feeds import AnyArray

__all__ = ["Comparison", "NotComparedError"]


class NotComparedError(IsthmusError):
    """An audit that came to no verdict; the message is for the device."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compares results with the outputs [*graph_shape] of the unsplit model, in its order."""

    metric: Metric
    outputs: tuple[TensorSpec, ...]

    def closeness(self, unsplit: Sequence[AnyArray], answered: pb.Result) -> Closeness:
        """Of one frame; NotComparedError if what the metric reads was not sent."""
        specs = {spec.name: spec for spec in self.outputs}
        named = zip(self.outputs, unsplit, strict=True)
        whole = {spec.name: _as_item(output, spec) for spec, output in named}
        sent = {
            tensor.name: _as_item(decode_answer(tensor, specs[tensor.name]), specs[tensor.name])
            for tensor in answered.outputs
        }
        metric = _fitted(self.metric, sent)
        completed = {
            tensor.name: _completed(tensor, sent[tensor.name], whole[tensor.name])
            for tensor in answered.outputs
        }
        close = metric.closeness(whole, completed)
        if not isinstance(metric, Classes):
            return close
        agreement = metric.closeness(whole, sent).agreement
        return Closeness(agreement, close.low, close.high, close.divergence)


def _fitted(metric: Metric, sent: Mapping[str, AnyArray]) -> Metric:
    """The metric over what was sent."""
    needed: str | None = None
    match metric:
        case Tensors(outputs):
            there = tuple(spec for spec in outputs if spec.name in sent)
            if there:
                return Tensors(there)
        case Classes(output) | Lines(output) | Vectors(output) | Detections(LaidOut(_, output)):
            needed = output
    if needed in sent:
        return metric
    raise NotComparedError(f"what {metric.name!r} is read from was computed on the device")


def _completed(tensor: pb.Tensor, sent: AnyArray, whole: AnyArray) -> AnyArray:
    """With the unsplit model's values in place of those that were not sent."""
    if tensor.encoding != pb.ENCODING_TOP_K:
        return sent
    return np.where(np.isneginf(sent.astype(np.float32)), whole, sent)


def _as_item(output: AnyArray, spec: TensorSpec) -> AnyArray:
    """[1,*shape]: metrics want items first, wherever the graph has its batch."""
    return output.reshape(1, *spec.shape)
