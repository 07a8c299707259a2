"""Loading what the store calls active, while operators may call another version so."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.tinybundle import build_tiny_bundle

from isthmus.oip import RefusalError
from isthmus_cloud import Core, ServiceConfig
from isthmus_cloud.serving import StoreRoom
from isthmus_cloud.startup import start_up
from isthmus_cloud.store import DiskThreads, Store


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
