"""The way out of a refusal for want of a place: what it says does help."""

import queue
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitServicer, add_SplitServicer_to_server
from isthmus_cloud.security.allowances import Allowances
from isthmus_cloud.security.calls import MOST_EACH, CallsEach
from isthmus_cloud.security.identity import DeniedError, Identity
from isthmus_edge import Credentials
from isthmus_edge.stream.transport import Break, GrpcTransport
from isthmus_edge.stream.wording import end_text

PATIENT = 20.0


def told(text: str) -> str:
    """What the device says of a service that refuses its stream with these details."""
    end = Break(f"RESOURCE_EXHAUSTED: {text}", "RESOURCE_EXHAUSTED")
    return end_text(end, "greeting")


def test_an_identity_that_has_all_its_streams_may_get_more_by_its_token() -> None:
    allowances, camera = Allowances(time.monotonic), Identity(name="camera", max_streams=1)
    allowances.stream(camera)
    with pytest.raises(DeniedError) as denied:
        allowances.stream(camera)
    text = told(str(denied.value))
    assert "takes no stream of this device now" in text
    assert "`isthmus tokens`" in text
    assert "--max-streams" not in text


def test_an_identity_that_has_all_its_calls_can_only_end_some() -> None:
    calls = CallsEach()
    for _ in range(MOST_EACH["calls"]):
        calls.begun("camera", "calls")
    with pytest.raises(DeniedError) as denied:
        calls.check("camera", "calls")
    text = told(str(denied.value))
    assert "end others of the same identity" in text
    assert "an operator" not in text


def test_where_the_whole_service_is_full_a_token_is_no_way_out() -> None:
    server = grpc.server(ThreadPoolExecutor(1), maximum_concurrent_rpcs=0)
    add_SplitServicer_to_server(SplitServicer(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ends: queue.SimpleQueue[str | Break] = queue.SimpleQueue()
    transport = GrpcTransport(f"127.0.0.1:{port}", Credentials(), 1_000_000)
    connection = transport.connect(lambda _: None, ends.put)
    connection.send(pb.EdgeMessage(hello=pb.Hello()))
    try:
        end = Break.of(ends.get(timeout=PATIENT))
    finally:
        connection.close()
        server.stop(0).wait(PATIENT)
    assert end.status == "RESOURCE_EXHAUSTED"
    text = end_text(end, "greeting")
    assert "Concurrent RPC limit exceeded!" in text
    assert "the service is full" in text
    assert "`isthmus cloud --max-streams`" in text
    assert "isthmus tokens" not in text
