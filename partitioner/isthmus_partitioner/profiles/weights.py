"""A model whose weights lie in a file of their own, so that its prefixes can share them."""

from pathlib import Path
from typing import IO

import onnx
from onnx import TensorProto
from onnx.external_data_helper import load_external_data_for_tensor

from isthmus_partitioner.graph.surgery import assemble, initialisers

__all__ = ["with_weights_outside"]

_LEAST_BYTES = 1024  # smaller ones stay inside: the runtime reads shapes and axes when it loads
_ALIGNMENT = 4096  # pages can be mapped into memory as they are


def with_weights_outside(model: onnx.ModelProto, base: Path, weights: Path) -> onnx.ModelProto:
    """The same model, its larger constants written to `weights`; `model` is left as it is.

    The answer has to be saved beside `weights`. Constants that lie outside already are looked for
    in the folder `base`.
    """
    constants = initialisers(model.graph)
    with weights.open("wb") as file:
        moved = {name: _moved(constants[name], base, file) for name in sorted(constants)}
    graph = model.graph
    return assemble(model, graph.node, graph.input, graph.output, moved)


def _moved(tensor: TensorProto, base: Path, file: IO[bytes]) -> TensorProto:
    is_outside = tensor.data_location == TensorProto.EXTERNAL
    if not is_outside and len(tensor.raw_data) < _LEAST_BYTES:
        return tensor
    if is_outside:
        inside = TensorProto()
        inside.CopyFrom(tensor)
        load_external_data_for_tensor(inside, str(base))
        tensor = inside
    file.write(b"\0" * (-file.tell() % _ALIGNMENT))
    moved = TensorProto(
        name=tensor.name,
        data_type=tensor.data_type,
        dims=tensor.dims,
        data_location=TensorProto.EXTERNAL,
    )
    place = {
        "location": Path(file.name).name,
        "offset": file.tell(),
        "length": len(tensor.raw_data),
    }
    for key, value in place.items():
        moved.external_data.add(key=key, value=str(value))
    file.write(tensor.raw_data)
    return moved
