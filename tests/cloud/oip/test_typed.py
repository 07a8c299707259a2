"""Numbers that come one by one are read beside the loop, which goes on meanwhile."""

import threading
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tests.cloud.device import GUARD_S, Head
from tritonclient.grpc import service_pb2, service_pb2_grpc

from isthmus.oip.requests import read_request
from isthmus_cloud import RunningService


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads that have read requests."""
    seen: list[str] = []

    def noted(*args: Any) -> Any:
        seen.append(threading.current_thread().name)
        return read_request(*args)

    monkeypatch.setattr("isthmus.oip.service.read_request", noted)
    return seen


@pytest.mark.parametrize("typed", [True, False])
async def test_only_typed_contents_leave_the_loop(
    service: RunningService, head: Head, readers: list[str], typed: bool
) -> None:
    picture = head.pictures[3]
    request = service_pb2.ModelInferRequest(model_name="tiny")
    tensor = request.inputs.add(name="picture", datatype="UINT8", shape=picture.shape)
    if typed:
        tensor.contents.uint_contents.extend(picture.reshape(-1).tolist())
    else:
        request.raw_input_contents.append(picture.tobytes())
    async with grpc.aio.insecure_channel(service.address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        response = await stub.ModelInfer(request, timeout=GUARD_S)
    answer = triton.InferResult(response).as_numpy("probabilities")
    assert np.allclose(answer, head.unsplit(3), atol=1e-6)
    (reader,) = readers
    if typed:  # a thread that is there for nothing else
        assert reader.startswith("isthmus-oip-read")
    else:
        assert reader == threading.current_thread().name
