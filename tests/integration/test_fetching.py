"""Devices get their bundles from a store that is served, and no frame is lost on the way."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.commands import PATIENCE_S
from tests.edge.daemon.files import ANSWERS, CONTROL, put_picture, until_soon
from tests.edge.daemon.supplied import SHELF, supplied_config, unopenable_bundle
from tests.tinybundle import build_tiny_bundle

from isthmus import BundleError, LinkError, sha256_of
from isthmus.signing import make_keys, sign_bundle
from isthmus_cloud import Core, ServiceConfig, listening
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.serving import Door
from isthmus_cloud.startup import start_up
from isthmus_cloud.store import Activations, Halves, Store
from isthmus_edge.bundles import fetching
from isthmus_edge.daemon import Daemon, Status, ask_status, daemon, supply


@dataclass(frozen=True)
class Served:
    """A service of a store with the versions "1", "2" and "unopenable"; "1" is active."""

    address: str
    activations: Activations
    store: Store

    def fingerprint(self, version: str) -> str:
        return sha256_of(self.store.path("tiny", version) / "bundle.json")


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    build_tiny_bundle(root / "tiny" / "1")
    build_tiny_bundle(root / "tiny" / "2", seed=1)
    unopenable_bundle(root / "tiny" / "unopenable", seed=2)
    return root


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loggers stay as pytest has set them up, and nothing is waited for but events."""
    monkeypatch.setattr(daemon, "start_logging", lambda _: None)
    monkeypatch.setattr(supply, "GAP_S", 0.0)
    monkeypatch.setattr(fetching, "BACKOFF_S", (0.02, 0.02))


@asynccontextmanager
async def serving(root: Path, listen: str = "127.0.0.1:0") -> AsyncIterator[Served]:
    store = Store(root)
    store.set_active("tiny", "1")
    config = ServiceConfig(store=root, threads=1, window=4, listen=listen)
    with DiskThreads() as disk:
        async with Core(config) as core:
            room = await start_up(config, core, lambda _: None, disk)
            assert room is not None
            activations = Activations(store, room.deployer, disk)
            async with listening(config, core, Door(store=room)) as service:
                yield Served(service.address, activations, store)


@pytest.fixture
async def served(versions: Path) -> AsyncIterator[Served]:
    async with serving(versions) as served:
        yield served


class Device:
    """A daemon in this process; its answers, and what it says of itself."""

    def __init__(self, config: Path) -> None:
        self.folder = config.parent
        self._daemon = Daemon(config)
        self.task = asyncio.create_task(self._daemon.run())

    async def status(self) -> Status | None:
        if self.task.done():
            self.task.result()
        try:
            return await asyncio.to_thread(ask_status, self.folder / CONTROL)
        except LinkError:
            return None

    async def until(self, happened: Callable[[Status], object], what: str) -> Status:
        async with asyncio.timeout(PATIENCE_S):
            while (status := await self.status()) is None or not happened(status):  # noqa: ASYNC110
                await asyncio.sleep(0)  # another process would have to ask again, too
        assert happened(status), what
        return status

    async def uses(self, fingerprint: str) -> Status:
        return await self.until(
            lambda status: (
                status.state == "running"
                and status.bundle is not None
                and status.bundle["fingerprint"] == fingerprint
            ),
            f"bundle {fingerprint} is in use",
        )

    async def answer(self, names: list[str]) -> list[dict[str, object]]:
        """Put pictures, and wait for as many more answers."""
        before = len(self.answers())
        for index, name in enumerate(names):
            await asyncio.to_thread(put_picture, self.folder / "in", name, index % 4)
        await until_soon(lambda: len(self.answers()) == before + len(names), "answered")
        return self.answers()[before:]

    def answers(self) -> list[dict[str, object]]:
        path = self.folder / ANSWERS
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]


