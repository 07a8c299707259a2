"""One operation of the file while it is drawn: its inputs by number, its outputs to be given."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from isthmus import ModelError
from isthmus_partitioner.tflite_source.canvas import Canvas, Layout
from isthmus_partitioner.tflite_source.records import AnyArray, SourceOp, SourceTensor

__all__ = ["Scope"]

_BOUNDS = {
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
    schema.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
}
# What computes new values: everything else moves values that are clipped already.
_COMPUTES = frozenset(
    {
        "ADD", "BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "DIV", "FULLY_CONNECTED", "MEAN",
        "MUL", "QUANTIZE", "SUB", "SUM", "TRANSPOSE_CONV",
    }
)  # fmt: skip
_FIRST_AXES = (0, 2, 3, 1)  # where each axis of [N,H,W,C] is in [N,C,H,W]


class Scope:
    """What a drawing function needs of its operation."""

    def __init__(self, canvas: Canvas, op: SourceOp) -> None:
        self.canvas, self.op = canvas, op

    def wrong(self, reason: str) -> ModelError:
        """An error about this operation."""
        return ModelError(
            f"operation {self.op.index} ({self.op.kind}) {reason}; convert the model to ONNX "
            "where it was trained, or serve it whole"
        )

    def options(self, wanted: type[Any]) -> Any:
        """The operation's options."""
        return self.op.options_as(wanted)

    def has(self, number: int) -> bool:
        """Whether an input is given."""
        return number < len(self.op.inputs) and self.op.inputs[number] != -1

    def index(self, number: int) -> int:
        """An input's place among the file's tensors; ModelError if it is left out."""
        if not self.has(number):
            raise self.wrong(f"lacks input {number}")
        return self.op.inputs[number]

    def input(self, number: int = 0) -> SourceTensor:
        """An input as the file describes it."""
        return self.canvas.source.tensors[self.index(number)]

    def output(self, number: int = 0) -> SourceTensor:
        """An output as the file describes it."""
        if number >= len(self.op.outputs):
            raise self.wrong(f"lacks output {number}")
        return self.canvas.source.tensors[self.op.outputs[number]]

    def take(self, number: int, layout: Layout = "file") -> str:
        """The name of an input."""
        index = self.index(number)
        if layout == "first" and self.input(number).rank != 4:
            raise self.wrong(f"has no image as input {number}")
        return self.canvas.take(index, layout)

    def constant(self, number: int) -> AnyArray | None:
        """The real value of an input that is constant."""
        return self.canvas.constant_of(self.index(number))

    def needed(self, number: int, what: str) -> AnyArray:
        """The real value of an input that has to be constant."""
        value = self.constant(number)
        if value is None:
            raise self.wrong(f"computes its {what} at run time")
        return value

    def sizes(self, number: int, what: str) -> tuple[int, ...]:
        """The sizes of an input that has to be constant."""
        shape = self.canvas.shape_of(self.index(number))
        if shape is None:
            raise self.wrong(f"computes its {what} at run time")
        return shape

    def weights(self, number: int, order: tuple[int, ...]) -> str:
        """The name of an input that is constant, its axes in this order."""
        return self.canvas.weights(self.index(number), order)

    def integers(self, number: int, what: str) -> list[int]:
        """The integers of an input that has to be constant."""
        value = self.canvas.constant_of(self.index(number), raw=True)
        if value is None or value.dtype.kind != "i" or value.size > 64:
            raise self.wrong(f"computes its {what} at run time")
        return [int(each) for each in value.reshape(-1)]

    def layout(self, number: int = 0) -> Layout:
        """In which layout an input is there: channels first only where it needs no Transpose."""
        canvas, index = self.canvas, self.index(number)
        is_first = canvas.has(index, "first") and not canvas.has(index, "file")
        return "first" if is_first else "file"

    def axis(self, axis: int, layout: Layout, number: int = 0) -> int:
        """A file's axis of an input, perhaps negative, where it is in a layout."""
        rank = self.input(number).rank
        if not -rank <= axis < rank:
            raise self.wrong(f"has the axis {axis}, of {rank}")
        return _FIRST_AXES[axis % rank] if layout == "first" else axis % rank

    def ordered(self, values: Sequence[Any], layout: Layout) -> list[Any]:
        """Values for each axis of a file's image, in the order of a layout."""
        if layout == "file":
            return list(values)
        return [values[0], values[3], values[1], values[2]]

    def node(self, kind: str, inputs: Sequence[str], hint: str = "", **attributes: Any) -> str:
        """An inner node; the name of what it makes."""
        name = self.canvas.free_name(f"{self.output().name}/{hint or kind.lower()}")
        return self.canvas.node(kind, inputs, name, **attributes)

    def number(self, value: object, dtype: type[np.generic] = np.float32, hint: str = "") -> str:
        """A constant made up for this operation."""
        array = np.asarray(value, dtype)
        return self.canvas.constant(array, f"{self.output().name}/{hint or 'value'}")

    def give(
        self,
        kind: str,
        inputs: Sequence[str],
        layout: Layout = "file",
        *,
        fused: int = 0,
        number: int = 0,
        **attributes: Any,
    ) -> None:
        """Draw the node that makes an output, with what is fused behind it."""
        index = self.op.outputs[number]
        stages: list[tuple[str, Sequence[str], dict[str, Any]]]
        stages = [(kind, inputs, attributes), *self._fused(fused), *self._rounded(index, fused)]
        name = ""
        for place, (each, more, settings) in enumerate(stages):
            reads = list(more) if place == 0 else [name, *more]
            if place == len(stages) - 1:
                name = self.canvas.name_in(index, layout)
                self.canvas.node(each, reads, name, **settings)
            else:
                name = self.node(each, reads, **settings)
        self.canvas.give(index, name, layout)

    def _fused(self, code: int) -> list[tuple[str, Sequence[str], dict[str, Any]]]:
        if code == schema.ActivationFunctionType.NONE:
            return []
        if code == schema.ActivationFunctionType.RELU:
            return [("Relu", (), {})]
        if code in _BOUNDS:
            return [self._clip(*_BOUNDS[code])]
        raise self.wrong(f"has a fused activation that LiteRT does not run ({code})")

    def _clip(self, low: float, high: float) -> tuple[str, Sequence[str], dict[str, Any]]:
        return "Clip", (self.number(low, hint="low"), self.number(high, hint="high")), {}

    def _rounded(self, index: int, fused: int) -> list[tuple[str, Sequence[str], dict[str, Any]]]:
        """What the integers of the output do beyond its arithmetic.

        Where zero is their lowest, saturation is what is left of a ReLU that the converter took
        away: the real network needs it.
        """
        tensor = self.canvas.source.tensors[index]
        known, kind = tensor.quantisation, tensor.kind
        if known is None or kind not in {np.dtype(np.int8), np.dtype(np.uint8)}:
            return []
        scale, zero = float(known.scales.flat[0]), int(known.zero_points.flat[0])
        bounds = np.iinfo(kind)
        if not bounds.min <= zero <= bounds.max:
            raise self.wrong(f"makes a tensor with the zero point {zero}")
        if not self.canvas.rounds:
            is_one_sided = zero == bounds.min and not fused and self.op.kind in _COMPUTES
            return [self._clip(0.0, scale * (bounds.max - zero))] if is_one_sided else []
        steps = self.number(scale, hint="scale"), self.number(zero, kind.type, hint="zero")
        return [("QuantizeLinear", steps, {}), ("DequantizeLinear", steps, {})]
