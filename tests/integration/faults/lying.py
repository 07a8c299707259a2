"""A real gRPC service that greets as ours does and then lies about its answers."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from tests.cloud.device import Truth
from tests.integration.faults.traffic import WINDOW
from tests.tinybundle import PROBABILITIES

from isthmus import encode_answer, open_bundle
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitServicer, add_SplitServicer_to_server

Lie = Callable[[pb.CloudMessage], list[pb.CloudMessage]]  # what is said in place of a true result

__all__ = ["Backwards", "Garbled", "Lie", "Overloaded", "lying"]


class Backwards:
    """Results four at a time, the last one first, and each of them twice."""

    def __init__(self) -> None:
        self._held: list[pb.CloudMessage] = []

    def __call__(self, truth: pb.CloudMessage) -> list[pb.CloudMessage]:
        self._held += [truth, truth]
        if len(self._held) < WINDOW:
            return []
        told, self._held = self._held[::-1], []
        return told


class Overloaded:
    """Refuses every other frame."""

    def __call__(self, truth: pb.CloudMessage) -> list[pb.CloudMessage]:
        sequence = truth.result.sequence
        if sequence % 2:
            return [truth]
        error = pb.Error(sequence=sequence, code=pb.ERROR_CODE_OVERLOADED, message="too many")
        return [pb.CloudMessage(error=error)]


class Garbled:
    """Breaks every result in a way of its own; the last way is the truth."""

    def __init__(self) -> None:
        self.ways: list[Callable[[pb.Result], Any]] = [
            lambda result: result.outputs.pop(),
            lambda result: result.outputs.extend(list(result.outputs)),
            lambda result: setattr(result.outputs[0], "payload", result.outputs[0].payload[:-1]),
            lambda result: setattr(result.outputs[0], "payload", result.outputs[0].payload * 1000),
            lambda result: setattr(result.outputs[0], "data_type", pb.DATA_TYPE_INT64),
            lambda result: result.outputs[0].shape.append(1_000_000_000),
            lambda result: setattr(result.outputs[0], "encoding", pb.ENCODING_TOP_K),
            lambda result: setattr(result.outputs[0], "name", "another"),
            lambda result: setattr(result, "sequence", result.sequence + 1_000_000),
            lambda result: None,
        ]

    def __call__(self, truth: pb.CloudMessage) -> list[pb.CloudMessage]:
        garbled = pb.CloudMessage()
        garbled.CopyFrom(truth)
        self.ways[truth.result.sequence % len(self.ways)](garbled.result)
        return [garbled]


class _LyingService(SplitServicer):
    def __init__(self, bundle: Path, lie: Lie) -> None:
        self._bundle = open_bundle(bundle, "cloud")
        self._lie = lie

    def Stream(  # noqa: N802 - the name that the contract gives the call
        self, request_iterator: Iterator[pb.EdgeMessage], context: grpc.ServicerContext
    ) -> Iterator[pb.CloudMessage]:
        truth = Truth(self._bundle)
        for message in request_iterator:
            match message.WhichOneof("kind"):
                case "hello":
                    welcome = pb.Welcome(protocol=PROTOCOL, window=WINDOW, provider="lies")
                    yield pb.CloudMessage(welcome=welcome)
                case "heartbeat":
                    yield pb.CloudMessage(heartbeat=pb.Heartbeat(id=message.heartbeat.id))
                case "frame":
                    yield from self._lie(_result(truth, message.frame))


def _result(truth: Truth, frame: pb.Frame) -> pb.CloudMessage:
    output = encode_answer(PROBABILITIES, truth.of(frame), 0)
    return pb.CloudMessage(result=pb.Result(sequence=frame.sequence, outputs=[output]))


@contextmanager
def lying(bundle: Path, lie: Lie) -> Iterator[str]:
    """The address of a service that lies."""
    server = grpc.server(ThreadPoolExecutor(4, thread_name_prefix="lying"))
    add_SplitServicer_to_server(_LyingService(bundle, lie), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
