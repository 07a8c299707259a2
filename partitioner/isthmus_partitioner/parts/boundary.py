"""What segments hand each other at a cut: integers in the int8 part, floats in the fp32 part."""

from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from isthmus import DataType, Quantisation, TensorSpec
from isthmus_partitioner.cuts.one_tensor import CutPoint
from isthmus_partitioner.graph.surgery import initialisers

__all__ = ["Boundary", "boundaries"]


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where one segment of the chain ends and the next begins.

    `name` is the tensor that the chain holds there: the uint8 one that the int8 network has for
    the cut's tensor (then `quantisation` is what it stands for), or the cut's float tensor itself.
    """

    cut: CutPoint
    name: str
    quantisation: Quantisation | None

    @property
    def spec(self) -> TensorSpec:
        """The tensor between the two segments."""
        data_type: DataType = "float32" if self.quantisation is None else "uint8"
        return TensorSpec(name=self.name, data_type=data_type, shape=self.cut.shape)


def boundaries(head: onnx.ModelProto, cuts: tuple[CutPoint, ...]) -> tuple[Boundary, ...]:
    """The boundary of every cut at which the head network can be divided, in order."""
    constants = initialisers(head.graph)
    made = {name for node in head.graph.node for name in node.output}
    quantisers = {n.input[0]: n for n in head.graph.node if n.op_type == "QuantizeLinear"}
    found = []
    for cut in cuts:
        node = quantisers.get(cut.tensor)
        if node is not None:
            scale, zero_point = (numpy_helper.to_array(constants[n]) for n in node.input[1:3])
            known = Quantisation(scale=float(scale), zero_point=int(zero_point))
            found.append(Boundary(cut, node.output[0], known))
        elif cut.tensor in made:
            found.append(Boundary(cut, cut.tensor, None))
    return tuple(found)
