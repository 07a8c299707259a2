"""Replies to items as one ModelInferResponse: stacked, selected, classified."""

from collections.abc import Mapping, Sequence

import numpy as np

from isthmus.oip.datatypes import BYTES, datatype_of
from isthmus.oip.messages import pb
from isthmus.oip.model import AnyArray, Model, Parameter, Reply, is_batched
from isthmus.oip.requests import Wanted, Work
from isthmus.tensors import (
    TensorSpec,
)

__all__ = ["respond", "set_parameter"]

OutputTensor = pb.ModelInferResponse.InferOutputTensor


def respond(
    request: pb.ModelInferRequest, model: Model, work: Work, replies: Sequence[Reply]
) -> pb.ModelInferResponse:
    """The answer to a request, with one reply for each of its items."""
    response = pb.ModelInferResponse(
        model_name=model.name,
        model_version=request.model_version or model.versions[-1],
        id=request.id,
    )
    for name, value in _joined([reply.parameters for reply in replies]).items():
        set_parameter(response, name, value)
    specs = {spec.name: spec for spec in model.outputs}
    stacks = is_batched(model) or len(replies) > 1
    for wanted in work.wanted:
        tensor, content = (
            _classified(wanted, replies, stacks=stacks)
            if wanted.classes
            else _plain(specs[wanted.name], replies)
        )
        response.outputs.append(tensor)
        response.raw_output_contents.append(content)
    return response


def set_parameter(response: pb.ModelInferResponse, name: str, value: Parameter) -> None:
    """Tell something beside the tensors."""
    parameter = response.parameters[name]
    match value:
        case bool():
            parameter.bool_param = value
        case int():
            parameter.int64_param = value
        case float():
            parameter.double_param = value
        case str():
            parameter.string_param = value


def _joined(parameters: Sequence[Mapping[str, Parameter]]) -> dict[str, Parameter]:
    """Those of a batch: what is the same for all items, else the items' values with commas."""
    joined: dict[str, Parameter] = {}
    for name, first in parameters[0].items():
        values = [each[name] for each in parameters]
        same = all(value == first for value in values)
        joined[name] = first if same else ",".join(map(_text, values))
    return joined


def _text(value: Parameter) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _stacked(arrays: Sequence[AnyArray], spec: TensorSpec) -> AnyArray:
    if len(arrays) == 1 or spec.batch_axis is None:
        return arrays[0]
    return np.concatenate(arrays, axis=spec.batch_axis)


def _plain(spec: TensorSpec, replies: Sequence[Reply]) -> tuple[OutputTensor, bytes]:
    values = _stacked([reply.outputs[spec.name] for reply in replies], spec)
    datatype = datatype_of(spec.data_type)
    tensor = OutputTensor(name=spec.name, datatype=datatype.name, shape=values.shape)
    return tensor, values.astype(datatype.numpy, copy=False).tobytes()


def _classified(
    wanted: Wanted, replies: Sequence[Reply], *, stacks: bool
) -> tuple[OutputTensor, bytes]:
    """The greatest values of each item, greatest first, as Triton writes them: value:index:label.

    BYTES [n,classes], or without `stacks` [classes].
    """
    rows = np.stack([reply.outputs[wanted.name].reshape(-1) for reply in replies])
    count = min(wanted.classes, rows.shape[1])
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    lines = [
        _class_line(row[index], int(index), reply.labels)
        for row, indices, reply in zip(rows, best, replies, strict=True)
        for index in indices
    ]
    shape = (len(replies), count) if stacks else (count,)
    tensor = OutputTensor(name=wanted.name, datatype=BYTES, shape=shape)
    return tensor, b"".join(len(line).to_bytes(4, "little") + line for line in lines)


def _class_line(value: np.generic, index: int, labels: Sequence[str]) -> bytes:
    number = f"{float(value):f}" if value.dtype.kind == "f" else str(int(value))
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{number}:{index}{label}".encode()
