"""What a Triton server does for us, in a process of its own: it serves a model repository.

    python -m tests.cloud.engines.triton_stand_in REPOSITORY HOST:PORT [CERTIFICATE KEY]

Reads each `config.pbtxt` as Triton does (strictly, with the messages of Triton's own client) and
runs `1/model.onnx` on ONNX Runtime. Prints "listening on PORT". SIGTERM: it stops.
"""

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime as ort
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from isthmus import TensorSpec
from isthmus.oip import Parameter, Reply, Service, Tensor, make_server

READY = "listening on "
OPEN = -1
MODEL_FILE = "1/model.onnx"
TYPES: Mapping[str, Any] = {"TYPE_UINT8": "uint8", "TYPE_FP32": "float32"}

__all__ = ["READY", "configuration_of"]


def configuration_of(model: Path) -> triton.ModelConfig:
    """Of one folder of the repository."""
    text = (model / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, triton.ModelConfig())


class _Part:
    """One model of the repository, item by item."""

    versions = ("1",)
    is_ready = True

    def __init__(self, folder: Path) -> None:
        config = configuration_of(folder)
        self.name = str(config.name)
        self.inputs = _specs(config.input)
        self.outputs = _specs(config.output)
        self._session = ort.InferenceSession(
            str(folder / MODEL_FILE), providers=["CPUExecutionProvider"]
        )

    async def infer(
        self,
        tensors: Mapping[str, Tensor],
        parameters: Mapping[str, Parameter],
        deadline_s: float | None,
    ) -> Reply:
        made = await asyncio.to_thread(self._session.run, None, dict(tensors))
        names = [spec.name for spec in self.outputs]
        return Reply({name: np.asarray(each) for name, each in zip(names, made, strict=True)})


class _Repository:
    def __init__(self, folder: Path) -> None:
        self._models = [_Part(model.parent) for model in sorted(folder.glob("*/config.pbtxt"))]

    def listed(self) -> Sequence[_Part]:
        return self._models


def _specs(tensors: Sequence[Any]) -> tuple[TensorSpec, ...]:
    return tuple(_spec(tensor) for tensor in tensors)


def _spec(tensor: Any) -> TensorSpec:
    dims = list(tensor.dims)
    axis = dims.index(OPEN) if OPEN in dims else None
    shape = tuple(size for size in dims if size != OPEN)
    kind = TYPES[triton.DataType.Name(tensor.data_type)]
    return TensorSpec(name=tensor.name, data_type=kind, shape=shape, batch_axis=axis)


async def _serve(repository: Path, address: str, *pems: str) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    server = make_server(Service(_Repository(repository)))
    if pems:
        certificate, key = (Path(pem).read_bytes() for pem in pems)  # noqa: ASYNC240 - nobody waits
        credentials = grpc.ssl_server_credentials([(key, certificate)])
        port = server.add_secure_port(address, credentials)
    else:
        port = server.add_insecure_port(address)
    await server.start()
    print(READY, port, flush=True)  # noqa: T201 - read by the test
    await told.wait()
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), *sys.argv[2:]))
