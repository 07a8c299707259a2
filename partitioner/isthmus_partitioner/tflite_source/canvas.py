"""The ONNX graph while it is being drawn, where an image exists channels last or first.

TFLite keeps images as [N,H,W,C], ONNX as [N,C,H,W]. A tensor is drawn in the layout in which its
operation makes it; the other one is a Transpose, drawn only when somebody asks for it. Operations
that do not care for the layout (activations, sums, pads, concatenations) take what is there, so
that between convolutions nothing is transposed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from isthmus import ModelError
from isthmus_partitioner.tflite_source.records import AnyArray, Source

__all__ = ["TO_FILE", "TO_FIRST", "Canvas", "Layout"]

Layout = Literal["file", "first"]  # as the file has it; channels first

_MOST_DRAWN = 16  # times the file's size: shared or sparse (4), and 8 bits as 32 (4)
TO_FIRST = (0, 3, 1, 2)
TO_FILE = (0, 2, 3, 1)
OPSET = 18
_IR_VERSION = 8
_SUFFIX: Mapping[Layout, str] = {"file": "/nhwc", "first": "/nchw"}


class Canvas:
    """Nodes and constants, and under which name each tensor of the file can be had.

    Where the file is quantised the drawing is of real numbers; with `rounds`, each quantised
    tensor is rounded to its integers and back, as the file's own arithmetic does it.
    """

    def __init__(self, source: Source, *, rounds: bool = False) -> None:
        self.source, self.rounds = source, rounds
        self.nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._nbytes = 0  # of the constants
        self._weights: dict[tuple[int, tuple[int, ...]], str] = {}
        self._forms: dict[tuple[int, Layout], str] = {}
        self._folded: dict[int, int] = {}
        self._taken = {tensor.name for tensor in source.tensors}
        self._ends = {*source.inputs, *source.outputs}

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Draw a node with one output; its name."""
        self.nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def free_name(self, wanted: str) -> str:
        """`wanted`, or that with a number where it is taken."""
        name, number = wanted, 1
        while name in self._taken:
            name, number = f"{wanted}_{number}", number + 1
        self._taken.add(name)
        return name

    def constant(self, value: AnyArray, wanted: str) -> str:
        """A constant; its name. ModelError where all of them are too large for such a file."""
        self._nbytes += value.nbytes
        if self._nbytes > _MOST_DRAWN * self.source.nbytes:
            raise ModelError(
                f"{self.source.nbytes:,} bytes of a file become more than {_MOST_DRAWN} times as "
                "many bytes of weights; convert the model to ONNX where it was trained, or serve "
                "it whole"
            )
        name = self.free_name(wanted)
        self._constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def weights(self, index: int, order: tuple[int, ...]) -> str:
        """The name of a constant as float32, its axes in this order, drawn for all that read it."""
        key = (self._stored(index), order)
        if key not in self._weights:
            value = self.constant_of(index)
            assert value is not None
            turned = value.astype(np.float32, copy=False).transpose(order)
            self._weights[key] = self.constant(turned, f"{self.source.tensors[index].name}/weights")
        return self._weights[key]

    def fold(self, index: int, stored: int) -> None:
        """A tensor of the file turned out to be the real numbers of a constant."""
        self._folded[index] = self._stored(stored)

    def constant_of(self, index: int, *, raw: bool = False) -> AnyArray | None:
        """The value of a tensor that does not depend on an input: as stored, or real."""
        tensor = self.source.tensors[self._stored(index)]
        if tensor.content is None:
            return None
        return tensor.array() if raw and index not in self._folded else tensor.real()

    def shape_of(self, index: int) -> tuple[int, ...] | None:
        """The sizes of a constant, None for a tensor that is none."""
        tensor = self.source.tensors[self._stored(index)]
        return None if tensor.content is None else tensor.shape

    def _stored(self, index: int) -> int:
        return self._folded.get(index, index)

    def name_in(self, index: int, layout: Layout) -> str:
        """What a tensor shall be called in a layout: inputs and outputs as in the file."""
        tensor = self.source.tensors[index]
        is_other = index in self._ends and layout == "first"
        if is_other or any((index, each) in self._forms for each in _SUFFIX):
            return self.free_name(tensor.name + _SUFFIX[layout])
        return tensor.name

    def give(self, index: int, name: str, layout: Layout) -> None:
        """The tensor can be had under this name."""
        self._forms[index, layout] = name

    def has(self, index: int, layout: Layout) -> bool:
        """Whether a tensor is drawn in this layout already."""
        return (index, layout) in self._forms

    def take(self, index: int, layout: Layout = "file") -> str:
        """The name of a tensor in a layout; transposes, or stores a constant, if need be."""
        if (index, layout) in self._forms:
            return self._forms[index, layout]
        value = self.constant_of(index)
        if value is not None:
            value = value.transpose(TO_FIRST) if layout == "first" else value
            name = self.constant(value, f"{self.source.tensors[index].name}/constant")
        else:
            other: Layout = "first" if layout == "file" else "file"
            order = TO_FIRST if layout == "first" else TO_FILE
            name = self.name_in(index, layout)
            self.node("Transpose", [self._forms[index, other]], name, perm=order)
        self._forms[index, layout] = name
        return name

    def model(
        self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """The whole drawing."""
        graph = helper.make_graph(
            self.nodes, "tflite", inputs, outputs, list(self._constants.values())
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        model.producer_name = "isthmus"
        return model
