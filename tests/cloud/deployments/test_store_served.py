"""A store that is served: versions move while devices are answered, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.cloud.device import Head, connected
from tests.tinybundle import build_tiny_bundle

from isthmus import open_bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import Core, RunningService, ServiceConfig, listening
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.serving import Door, StoreRoom
from isthmus_cloud.startup import start_up
from isthmus_cloud.store import Activations, Store, StoreError

FRAMES = 40


@dataclass(frozen=True)
class Served:
    """A service of a store with two versions, "1" active and "2" not, and "broken"."""

    service: RunningService
    core: Core
    room: StoreRoom
    activations: Activations
    lines: list[str]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    build_tiny_bundle(root / "tiny" / "1")
    build_tiny_bundle(root / "tiny" / "2", seed=1)
    broken = build_tiny_bundle(root / "tiny" / "broken", seed=2)
    (broken / "cloud/tail-1.onnx").write_bytes(b"no model")
    return root


@pytest.fixture
async def served(versions: Path) -> AsyncIterator[Served]:
    store = Store(versions)
    store.set_active("tiny", "1")
    config = ServiceConfig(store=versions, threads=1, window=4)
    lines: list[str] = []
    with DiskThreads() as disk:
        async with Core(config) as core:
            room = await start_up(config, core, lines.append, disk)
            assert room is not None
            activations = Activations(store, room.deployer, disk)
            async with listening(config, core, Door(store=room)) as service:
                yield Served(service, core, room, activations, lines)


async def stream(served: Served, version: str, started: asyncio.Event) -> int:
    """Frames of one device, a window at a time; how many were answered."""
    bundle = open_bundle(served.room.store.path("tiny", version), "cloud")
    head = Head(bundle)
    answered = 0
    async with connected(served.service.address) as device:
        assert (await device.hello(bundle.fingerprint)).welcome.version == version
        for first in range(1, FRAMES, 4):
            for sequence in range(first, first + 4):
                await device.send(frame=head.frame("cut-16", sequence))
            got = 0
            while got < 4:
                message = await device.receive()
                assert message.WhichOneof("kind") in {"result", "update"}, message
                got += message.HasField("result")
            answered += got
            started.set()
        await device.send(heartbeat=pb.Heartbeat(id=1, settled_through=FRAMES))
    return answered


async def test_the_active_versions_are_served_from_the_start(served: Served) -> None:
    assert served.lines[-1] == "tiny 1 is served"
    assert [each.version for each in served.room.deployer.deployed()] == ["1"]


async def test_activation_and_rollback_under_load_lose_no_frame(served: Served) -> None:
    started = asyncio.Event()
    devices = [asyncio.create_task(stream(served, "1", started)) for _ in range(3)]
    await started.wait()
    assert (await served.activations.activate("tiny", "2")).previous == "1"
    newer = [asyncio.create_task(stream(served, "2", started)) for _ in range(2)]
    await served.activations.rollback("tiny")
    again = asyncio.create_task(stream(served, "1", started))
    assert await asyncio.gather(*devices, *newer, again) == [FRAMES] * 6
    assert served.room.store.active("tiny") == "1"
    assert [each.version for each in served.core.deployments.active] == ["1"]


async def test_what_new_devices_get_is_known_of_each_version(served: Served) -> None:
    def given() -> list[tuple[str, bool]]:
        return [(each.version, each.is_active) for each in served.room.deployer.deployed()]

    await served.activations.activate("tiny", "2")
    assert given() == [("1", False), ("2", True)]
    await served.room.repository.unload("tiny")
    assert given() == [("1", False), ("2", False)]
    await served.activations.activate("tiny", "2")
    assert given() == [("1", False), ("2", True)]


async def test_a_version_that_cannot_be_loaded_leaves_the_old_one(served: Served) -> None:
    with pytest.raises(StoreError, match=r"broken cannot be activated \(1 stays active\)"):
        await served.activations.activate("tiny", "broken")
    assert served.room.store.active("tiny") == "1"
    assert await stream(served, "1", asyncio.Event()) == FRAMES


async def test_a_pointer_that_cannot_be_moved_leaves_the_old_one(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full, for instance."""

    def full(*_: object) -> None:
        raise StoreError("no space left on the disk")

    monkeypatch.setattr(Store, "set_active", full)
    with pytest.raises(StoreError, match="no space left"):
        await served.activations.activate("tiny", "2")
    assert [each.version for each in served.core.deployments.all] == ["1"]
    assert not served.core.deployments._users  # what holds a version holds its tails
    assert await stream(served, "1", asyncio.Event()) == FRAMES


async def test_a_version_that_is_damaged_at_the_start_is_mended_by_a_push(tmp_path: Path) -> None:
    build_tiny_bundle(tmp_path / "tiny" / "1")
    Store(tmp_path).set_active("tiny", "1")
    (tmp_path / "tiny" / "1" / "cloud" / "tail-1.onnx").write_bytes(b"no model")
    config = ServiceConfig(store=tmp_path, threads=1)
    lines: list[str] = []
    with DiskThreads() as disk:
        async with Core(config) as core:
            await start_up(config, core, lines.append, disk)
    assert "tiny 1 is NOT served" in lines[-1]
    assert "push the same bundle again" in lines[-1]
    assert "copy the bundle" not in lines[-1]


async def test_what_needs_greater_messages_than_the_service_takes_is_not_activated(
    versions: Path,
) -> None:
    store = Store(versions)
    store.set_active("tiny", "1")
    config = replace(ServiceConfig(store=versions, threads=1), max_message_bytes=1024)
    lines: list[str] = []
    with DiskThreads() as disk:
        async with Core(config) as core:
            await start_up(config, core, lines.append, disk)
            assert core.deployments.all == ()
    assert "tiny 1 is NOT served" in lines[-1]
    assert "--max-message-bytes" in lines[-1]
