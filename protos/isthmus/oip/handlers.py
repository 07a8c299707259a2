"""The core behind grpc.aio: messages are parsed, refusals become statuses. Nothing else is here.

The handlers are generic ones, because generated servicers would drag the messages into protobuf's
default pool.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from isthmus.oip.messages import pb
from isthmus.oip.refusal import RefusalError
from isthmus.oip.service import Service
from isthmus.oip.streams import Context as StreamContext
from isthmus.oip.streams import Requests, Stream, deadline_of
from isthmus.oip.wire import NO_MESSAGE, parsed

SERVICE_NAME = "inference.GRPCInferenceService"

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
Context = grpc.aio.ServicerContext[Request, Response]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic for type checkers only

__all__ = ["SERVICE_NAME", "Handler", "inference_handler", "serialised", "unary"]


def inference_handler(service: Service) -> grpc.GenericRpcHandler:
    """What `grpc.aio.Server.add_generic_rpc_handlers` takes."""
    handlers: dict[str, Handler] = {
        "ServerLive": unary(service.server_live, pb.ServerLiveRequest),
        "ServerReady": unary(service.server_ready, pb.ServerReadyRequest),
        "ModelReady": unary(service.model_ready, pb.ModelReadyRequest),
        "ServerMetadata": unary(service.server_metadata, pb.ServerMetadataRequest),
        "ModelMetadata": unary(service.model_metadata, pb.ModelMetadataRequest),
        "ModelConfig": unary(service.model_config, pb.ModelConfigRequest),
        "ModelStatistics": unary(service.model_statistics, pb.ModelStatisticsRequest),
        "RepositoryIndex": unary(service.repository_index, pb.RepositoryIndexRequest),
        "RepositoryModelLoad": unary(service.repository_model_load, pb.RepositoryModelLoadRequest),
        "RepositoryModelUnload": unary(
            service.repository_model_unload, pb.RepositoryModelUnloadRequest
        ),
        "ModelInfer": _infer(service),
        "ModelStreamInfer": _stream_infer(service),
    }
    return grpc.method_handlers_generic_handler(SERVICE_NAME, handlers)


def unary(answer: Callable[[Request], Awaitable[Response]], kind: type[Request]) -> Handler:
    """A method of one message each way."""

    async def handle(request: Request, _: Context[Request, Response]) -> Response:
        return await answer(request)

    return _handler(handle, partial(parsed, kind))


def serialised(message: Message) -> bytes:
    """Its bytes."""
    return message.SerializeToString()


def _infer(service: Service) -> Handler:
    async def handle(
        request: pb.ModelInferRequest,
        context: Context[pb.ModelInferRequest, pb.ModelInferResponse],
    ) -> pb.ModelInferResponse:
        return await service.infer(request, deadline_of(context, service))

    return _handler(handle, _reader(service))


def _stream_infer(service: Service) -> Handler:
    async def handle(requests: Requests, context: StreamContext) -> None:
        await Stream(service, context).serve(requests)

    return grpc.stream_stream_rpc_method_handler(
        handle,
        request_deserializer=_reader(service),
        response_serializer=serialised,
    )


def _reader(service: Service) -> Callable[[bytes], pb.ModelInferRequest | None]:
    """Bytes to requests that hold no more than some model takes."""

    def read(raw: bytes) -> pb.ModelInferRequest | None:
        return parsed(pb.ModelInferRequest, raw, service.most_elements)

    return read


def _handler(
    handle: Callable[[Request, Context[Request, Response]], Awaitable[Response]],
    read: Callable[[bytes], Request | None],
) -> Handler:
    async def guarded(request: Request | None, context: Context[Request, Response]) -> Response:
        try:
            if request is None:
                raise RefusalError("INVALID_ARGUMENT", NO_MESSAGE)
            return await handle(request, context)
        except RefusalError as refusal:
            return await context.abort(grpc.StatusCode[refusal.status], str(refusal))

    return grpc.unary_unary_rpc_method_handler(
        guarded, request_deserializer=read, response_serializer=serialised
    )
