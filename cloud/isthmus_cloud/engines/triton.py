"""A Triton server as the engine: it runs the parts that `isthmus export triton` wrote for it.

What the service knows of the parts it asks the server; the bundle's files are not loaded here.
Tensors come back to the host after every part: the protocol has no handle that would outlive a
call.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from isthmus import Bundle, ModelError
from isthmus.oip.datatypes import DATATYPES, Datatype
from isthmus.oip.messages import pb
from isthmus_cloud.engines.seam import AnyArray, Value, type_name
from isthmus_cloud.engines.triton_address import TritonAddress
from isthmus_cloud.engines.triton_client import TritonClient
from isthmus_cloud.engines.triton_names import model_name

__all__ = ["TritonEngine", "TritonProgram"]

Metadata = pb.ModelMetadataResponse.TensorMetadata
InputTensor = pb.ModelInferRequest.InferInputTensor
WantedOutput = pb.ModelInferRequest.InferRequestedOutputTensor

_OPEN = -1  # a dimension of any size


class TritonProgram:
    """One part as a model of the server; see `seam.Program`."""

    def __init__(self, client: TritonClient, model: str) -> None:
        self._client = client
        self._model = model
        metadata = client.metadata(model)
        self._inputs = {each.name: each for each in metadata.inputs}
        self._outputs = {each.name: each for each in metadata.outputs}
        tensors = (*metadata.inputs, *metadata.outputs)
        self._types = {each.name: _datatype(model, each) for each in tensors}
        is_open = any(_OPEN in each.shape for each in metadata.inputs)
        self._sizes = tuple(range(1, client.max_batch(model) + 1)) if is_open else (1,)

    @property
    def inputs(self) -> Mapping[str, str]:
        """The model's inputs in order: ONNX Runtime's types by name, as "tensor(uint8)"."""
        return {name: type_name(self._types[name].numpy.name) for name in self._inputs}

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the model's outputs, in its order."""
        return tuple(self._outputs)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that it takes, ascending; () for any."""
        return self._sizes

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        """The outputs for a batch; ModelError if the server refuses it or answers something else,
        LinkError if it is gone or late: then no batch would fare better."""
        request = pb.ModelInferRequest(
            model_name=self._model, outputs=[WantedOutput(name=name) for name in self._outputs]
        )
        for name, tensor in self._inputs.items():
            self._add(request, tensor, feeds.get(name))
        return self._read(self._client.infer(request))

    def _add(self, request: pb.ModelInferRequest, tensor: Metadata, value: Value) -> None:
        datatype = self._types[tensor.name]
        if not isinstance(value, np.ndarray) or value.dtype != datatype.numpy:
            given = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
            raise ModelError(
                f"model {self._model}: its input {tensor.name} is {datatype.name}, got {given}; "
                "export the bundle again"
            )
        request.inputs.append(
            InputTensor(name=tensor.name, datatype=datatype.name, shape=value.shape)
        )
        request.raw_input_contents.append(value.tobytes())

    def _read(self, response: pb.ModelInferResponse) -> list[Value]:
        came = {each.name: index for index, each in enumerate(response.outputs)}
        if set(came) != set(self._outputs) or len(came) != len(response.raw_output_contents):
            raise ModelError(
                f"model {self._model} answered with {', '.join(came) or 'no'} tensors in "
                f"{len(response.raw_output_contents)} contents, not with raw contents for "
                f"{', '.join(self._outputs)}"
            )
        return [
            self._array(response.outputs[came[name]], response.raw_output_contents[came[name]])
            for name in self._outputs
        ]

    def _array(self, output: pb.ModelInferResponse.InferOutputTensor, raw: bytes) -> AnyArray:
        """A view of the message's own bytes."""
        datatype, shape = self._types[output.name], tuple(output.shape)
        declared = tuple(self._outputs[output.name].shape)
        fits = len(shape) == len(declared) and all(
            size == wanted or (wanted == _OPEN and size >= 0)
            for size, wanted in zip(shape, declared, strict=False)
        )
        is_whole = fits and len(raw) == math.prod(shape) * datatype.numpy.itemsize
        if output.datatype != datatype.name or not is_whole:
            raise ModelError(
                f"model {self._model}: its output {output.name} came as {output.datatype} "
                f"{list(shape)} in {len(raw)} bytes, announced was {datatype.name} "
                f"{list(declared)}"
            )
        return np.frombuffer(raw, datatype.numpy).reshape(shape)


class TritonEngine:
    """Runs the parts of one bundle on a Triton server; see `seam.Engine`."""

    def __init__(self, address: TritonAddress, bundle: Bundle) -> None:
        self._bundle = bundle
        self._client = TritonClient(address)

    @property
    def provider(self) -> str:
        """Whose work it is; devices are not told where the server is."""
        return "Triton"

    def load(self, path: Path) -> TritonProgram:
        """A part that the server has ready; ModelError says how it gets there, LinkError that there
        is no server."""
        model = model_name(self._bundle, path.relative_to(self._bundle.path).as_posix())
        if not self._client.is_ready(model):
            raise ModelError(
                f"Triton at {self._client.target} has no model {model} ready; write it with "
                f"`isthmus export triton {self._bundle.path} --out MODEL_REPOSITORY` and let the "
                "server load it"
            )
        return TritonProgram(self._client, model)

    def join(self, values: Sequence[Value], axis: int) -> Value:
        """Batches as one."""
        return np.concatenate([self.to_host(value) for value in values], axis)

    def to_host(self, value: Value) -> AnyArray:
        """They are there."""
        assert isinstance(value, np.ndarray)
        return value

    def close(self) -> None:
        """Give the connection up."""
        self._client.close()


def _datatype(model: str, tensor: Metadata) -> Datatype:
    known = DATATYPES.get(tensor.datatype)
    if known is None:
        raise ModelError(
            f"model {model}: {tensor.name} is {tensor.datatype}, which no part of a tail reads or "
            "makes; export the bundle again"
        )
    return known
