"""A client of the Open Inference Protocol for worker threads: one call at a time, with a deadline.

Messages are those of the private pool (`isthmus.oip.messages`), so that Triton's own client can be
imported beside it.
"""

from typing import TypeVar

import grpc
from google.protobuf.message import Message

from isthmus import IsthmusError, LinkError, ModelError
from isthmus.oip.handlers import SERVICE_NAME, serialised
from isthmus.oip.messages import pb
from isthmus_cloud.engines.triton_address import TritonAddress

MAX_MESSAGE_BYTES = 256 * 1024 * 1024  # of a batch, either way
BACKOFF_MS = (100, 1000)  # a server that comes back is found again within a second

__all__ = ["TritonClient"]

Response = TypeVar("Response", bound=Message)

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", BACKOFF_MS[0]),
    ("grpc.min_reconnect_backoff_ms", BACKOFF_MS[0]),
    ("grpc.max_reconnect_backoff_ms", BACKOFF_MS[1]),
)


# Of no use to send half of the batch again.
_GONE = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.NOT_FOUND,
    }
)


class TritonClient:
    """One connection, which any number of threads may use; it is made again when it breaks."""

    def __init__(self, address: TritonAddress) -> None:
        self._address = address
        if address.tls:
            credentials = grpc.ssl_channel_credentials(address.authorities)
            self._channel = grpc.secure_channel(address.target, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address.target, options=_OPTIONS)

    @property
    def target(self) -> str:
        """HOST:PORT."""
        return self._address.target

    def is_ready(self, model: str) -> bool:
        """Whether the server would run this model now."""
        request = pb.ModelReadyRequest(name=model)
        return self._call("ModelReady", request, pb.ModelReadyResponse).ready

    def metadata(self, model: str) -> pb.ModelMetadataResponse:
        """Names, types and shapes of a model's tensors."""
        request = pb.ModelMetadataRequest(name=model)
        return self._call("ModelMetadata", request, pb.ModelMetadataResponse)

    def max_batch(self, model: str) -> int:
        """Triton's `max_batch_size`: 0 where the batch is no dimension of its own."""
        request = pb.ModelConfigRequest(name=model)
        return self._call("ModelConfig", request, pb.ModelConfigResponse).config.max_batch_size

    def infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        """The answer to a batch."""
        return self._call("ModelInfer", request, pb.ModelInferResponse)

    def close(self) -> None:
        """Give the connection up, with all calls on it."""
        self._channel.close()

    def _call(self, method: str, request: Message, kind: type[Response]) -> Response:
        """ModelError where the server refuses this request, LinkError where it would answer none at
        all; the next call tries again."""
        call = self._channel.unary_unary(
            f"/{SERVICE_NAME}/{method}",
            request_serializer=serialised,
            response_deserializer=kind.FromString,
        )
        try:
            response: Response = call(request, timeout=self._address.timeout_s)
        except (grpc.RpcError, ValueError) as error:  # ValueError: the channel was closed
            raise _translated(error, f"Triton at {self.target} did not answer {method}") from error
        return response


def _translated(error: Exception, what: str) -> IsthmusError:
    if not isinstance(error, grpc.Call):
        return LinkError(f"{what}: {error}")
    code = error.code()
    kind = LinkError if code in _GONE else ModelError
    return kind(f"{what}: {code.name}, {error.details()}")
