"""What Triton's own example of a classifying client does, step by step, against the endpoint.

It reads metadata and configuration, makes pictures of the size and layout that they tell, sends
them in batches, and reads classes from what comes back.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.edge.oip.fakes import FakeAgent
from tritonclient.grpc import InferInput, InferRequestedOutput, aio
from tritonclient.grpc.model_config_pb2 import ModelInput
from tritonclient.utils import triton_to_np_dtype

from isthmus import open_bundle
from isthmus_edge.oip import Endpoint, EndpointConfig

NHWC, NCHW = ModelInput.FORMAT_NHWC, ModelInput.FORMAT_NCHW


@dataclass
class Parsed:
    """What the example wants to know of a model."""

    most: int
    input_name: str
    output_name: str
    height: int
    width: int
    channels: int
    datatype: str


@pytest.fixture
async def client(tiny_bundle: Path) -> AsyncIterator[aio.InferenceServerClient]:
    agent = FakeAgent(open_bundle(tiny_bundle, "device").manifest)
    config = EndpointConfig(listen=("127.0.0.1:0",))
    async with (
        Endpoint(config, agent) as endpoint,
        aio.InferenceServerClient(endpoint.addresses[0]) as client,
    ):
        yield client


async def parsed_model(client: aio.InferenceServerClient) -> Parsed:
    """One picture in, one vector out, or the example gives up."""
    metadata = await client.get_model_metadata("tiny")
    config = (await client.get_model_config("tiny")).config
    (source,), (target,), (layout,) = metadata.inputs, metadata.outputs, config.input
    batch = 1 if config.max_batch_size > 0 else 0
    assert target.datatype == "FP32"
    assert sum(size > 1 for size in target.shape[batch:]) == 1
    assert len(source.shape) == 3 + batch
    assert layout.format in {NHWC, NCHW}
    sizes = tuple(source.shape[batch:])
    height, width, channels = sizes if layout.format == NHWC else (*sizes[1:], sizes[0])
    most = config.max_batch_size
    return Parsed(most, source.name, target.name, height, width, channels, source.datatype)


def preprocessed(photo: Image.Image, model: Parsed) -> NDArray[np.generic]:
    pixels = photo.convert("L" if model.channels == 1 else "RGB")
    resized = np.array(pixels.resize((model.width, model.height), Image.Resampling.BILINEAR))
    return resized.astype(triton_to_np_dtype(model.datatype))


@pytest.mark.parametrize("batch", [1, 4])
async def test_the_classifying_client_gets_its_classes(
    client: aio.InferenceServerClient, batch: int
) -> None:
    model = await parsed_model(client)
    assert model.most >= batch
    photos = [Image.new("RGB", (60, 40), (shade, 0, 0)) for shade in range(7, 7 + batch)]
    pictures = np.stack([preprocessed(photo, model) for photo in photos])
    sent = InferInput(model.input_name, pictures.shape, model.datatype)
    sent.set_data_from_numpy(pictures)
    wanted = InferRequestedOutput(model.output_name, class_count=2)
    result = await client.infer("tiny", [sent], outputs=[wanted])
    rows = result.as_numpy(model.output_name)
    assert len(rows) == batch
    for shade, row in enumerate(rows, 7):
        value, index, label = row[0].decode().split(":")
        assert (float(value), index, label) == (shade, "0", "class 0")
        assert len(row) == 2


async def test_the_largest_batch_that_is_told_is_taken(client: aio.InferenceServerClient) -> None:
    model = await parsed_model(client)
    pictures = np.zeros((model.most, model.height, model.width, model.channels), np.uint8)
    sent = InferInput(model.input_name, pictures.shape, model.datatype)
    sent.set_data_from_numpy(pictures)
    result = await client.infer("tiny", [sent])
    assert result.as_numpy(model.output_name).shape == (model.most, 10)
