"""Whole models for standard clients: Triton's own client asks the service."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from tests.cloud.device import Head
from tests.tinybundle import CLASSES, build_tiny_bundle
from tritonclient.utils import InferenceServerException

from isthmus_cloud import Core, RunningService, ServiceConfig
from isthmus_cloud import listening as listening_core
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.serving import Door
from isthmus_cloud.startup import start_up
from isthmus_cloud.store import Store


def asked(picture: np.ndarray) -> list[triton.InferInput]:
    tensor = triton.InferInput("picture", list(picture.shape), "UINT8")
    tensor.set_data_from_numpy(picture)
    return [tensor]


@pytest.fixture
async def client(service: RunningService) -> AsyncIterator[triton.InferenceServerClient]:
    async with triton.InferenceServerClient(service.address) as client:
        yield client


async def test_the_server_and_its_model_say_what_they_are(
    client: triton.InferenceServerClient,
) -> None:
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("tiny", "1")
    assert not await client.is_model_ready("tiny", "2")
    metadata = await client.get_model_metadata("tiny")
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [
        ("picture", "UINT8", [-1, 32, 32, 3])
    ]
    config = (await client.get_model_config("tiny")).config
    assert [list(each.dims) for each in config.output] == [[CLASSES]]
    index = await client.get_model_repository_index()
    assert [(each.name, each.state) for each in index.models] == [("tiny", "READY")]


async def test_a_wrong_shape_and_a_stranger_are_refused(
    client: triton.InferenceServerClient, head: Head
) -> None:
    with pytest.raises(InferenceServerException, match="picture"):
        await client.infer("tiny", asked(head.pictures[0][:, :16]))
    with pytest.raises(InferenceServerException, match="unknown model"):
        await client.infer("other", asked(head.pictures[0]))
    with pytest.raises(InferenceServerException, match="not allowed"):
        await client.load_model("tiny")


async def test_a_store_is_the_repository(tmp_path: Path, head: Head) -> None:
    build_tiny_bundle(tmp_path / "tiny" / "1")
    build_tiny_bundle(tmp_path / "tiny" / "2", seed=1)
    build_tiny_bundle(tmp_path / "other" / "a", seed=2)
    store = Store(tmp_path)
    store.set_active("tiny", "2")
    store.set_active("other", "a")
    config = ServiceConfig(store=tmp_path, threads=1)
    with DiskThreads() as disk:
        async with Core(config) as core:
            room = await start_up(config, core, lambda _: None, disk)
            async with (
                listening_core(config, core, Door(store=room)) as service,
                triton.InferenceServerClient(service.address) as client,
            ):
                await client.unload_model("other")
                index = await client.get_model_repository_index()
                rows = {(each.name, each.version, each.state) for each in index.models}
                assert rows == {("tiny", "2", "READY"), ("other", "a", "UNAVAILABLE")}
                second = (await client.infer("tiny", asked(head.pictures[0]))).as_numpy(
                    "probabilities"
                )
                await asyncio.to_thread(store.set_active, "tiny", "1")
                await client.load_model("tiny")
                await client.load_model("other")
                first = (await client.infer("tiny", asked(head.pictures[0]))).as_numpy(
                    "probabilities"
                )
                assert np.allclose(first, head.unsplit(0), atol=1e-6)
                assert not np.allclose(first, second, atol=1e-3)
                assert await client.is_model_ready("other")
                with pytest.raises(InferenceServerException, match="failed to load"):
                    await client.load_model("stranger")
