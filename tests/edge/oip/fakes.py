"""An agent that answers when it is told to, and a client that speaks our private messages."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray
from tests.tinybundle import CLASSES, PICTURE, PROBABILITIES

from isthmus import Manifest
from isthmus.oip.handlers import SERVICE_NAME
from isthmus.oip.health import HEALTH_NAME
from isthmus.oip.messages import health_pb, pb
from isthmus_edge import Answer, Inputs
from isthmus_edge.oip import Endpoint

StreamCall = grpc.aio.StreamStreamCall[Any, pb.ModelStreamInferResponse]
LABELS = tuple(f"class {index}" for index in range(CLASSES))

Response = TypeVar("Response", bound=Message)


@dataclass
class Frame:
    """One that was handed in; `end` answers it."""

    inputs: Inputs
    deadline_ms: float | None
    labels: tuple[str, ...] = LABELS
    future: "Future[Answer]" = field(default_factory=Future)

    def end(self, sequence: int = 0) -> None:
        """The answer: the first value of the picture is what every class scores."""
        assert isinstance(self.inputs, Mapping)
        picture = self.inputs[PICTURE.name]
        assert isinstance(picture, bytes | np.ndarray)
        first = len(picture) if isinstance(picture, bytes) else picture.reshape(-1)[0]
        row = np.full((1, CLASSES), first, np.float32)
        answer = Answer(
            sequence=sequence,
            outputs={PROBABILITIES.name: row},
            candidate="cut-16",
            rung=1,
            place="cloud",
            latency_ms=12.5,
            payload_bytes=250,
            labels=self.labels,
        )
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(answer)


class FakeAgent:
    """Answers at once, or keeps frames in `frames` until `end` is called.

    `handed_in` is called on the thread of `submit`; what it raises, `submit` raises.
    """

    def __init__(self, manifest: Manifest, *, at_once: bool = True) -> None:
        self.manifest = manifest
        self.frames: list[Frame] = []
        self.handed_in: Callable[[], None] = lambda: None
        self.labels = LABELS
        self._at_once = at_once
        self._some = threading.Condition()

    def submit(self, frame: Inputs, deadline_ms: float | None = None) -> "Future[Answer]":
        self.handed_in()
        taken = Frame(frame, deadline_ms, self.labels)
        with self._some:
            self.frames.append(taken)
            self._some.notify_all()
        if self._at_once:
            taken.end()
        return taken.future

    def wait_for(self, count: int, timeout_s: float = 30.0) -> list[Frame]:
        """Block until so many frames have come."""
        with self._some:
            assert self._some.wait_for(lambda: len(self.frames) >= count, timeout_s)
            return list(self.frames)


class Client:
    """One channel to an endpoint."""

    def __init__(self, target: str) -> None:
        self.channel = grpc.aio.insecure_channel(target)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.channel.close()

    def infer(
        self, request: pb.ModelInferRequest, timeout_s: float | None = None
    ) -> "grpc.aio.UnaryUnaryCall[Message, pb.ModelInferResponse]":
        return self._unary("ModelInfer", pb.ModelInferResponse)(request, timeout=timeout_s)

    async def is_ready(self) -> bool:
        request = pb.ServerReadyRequest()
        return (await self._unary("ServerReady", pb.ServerReadyResponse)(request)).ready

    def stream(self) -> "StreamCall":
        return self.channel.stream_stream(
            f"/{SERVICE_NAME}/ModelStreamInfer",
            request_serializer=_bytes_of,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )()

    async def raw(self, method: str, content: bytes) -> bytes:
        """Send bytes as they are."""
        call = self.channel.unary_unary(
            f"/{SERVICE_NAME}/{method}", request_serializer=bytes, response_deserializer=bytes
        )
        answer: bytes = await call(content)
        return answer

    async def health(self, service: str = "") -> int:
        call = self.channel.unary_unary(
            f"/{HEALTH_NAME}/Check",
            request_serializer=_bytes_of,
            response_deserializer=health_pb.HealthCheckResponse.FromString,
        )
        return (await call(health_pb.HealthCheckRequest(service=service))).status

    def watch(self) -> "grpc.aio.UnaryStreamCall[Message, health_pb.HealthCheckResponse]":
        return self.channel.unary_stream(
            f"/{HEALTH_NAME}/Watch",
            request_serializer=_bytes_of,
            response_deserializer=health_pb.HealthCheckResponse.FromString,
        )(health_pb.HealthCheckRequest())

    def _unary(
        self, method: str, kind: type[Response]
    ) -> "grpc.aio.UnaryUnaryMultiCallable[Message, Response]":
        return self.channel.unary_unary(
            f"/{SERVICE_NAME}/{method}",
            request_serializer=_bytes_of,
            response_deserializer=kind.FromString,
        )


def request_for(
    picture: NDArray[np.uint8] | Sequence[bytes], name: str = ""
) -> pb.ModelInferRequest:
    """An array, or encoded pictures, for the tiny bundle's model; `name` is the request's id."""
    if isinstance(picture, np.ndarray):
        datatype, shape, content = "UINT8", picture.shape, picture.tobytes()
    else:
        datatype, shape = "BYTES", (len(picture),)
        content = b"".join(len(file).to_bytes(4, "little") + file for file in picture)
    tensor = pb.ModelInferRequest.InferInputTensor(
        name=PICTURE.name, datatype=datatype, shape=shape
    )
    return pb.ModelInferRequest(
        model_name="tiny", id=name, inputs=[tensor], raw_input_contents=[content]
    )


def plain_picture(first: int) -> NDArray[np.uint8]:
    """A picture [1,32,32,3] of one value."""
    return np.full(PICTURE.graph_shape, first, np.uint8)


async def idle(endpoint: Endpoint) -> None:
    """Until nothing is under way there: the server hears over a socket that a client has gone."""
    async with asyncio.timeout(30.0):
        while endpoint.under_way:  # noqa: ASYNC110 - the endpoint tells nobody
            await asyncio.sleep(0)


def _bytes_of(message: Message) -> bytes:
    return message.SerializeToString()