@asynccontextmanager
async def device(config: Path) -> AsyncIterator[Device]:
    running = Device(config)
    try:
        yield running
    finally:
        if not running.task.done():
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(PATIENCE_S):
                assert await running.task == 0


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that the service was asked for."""
    asked: list[str] = []
    real = Halves.open

    def noted(self: Halves, fingerprint: str, path: str, *more: Any) -> object:
        asked.append(f"{fingerprint}/{path}")
        return real(self, fingerprint, path, *more)

    monkeypatch.setattr(Halves, "open", noted)
    return asked


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{index:02}.png" for index in range(count)]


async def test_a_device_moves_to_the_next_version_and_back_with_all_frames_answered(
    served: Served, tmp_path: Path, fetches: list[str]
) -> None:
    first, second = served.fingerprint("1"), served.fingerprint("2")
    async with device(supplied_config(tmp_path, served.address)) as running:
        await running.uses(first)
        frames = asyncio.create_task(running.answer(names("during", 24)))
        await served.activations.activate("tiny", "2")
        status = await running.uses(second)
        lines = await frames + await running.answer(names("after", 4))
        assert status.bundle is not None
        assert status.bundle["path"] == str(tmp_path / SHELF / "tiny" / second)
        came = len(fetches)
        await served.activations.rollback("tiny")
        await running.uses(first)
        lines += await running.answer(names("back", 4))
        status = await running.until(lambda told: told.counts, "counted")
    assert len(fetches) == came, "it was on the shelf"
    offers = [event["message"] for event in status.events if event["event"] == "agent"]
    assert all("fetched in the background" in offer for offer in offers), offers
    assert offers
    assert [line for line in lines if "top" not in line] == []
    assert len({line["item"] for line in lines}) == len(lines) == 32
    assert status.counts is not None
    assert (status.counts.accepted, status.counts.errors) == (32, 0)
    assert status.reloads == 0
    kept = {each.name for each in (tmp_path / SHELF / "tiny").iterdir() if each.name[0] != "."}
    assert kept == {first, second}


async def test_a_version_that_cannot_be_opened_leaves_the_old_one_serving(
    served: Served, tmp_path: Path, fetches: list[str]
) -> None:
    first, bad = served.fingerprint("1"), served.fingerprint("unopenable")
    async with device(supplied_config(tmp_path, served.address)) as running:
        await running.uses(first)
        await served.activations.activate("tiny", "unopenable")
        status = await running.until(
            lambda told: told.supply is not None and told.supply.state == "refused", "refused"
        )
        assert status.supply is not None
        assert status.supply.fingerprint == bad
        assert "segment-0" in (status.supply.fault or "")
        assert "update_refused" in [event["event"] for event in status.events]
        assert await running.uses(first)
        lines = await running.answer(names("still", 4))
        came = len(fetches)
        os.kill(os.getpid(), signal.SIGHUP)
        await running.until(
            lambda told: (
                [event["event"] for event in told.events].count("update_refused") == 2
                and told.reloads == 1
            ),
            "tried once more",
        )
        assert await running.uses(first)
    async with device(supplied_config(tmp_path, served.address)) as running:
        await running.uses(first)
        await running.until(
            lambda told: told.supply is not None and told.supply.state == "refused", "known"
        )
    assert len(fetches) == came, "it was fetched again"
    assert all("top" in line for line in lines)


async def test_the_last_good_bundle_needs_no_cloud(versions: Path, tmp_path: Path) -> None:
    async with serving(versions) as served:
        config, first = supplied_config(tmp_path, served.address), served.fingerprint("1")
        async with device(config) as running:
            await running.uses(first)
    async with device(config) as running:
        await running.uses(first)
        (line,) = await running.answer(["alone.png"])
        assert line["place"] == "device"
        status = await running.until(lambda told: told.supply and told.supply.fault, "told")
        assert status.supply is not None
        assert status.supply.state == "waiting"


async def test_the_first_bundle_is_waited_for(versions: Path, tmp_path: Path) -> None:
    async with serving(versions) as served:
        address = served.address
    async with device(supplied_config(tmp_path, address)) as running:
        status = await running.until(lambda told: told.supply and told.supply.fault, "told")
        assert status.state == "starting"
        assert status.bundle is None
        async with serving(versions, address) as served:
            await running.uses(served.fingerprint("1"))


async def test_who_waits_for_its_first_bundle_can_be_told_to_stop(
    versions: Path, tmp_path: Path
) -> None:
    async with serving(versions) as served:
        address = served.address
    async with device(supplied_config(tmp_path, address)) as running:
        await running.until(lambda told: told.supply and told.supply.fault, "told")
    assert running.task.result() == 0


async def test_only_signed_versions_are_used_where_keys_are_given(
    tmp_path: Path, fetches: list[str]
) -> None:
    private, public = make_keys(tmp_path / "keys")
    root = tmp_path / "store"
    sign_bundle(build_tiny_bundle(root / "tiny" / "1"), private)
    build_tiny_bundle(root / "tiny" / "2", seed=1)
    async with serving(root) as served:
        config = supplied_config(tmp_path, served.address)
        text = config.read_text().replace('model = "tiny"', f'model = "tiny"\nkeys = ["{public}"]')
        config.write_text(text)
        async with device(config) as running:
            await running.uses(served.fingerprint("1"))
            came = len(fetches)
            await served.activations.activate("tiny", "2")
            status = await running.until(
                lambda told: told.supply is not None and told.supply.state == "refused", "refused"
            )
            assert status.supply is not None
            assert "not signed" in (status.supply.fault or "")
            await running.uses(served.fingerprint("1"))
        assert len(fetches) == came
        fresh = tmp_path / "fresh"
        fresh.mkdir()
        config = supplied_config(fresh, served.address)
        config.write_text(text)
        with pytest.raises(BundleError, match="not signed"):
            await Daemon(config).run()
