"""SIGHUP looks again at what may change; the end of a terminal ends the service in order."""

import asyncio
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.cloud.announcements import whole
from tests.cloud.device import GUARD_S, Head, connected
from tests.cloud.telemetry.observability import ALWAYS, logged
from tests.commands import PATIENCE_S, Command, until
from tests.tinybundle import build_tiny_bundle

from isthmus import Bundle
from isthmus_cli import main
from isthmus_cloud import Core, ServiceConfig
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.reloading import hung_up, reloading
from isthmus_cloud.startup import start_up
from isthmus_cloud.store import Activations, Deployed, Store, StoreError
from isthmus_cloud.telemetry.health import Health

FREE = "127.0.0.1:0"
PROVIDER = ("--provider", "cpu", "--threads", "1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Version "1" is active, "2" and "bad" are there, too."""
    root = tmp_path / "store"
    build_tiny_bundle(root / "tiny" / "1")
    build_tiny_bundle(root / "tiny" / "2", seed=1)
    bad = build_tiny_bundle(root / "tiny" / "bad", seed=2)
    (bad / "cloud/tail-1.onnx").write_bytes(b"no model")
    store = Store(root)
    store.set_active("tiny", "1")
    return store


@contextmanager
def hanging_up() -> Iterator[None]:
    """This process survives a SIGHUP that comes when no service waits for it any more."""
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_that_is_told_to_reload_serves_what_is_active_now_and_logs_what_changes(
    store: Store, tiny_bundle: Path
) -> None:
    with Command("cloud", "--store", store.root, *("--http", FREE), *PROVIDER) as cloud:
        cloud.line("tiny 1 is served")
        address = cloud.line("listening on ").split()[2]
        store.set_active("tiny", "bad")
        cloud.process.send_signal(signal.SIGHUP)
        until(lambda: '"failed": "tiny"' in cloud.complaints(), "it says what it could not load")
        store.set_active("tiny", "2")
        cloud.process.send_signal(signal.SIGHUP)
        until(lambda: '"changed": "tiny"' in cloud.complaints(), "it has reloaded")
        at = ("--at", address)
        assert main(["push", str(tiny_bundle), "--to", address, "--name", "new", "--quiet"]) == 0
        assert main(["remove", "tiny", "bad", *at]) == 0
        assert main(["activate", "tiny", "bad", *at]) == 1
        ended = cloud.told(signal.SIGTERM)
    lines = [json.loads(line) for line in ended.err.splitlines()]
    told = {line["event"]: line for line in lines}
    assert told["reloaded"]["serves"] == "tiny 2"
    assert told["pushed"]["model"] == "new"
    assert (told["removed"]["model"], told["removed"]["version"]) == ("tiny", "bad")
    assert "tiny bad" in told["service"]["message"]
    pages = {name: fields for name, fields in logged().items() if name in told}
    for name in ("reloaded", "pushed", "removed"):
        assert told[name].keys() - ALWAYS <= pages[name]
    assert (ended.status, ended.out.splitlines()[-1]) == (0, "stopped")
    assert store.active("tiny") == "2"


async def test_a_reload_costs_no_stream(store: Store, bundle: Bundle, head: Head) -> None:
    with hanging_up():
        async with (
            whole(ServiceConfig(store=store.root, threads=1, provider="cpu")) as service,
            connected(service.address) as device,
        ):
            await device.hello(bundle.fingerprint)
            store.set_active("tiny", "2")
            os.kill(os.getpid(), signal.SIGHUP)
            assert (await device.receive()).update.version == "2"
            await device.send(frame=head.frame("cut-16"))
            assert (await device.result()).sequence == 1


@dataclass(frozen=True)
class Reloading:
    """A service without a port, which is told to reload."""

    core: Core
    store: Store
    health: Health
    told: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def serves(self) -> list[str]:
        return [f"{each.name} {each.version}" for each in self.core.deployments.active]


@asynccontextmanager
async def told_to_reload(root: Path) -> AsyncIterator[Reloading]:
    config = ServiceConfig(store=root, threads=1, max_batch=1, provider="cpu")
    health = Health()
    health.serving()
    with DiskThreads() as disk:
        async with asyncio.timeout(GUARD_S), Core(config) as core:
            room = await start_up(config, core, lambda _: None, disk, health)
            assert room is not None
            now = Reloading(core, room.store, health)
            async with reloading(now.told, core.deployments, room, health):
                yield now


@pytest.mark.parametrize(
    ("fault", "level"),
    [(StoreError("the disk is away"), "WARNING"), (RuntimeError("a bug"), "ERROR")],
)
async def test_a_reload_that_fails_is_logged_and_the_next_one_works(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Exception,
    level: str,
) -> None:
    async with told_to_reload(store.root) as now:
        loop, failed, changed = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        real, faults = now.store.models, [fault]

        def models() -> tuple[str, ...]:
            if faults:
                loop.call_soon_threadsafe(failed.set)
                raise faults.pop()
            return real()

        monkeypatch.setattr(now.store, "models", models)
        now.core.deployments.changed = changed.set
        now.told.set()
        await failed.wait()
        store.set_active("tiny", "2")
        now.told.set()
        await changed.wait()
        assert now.serves == ["tiny 2"]
    (line,) = [each for each in caplog.records if each.name == "isthmus_cloud.reloading"]
    assert line.levelname == level
    assert str(fault) in caplog.text


async def test_a_model_that_is_given_up_lacks_no_more_and_one_that_cannot_be_read_does(
    store: Store,
) -> None:
    for name in ("gone", "shut"):
        shutil.copytree(store.root / "tiny" / "bad", store.root / name / "bad")
        store.set_active(name, "bad")
    async with told_to_reload(store.root) as now:
        assert "gone bad, shut bad" in now.health.why_not
        shutil.rmtree(store.root / "gone")
        (store.root / "shut" / ".active.json").write_text("{", encoding="utf-8")
        changed = now.health.change
        now.told.set()
        await changed.wait()
        assert "shut bad" in now.health.why_not
        assert "gone" not in now.health.why_not
        shutil.rmtree(store.root / "shut")
        changed = now.health.change
        now.told.set()
        await changed.wait()
        assert now.health.is_ready
        assert now.serves == ["tiny 1"]


class Hasty:
    """A deployer, while whose loading somebody else moves the pointer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.served: list[str] = []

    async def activate(self, name: str, version: str, move: Callable[[], Awaitable[None]]) -> None:
        self._store.set_active(name, "2")
        await move()
        self.served.append(version)

    def deployed(self) -> Sequence[Deployed]:
        return ()


async def test_what_somebody_else_moves_meanwhile_is_not_moved_back(store: Store) -> None:
    deployer = Hasty(store)
    with DiskThreads() as disk:
        activations = Activations(store, deployer, disk)
        with pytest.raises(StoreError, match="somebody else has moved it meanwhile"):
            await activations.follow("tiny")
        assert (store.active("tiny"), deployer.served) == ("2", [])
        assert await activations.follow("tiny") == "2"
        assert deployer.served == ["2"]
        assert await activations.follow("nobody") is None


def test_a_terminal_that_is_closed_ends_it_in_order(tiny_bundle: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "isthmus_cli", "cloud", str(tiny_bundle), *PROVIDER]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            next(line for line in process.stdout if line.startswith("listening on"))
            process.send_signal(signal.SIGHUP)
            rest, _ = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)
    assert process.returncode == 0
    assert [line.split()[0] for line in rest.splitlines()] == ["draining", "stopped"]


async def test_who_was_started_to_outlast_its_terminal_ignores_it() -> None:
    """`nohup isthmus cloud …`"""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with hung_up() as told:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert not told.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_service_on_a_terminal_ignores_its_end_if_it_was_started_so(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`trap '' HUP; isthmus cloud …`"""
    monkeypatch.setattr("isthmus_cloud.server.hangs_up", lambda: True)
    monkeypatch.setattr("isthmus_cloud.reloading.hangs_up", lambda: True)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with whole(ServiceConfig(bundle=tiny_bundle, threads=1, provider="cpu")):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
