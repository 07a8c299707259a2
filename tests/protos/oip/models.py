"""A model that answers at once, or when it is told to, and requests for it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from isthmus import TensorSpec
from isthmus.oip import Model, Parameter, Reply, Tensor
from isthmus.oip.datatypes import datatype_of
from isthmus.oip.messages import pb

PICTURE = TensorSpec(name="picture", data_type="uint8", shape=(2, 2, 3))
GAIN = TensorSpec(name="gain", data_type="float32", shape=(), batch_axis=None)
SCORES = TensorSpec(name="scores", data_type="float32", shape=(4,))
TOTAL = TensorSpec(name="total", data_type="int64", shape=())
LABELS = ("ant", "bee", "cat")

InputTensor = pb.ModelInferRequest.InferInputTensor
RequestedOutput = pb.ModelInferRequest.InferRequestedOutputTensor


@dataclass
class Call:
    tensors: Mapping[str, Tensor]
    parameters: Mapping[str, Parameter]
    deadline_s: float | None


@dataclass
class FakeModel:
    """Scores are the picture's first value plus 0, 1, 2, 3, times the gain; total is its sum."""

    name: str = "fake"
    versions: tuple[str, ...] = ("1",)
    inputs: tuple[TensorSpec, ...] = (PICTURE, GAIN)
    outputs: tuple[TensorSpec, ...] = (SCORES, TOTAL)
    is_ready: bool = True
    error: Exception | None = None
    gate: asyncio.Event | None = None
    calls: list[Call] = field(default_factory=list)
    given_up: int = 0

    async def infer(
        self,
        tensors: Mapping[str, Tensor],
        parameters: Mapping[str, Parameter],
        deadline_s: float | None,
    ) -> Reply:
        self.calls.append(Call(tensors, parameters, deadline_s))
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.error is not None:
            raise self.error
        return self._reply(tensors)

    def _reply(self, tensors: Mapping[str, Tensor]) -> Reply:
        picture = tensors["picture"]
        gain = np.asarray(tensors.get("gain", np.ones((), np.float32)), np.float32)
        if isinstance(picture, bytes):
            picture = np.full(PICTURE.graph_shape, len(picture), np.uint8)
        first = int(picture.reshape(-1)[0])
        scores = ((first + np.arange(4)) * gain).astype(np.float32).reshape(1, 4)
        total = picture.astype(np.int64).sum().reshape(1)
        parameters: dict[str, Parameter] = {"fake.first": first, "fake.place": "here"}
        return Reply({"scores": scores, "total": total}, parameters, LABELS)


class Listed:
    """The `Models` of the tests."""

    def __init__(self, *models: Model) -> None:
        self.models: Sequence[Model] = models

    def listed(self) -> Sequence[Model]:
        return self.models


def picture_of(first: int, items: int = 1) -> NDArray[np.uint8]:
    """Pictures [items,2,2,3] whose first values are `first`, `first` + 1, …"""
    pictures = np.zeros((items, 2, 2, 3), np.uint8)
    pictures[:, 0, 0, 0] = first + np.arange(items)
    return pictures


def raw_request(**arrays: NDArray[np.generic]) -> pb.ModelInferRequest:
    """Arrays as raw contents; the gain is 1 unless given."""
    request = pb.ModelInferRequest(model_name="fake", id="an id")
    arrays.setdefault("gain", np.ones((), np.float32))
    known = {spec.name: spec for spec in (PICTURE, GAIN)}
    for name, array in arrays.items():
        datatype = datatype_of(known[name].data_type).name
        request.inputs.append(InputTensor(name=name, datatype=datatype, shape=array.shape))
        request.raw_input_contents.append(array.tobytes())
    return request


def without(name: str) -> Callable[[pb.ModelInferRequest], None]:
    """Takes this input out of a request with raw contents."""

    def change(request: pb.ModelInferRequest) -> None:
        index = [tensor.name for tensor in request.inputs].index(name)
        del request.inputs[index], request.raw_input_contents[index]

    return change


def pictures_request(files: list[bytes]) -> pb.ModelInferRequest:
    """Encoded pictures as BYTES [n]."""
    request = raw_request()
    request.inputs.append(InputTensor(name="picture", datatype="BYTES", shape=[len(files)]))
    content = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    request.raw_input_contents.append(content)
    return request


def scores_in(response: pb.ModelInferResponse) -> list[list[float]]:
    """Of the output `scores`, a row for each item."""
    names = [output.name for output in response.outputs]
    index = names.index("scores")
    values = np.frombuffer(response.raw_output_contents[index], np.float32)
    rows: list[list[float]] = values.reshape(response.outputs[index].shape).tolist()
    return rows
