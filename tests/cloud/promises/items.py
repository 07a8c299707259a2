"""Whole models for standard clients: Triton's own client asks the service."""

import asyncio
import io
from collections.abc import AsyncIterator

import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from PIL import Image
from tests.cloud.device import Device, Head
from tests.cloud.far_gate import FarGate
from tests.cloud.oip.test_triton import asked
from tests.cloud.wire import until
from tritonclient.utils import InferenceServerException

from isthmus_cloud import RunningService


@pytest.fixture
async def client(service: RunningService) -> AsyncIterator[triton.InferenceServerClient]:
    async with triton.InferenceServerClient(service.address) as client:
        yield client


async def test_items_are_answered_by_the_whole_model(
    client: triton.InferenceServerClient, head: Head
) -> None:
    pictures = np.concatenate(head.pictures[:5])
    result = await client.infer("tiny", asked(pictures))
    answers = result.as_numpy("probabilities")
    expected = np.concatenate([head.unsplit(picture) for picture in range(5)])
    assert np.allclose(answers, expected, atol=1e-6)
    told = result.get_response().parameters
    assert told["isthmus.version"].string_param == "1"


async def test_an_encoded_picture_is_decoded_here(
    client: triton.InferenceServerClient, head: Head
) -> None:
    file = io.BytesIO()
    Image.fromarray(head.pictures[0][0]).save(file, "PNG")
    tensor = triton.InferInput("picture", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([file.getvalue()], np.object_))
    best = triton.InferRequestedOutput("probabilities", class_count=1)
    result = await client.infer("tiny", [tensor], outputs=[best])
    (line,) = result.as_numpy("probabilities").reshape(-1)
    assert line.decode().split(":")[2].startswith("class ")


async def test_a_stream_of_requests_is_answered_in_order(
    client: triton.InferenceServerClient, head: Head
) -> None:
    async def requests() -> AsyncIterator[dict[str, object]]:
        for picture in range(6):
            inputs = asked(head.pictures[picture])
            yield {"model_name": "tiny", "inputs": inputs, "request_id": str(picture)}

    got = []
    async for result, error in client.stream_infer(requests()):
        assert error is None
        got.append((result.get_response().id, result.as_numpy("probabilities")))
    assert [name for name, _ in got] == [str(picture) for picture in range(6)]
    assert all(np.allclose(answer, head.unsplit(int(name)), atol=1e-6) for name, answer in got)


async def test_items_run_together_with_frames_of_devices(
    service: RunningService,
    device: Device,
    gate: FarGate,
    client: triton.InferenceServerClient,
    head: Head,
) -> None:
    await device.send(frame=head.frame("cut-16", 1))
    await gate.begun()
    await device.send(frame=head.frame("cut-16", 2, 2))
    item = asyncio.create_task(client.infer("tiny", asked(head.pictures[3])))
    await until(lambda: service.core.desk.waiting == 2)
    gate.open_for_good()
    assert np.allclose((await item).as_numpy("probabilities"), head.unsplit(3), atol=1e-6)
    assert {(await device.result()).sequence for _ in range(2)} == {1, 2}
    assert gate.runs == [1, 2]


async def test_an_item_that_fails_tells_nothing_of_the_inside(
    client: triton.InferenceServerClient, head: Head
) -> None:
    with pytest.raises(InferenceServerException) as failed:
        await client.infer("tiny", asked(np.zeros_like(head.pictures[0])))
    assert "secret" not in str(failed.value)
    result = await client.infer("tiny", asked(head.pictures[1]))
    assert np.allclose(result.as_numpy("probabilities"), head.unsplit(1), atol=1e-6)
