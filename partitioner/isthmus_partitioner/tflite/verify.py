"""A lowered graph beside the one it was made of: the same items through LiteRT and ONNX Runtime."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto

from isthmus_partitioner.runtime import open_session, run_one
from isthmus_partitioner.tflite.forms import SIGNED_OFFSET, AnyArray
from isthmus_partitioner.tflite.lowering import Lowered
from isthmus_partitioner.tflite.refusal import NotLoweredError

__all__ = ["Difference", "Twin", "verify"]

_RUNTIME_ERRORS = (RuntimeError, ValueError)  # what LiteRT raises for a graph it cannot prepare


@dataclass(frozen=True, slots=True)
class Difference:
    """How far outputs are apart, over all items; the worst output counts.

    Of integers: the smallest share of equal values in an output, the largest and the mean absolute
    difference in steps. Of reals: the largest of ``norm(difference) / norm(ONNX)`` of an output.
    """

    equal: float = 1.0
    steps: int = 0
    mean_steps: float = 0.0
    relative: float = 0.0


class Twin:
    """A lowered graph in LiteRT, on one thread, that speaks ONNX's names, types and layouts.

    Raises NotLoweredError where LiteRT cannot prepare or run it.
    """

    def __init__(self, lowered: Lowered, model: onnx.ModelProto) -> None:
        constants = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [i.name for i in model.graph.input if i.name not in constants]
        self._outputs = [info.name for info in model.graph.output]
        self._signed = {o.name for o in model.graph.output if _element(o) == TensorProto.INT8}
        self._last = frozenset(lowered.channels_last)
        try:
            self._interpreter: Any = Interpreter(model_content=lowered.data, num_threads=1)
            self._interpreter.allocate_tensors()
        except _RUNTIME_ERRORS as error:
            raise NotLoweredError(f"LiteRT refuses the lowered graph: {error}") from error
        self._sources = self._interpreter.get_input_details()
        self._targets = self._interpreter.get_output_details()

    def run(self, feed: Mapping[str, AnyArray]) -> list[AnyArray]:
        """All outputs for one item, as ONNX Runtime gives them."""
        for name, details in zip(self._inputs, self._sources, strict=True):
            self._interpreter.set_tensor(details["index"], self._taken(name, feed[name], details))
        try:
            self._interpreter.invoke()
            made = [self._interpreter.get_tensor(details["index"]) for details in self._targets]
        except _RUNTIME_ERRORS as error:
            raise NotLoweredError(f"LiteRT cannot run the lowered graph: {error}") from error
        return [self._given(*each) for each in zip(self._outputs, made, strict=True)]

    def _taken(self, name: str, array: AnyArray, details: Mapping[str, Any]) -> AnyArray:
        if name in self._last:
            array = array.transpose(0, 2, 3, 1)
        if array.dtype == np.uint8 and details["dtype"] is np.int8:
            array = (array.astype(np.int16) - SIGNED_OFFSET).astype(np.int8)
        return np.asarray(array.reshape(details["shape"]), order="C")

    def _given(self, name: str, array: AnyArray) -> AnyArray:
        if array.dtype == np.int8 and name not in self._signed:
            array = (array.astype(np.int16) + SIGNED_OFFSET).astype(np.uint8)
        return array.transpose(0, 3, 1, 2) if name in self._last else array


def verify(
    lowered: Lowered, model: onnx.ModelProto, feeds: Sequence[Mapping[str, AnyArray]]
) -> Difference:
    """Run items (graph inputs by name, a batch of one) through both; how far they are apart.

    Raises NotLoweredError where LiteRT cannot run the graph or answers in another shape.
    """
    session = open_session(model, threads=1)
    names = [info.name for info in model.graph.output]
    twin = Twin(lowered, model)
    rows = [(run_one(session, feed, names), twin.run(feed)) for feed in feeds]
    found = [
        _difference(name, [row[0][place] for row in rows], [row[1][place] for row in rows])
        for place, name in enumerate(names)
    ]
    return Difference(
        min(one.equal for one in found),
        max(one.steps for one in found),
        max(one.mean_steps for one in found),
        max(one.relative for one in found),
    )


def _element(info: onnx.ValueInfoProto) -> int:
    return info.type.tensor_type.elem_type


def _difference(name: str, wanted: list[AnyArray], made: list[AnyArray]) -> Difference:
    for theirs, ours in zip(wanted, made, strict=True):
        if theirs.shape != ours.shape:
            raise NotLoweredError(
                f"output {name!r} is {list(ours.shape)} in LiteRT and {list(theirs.shape)} in ONNX"
            )
    theirs, ours = np.stack(wanted), np.stack(made)
    if theirs.dtype.kind in "iub":
        apart = np.abs(theirs.astype(np.int64) - ours.astype(np.int64))
        return Difference(float((apart == 0).mean()), int(apart.max()), float(apart.mean()))
    real = theirs.astype(np.float64)
    size = float(np.linalg.norm(real))
    with np.errstate(invalid="ignore"):  # of two infinities
        error = float(np.linalg.norm(ours.astype(np.float64) - real))
    if not np.isfinite(error):  # the same infinities are no difference
        error = 0.0 if np.array_equal(theirs, ours, equal_nan=True) else float("inf")
        size = 1.0
    return Difference(relative=error / size if size else error)
