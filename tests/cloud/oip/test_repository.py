"""Loading what the store calls active, while operators may call another version so."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cloud.store.bundles import shut_folder
from tests.tinybundle import build_tiny_bundle

from isthmus.oip import RefusalError
from isthmus_cloud import Core, ServiceConfig
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.serving import StoreRoom
from isthmus_cloud.startup import start_up
from isthmus_cloud.store import Store, StoreError, UnknownVersionError


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[StoreRoom]:
    """A store with two versions, the first of which is served."""
    for version in ("1", "2"):
        build_tiny_bundle(tmp_path / "tiny" / version, seed=int(version))
    Store(tmp_path).set_active("tiny", "1")
    config = ServiceConfig(store=tmp_path, threads=1, max_batch=1)
    with DiskThreads() as disk:
        async with Core(config) as core:
            room = await start_up(config, core, lambda _: None, disk)
            assert room is not None
            yield room


async def test_loading_never_moves_what_is_active(
    room: StoreRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody activates the other version just when the first was read."""
    store, read = room.store, room.store.active_or_none

    def overtaken(name: str) -> str | None:
        version = read(name)
        if version == "1":
            store.set_active(name, "2")
        return version

    monkeypatch.setattr(store, "active", overtaken)
    monkeypatch.setattr(store, "active_or_none", overtaken)
    with pytest.raises(RefusalError, match="failed to load 'tiny'"):
        await room.repository.load("tiny")
    assert read("tiny") == "2"
    await room.repository.load("tiny")
    assert [each.version for each in room.deployer.deployed()][-1] == "2"
    assert read("tiny") == "2"


async def test_a_model_of_which_nothing_is_active_is_not_found(
    room: StoreRoom, tmp_path: Path
) -> None:
    build_tiny_bundle(tmp_path / "idle" / "1")
    for name in ("idle", "stranger"):
        with pytest.raises(RefusalError, match="failed to load") as refused:
            await room.repository.load(name)
        assert refused.value.status == "NOT_FOUND"


@pytest.mark.parametrize("kind", [StoreError, UnknownVersionError])
async def test_a_client_is_not_told_where_the_store_lies(
    room: StoreRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[StoreError]
) -> None:
    async def follow(_: str) -> None:
        raise kind(f"{tmp_path}/tiny/1/cloud/tail-1.onnx: no model")

    monkeypatch.setattr(room.activations, "follow", follow)
    with pytest.raises(RefusalError, match=r"tiny/1/cloud/tail-1\.onnx: no model") as refused:
        await room.repository.load("tiny")
    assert str(tmp_path) not in str(refused.value)


async def test_a_store_that_cannot_be_read_is_no_answer_and_does_not_say_where_it_lies(
    room: StoreRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut_folder(monkeypatch, tmp_path)
    with pytest.raises(RefusalError, match="Permission denied") as refused:
        await room.repository.unloaded()
    assert refused.value.status == "UNAVAILABLE"
    assert str(tmp_path) not in str(refused.value)


async def test_a_model_that_cannot_be_read_does_not_hide_the_others(
    room: StoreRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("idle", "secret"):
        build_tiny_bundle(tmp_path / name / "1")
    shut_folder(monkeypatch, tmp_path / "secret")
    assert [each.name for each in await room.repository.unloaded()] == ["idle"]
