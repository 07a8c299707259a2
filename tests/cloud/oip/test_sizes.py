"""Requests of several items and photos fit into a message; frames of devices get no larger."""

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from PIL import Image
from tests.cloud.device import Head, connected
from tests.cloud.serving import answering, listening
from tests.tinybundle import CLASSES, build_tiny_bundle
from tritonclient.utils import InferenceServerException

from isthmus import MESSAGE_HEADROOM_BYTES, Bundle, ConfigError, Manifest
from isthmus.oip import Limits
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import Core, RunningService, ServiceConfig
from isthmus_cloud import listening as listening_core
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.config import MAX_MESSAGE_BYTES
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.faces.binding import bundle_message_bytes, message_bytes
from isthmus_cloud.serving import Door
from isthmus_cloud.startup import start_up
from isthmus_cloud.store import Store

ITEMS = Limits().max_items
MEBIBYTE = 1024 * 1024


def photo(edge: int) -> bytes:
    """Near to a byte a pixel: nothing of it can be foretold."""
    pixels = np.random.default_rng(edge).integers(0, 256, (edge, edge, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


async def answered(service: RunningService, *photos: bytes) -> int:
    """How many of these items of one request."""
    tensor = triton.InferInput("picture", [len(photos)], "BYTES")
    tensor.set_data_from_numpy(np.array(photos, np.object_))
    async with triton.InferenceServerClient(service.address) as client:
        result = await client.infer("tiny", [tensor])
    answers = result.as_numpy("probabilities")
    assert answers.shape[1:] == (CLASSES,)
    return len(answers)


async def test_photos_and_as_many_items_as_are_offered_fit_by_default(
    service: RunningService, bundle: Bundle
) -> None:
    small, large = photo(160), photo(1200)
    assert 15_000 < len(small) < 30_000
    assert len(large) > 900_000 > message_bytes([bundle.manifest])
    assert await answered(service, *[small] * ITEMS) == ITEMS
    assert await answered(service, large) == 1


@pytest.mark.parametrize("fits", [True, False])
async def test_what_the_configuration_says_counts_with_a_bundle_too(
    config: ServiceConfig, bundle: Bundle, tails: Mapping[str, Tail], fits: bool
) -> None:
    large = photo(700)
    narrow = replace(config, max_message_bytes=len(large) + (1024 if fits else 0))
    with answering(bundle.manifest, tails) as answers:
        async with listening(narrow, bundle, answers) as service:
            if fits:
                assert await answered(service, large) == 1
                return
            with pytest.raises(InferenceServerException, match="larger than max") as refused:
                await answered(service, large)
            assert refused.value.status() == "StatusCode.RESOURCE_EXHAUSTED"


async def test_messages_that_no_frame_fits_in_are_refused_at_the_start(
    config: ServiceConfig, bundle: Bundle, tails: Mapping[str, Tail]
) -> None:
    needed = message_bytes([bundle.manifest])
    narrow = replace(config, max_message_bytes=needed - 1)
    with (
        answering(bundle.manifest, tails) as answers,
        pytest.raises(ConfigError, match=f"at least --max-message-bytes {needed}"),
    ):
        async with listening(narrow, bundle, answers):
            pass


async def test_frames_are_held_to_what_is_served_of_a_store(tmp_path: Path, head: Head) -> None:
    """Where messages of 32 MiB are taken."""
    build_tiny_bundle(tmp_path / "tiny" / "1")
    Store(tmp_path).set_active("tiny", "1")
    config = ServiceConfig(store=tmp_path, threads=1)
    with DiskThreads() as disk:
        async with Core(config) as core:
            room = await start_up(config, core, lambda _: None, disk)
            async with (
                listening_core(config, core, Door(store=room)) as service,
                connected(service.address) as device,
            ):
                (deployment,) = core.deployments.active
                welcome = (await device.hello(deployment.fingerprint)).welcome
                frame = head.frame("cut-256")
                frame.payloads[0].data = bytes(welcome.max_frame_bytes)
                await device.send(frame=frame)
                error = await device.error()
    assert (error.sequence, error.code) == (0, pb.ERROR_CODE_PROTOCOL)


def sized(manifest: Manifest, *shape: int) -> Manifest:
    """Whose pictures are of another size."""
    (spec,) = manifest.inputs
    return msgspec.structs.replace(manifest, inputs=(msgspec.structs.replace(spec, shape=shape),))


def test_the_default_is_what_is_ordinary_or_what_the_items_take_within_the_memory(
    config: ServiceConfig, bundle: Bundle
) -> None:
    assert bundle_message_bytes(config, bundle.manifest, whole=True) == MAX_MESSAGE_BYTES
    large = sized(bundle.manifest, 1024, 1024, 3)
    items = ITEMS * 3 * MEBIBYTE + MESSAGE_HEADROOM_BYTES
    assert bundle_message_bytes(config, large, whole=True) == items
    scarce = replace(config, max_bytes_in_flight=MEBIBYTE)
    assert bundle_message_bytes(scarce, large, whole=True) == MEBIBYTE
    needed = message_bytes([large])
    assert bundle_message_bytes(replace(config, max_bytes_in_flight=1), large, whole=True) == needed
    assert bundle_message_bytes(config, large, whole=False) == needed
    wide = replace(config, max_message_bytes=64 * MEBIBYTE)
    assert bundle_message_bytes(wide, large, whole=False) == 64 * MEBIBYTE
