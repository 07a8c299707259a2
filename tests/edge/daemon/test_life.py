"""The daemon's life within this process: its ends, and its watchdog."""

import asyncio
import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from tests.commands import PATIENCE_S
from tests.edge.daemon.files import (
    CONTROL,
    ENDPOINT,
    FROM_STDIN,
    open_agent,
    own_stdin,
    put_picture,
    tell,
    until_soon,
    write_config,
)

from isthmus import ConfigError, PictureError
from isthmus_edge.daemon import Daemon, Status, ask_status, daemon, parts, read_config
from isthmus_edge.daemon.parts import Parts, close_parts, open_parts
from isthmus_edge.daemon.serving import Serving


@pytest.fixture(autouse=True)
def own_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loggers stay as pytest has set them up."""
    monkeypatch.setattr(daemon, "start_logging", lambda _: None)


async def status_of(folder: Path) -> Status:
    return await asyncio.to_thread(ask_status, folder / CONTROL)


@pytest.mark.parametrize(("film", "status"), [(False, 0), (True, 1)], ids=["fine", "failed"])
async def test_it_ends_when_nothing_can_come_any_more(
    tiny_bundle: Path, tmp_path: Path, film: bool, status: int
) -> None:
    config = write_config(tmp_path, tiny_bundle)
    more = '[[source]]\nkind = "video"\npath = "no-film.avi"\n' if film else ""
    config.write_text(config.read_text().replace(*FROM_STDIN) + more)
    with own_stdin() as stdin:
        stdin.close()
        async with asyncio.timeout(PATIENCE_S):
            assert await Daemon(config).run() == status


async def test_the_second_signal_ends_it_at_once_and_leaves_no_socket(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    statuses: list[int] = []

    def end(status: int) -> NoReturn:
        statuses.append(status)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    config = write_config(tmp_path, tiny_bundle, ENDPOINT)
    now_s = [100.0]
    running = Daemon(config, clock=lambda: now_s[0])
    life = asyncio.create_task(running.run())
    await until_soon(lambda: running.state == "running", "it runs")
    assert (tmp_path / "control.sock").exists()
    assert (tmp_path / "oip.sock").exists()
    running.told_to_stop(signal.SIGTERM)
    now_s[0] += 0.4
    running.told_to_stop(signal.SIGTERM)  # as `timeout` tells a child and its group
    now_s[0] += 0.2
    assert statuses == []
    with pytest.raises(Ended):
        running.told_to_stop(signal.SIGTERM)
    assert statuses == [143]
    assert not (tmp_path / "control.sock").exists()
    assert not (tmp_path / "oip.sock").exists()
    assert await life == 0


async def test_an_agent_that_hangs_is_not_told_to_be_alive(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    config = read_config(write_config(tmp_path, tiny_bundle))
    opened = await open_parts(config, open_agent, tell)
    may_go_on = threading.Event()
    running = Daemon(tmp_path)
    assert await running.hears_agent(opened, PATIENCE_S)
    answer = opened.serving.stats

    def hang() -> object:
        may_go_on.wait(PATIENCE_S)
        return answer()

    opened.serving.stats = hang  # type: ignore[method-assign, assignment]
    assert not await running.hears_agent(opened, 0.01)
    assert not await running.hears_agent(opened, 0.01), "it is asked once, not again and again"
    may_go_on.set()
    assert await running.hears_agent(opened, PATIENCE_S)
    await close_parts(opened, tell)


async def test_an_agent_that_cannot_say_how_it_is_does_not_answer(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Daemon(write_config(tmp_path, tiny_bundle))
    life = asyncio.create_task(running.run())
    await until_soon(lambda: running.state == "running", "it runs")

    def broken(_: Serving) -> NoReturn:
        raise ZeroDivisionError("ours")

    with monkeypatch.context() as patch:
        patch.setattr(Serving, "stats", broken)
        for _ in range(2):
            status = await status_of(tmp_path)
            assert status.agent is not None
            assert not status.agent.answers
    events = [event for event in status.events if event["event"] == "agent_broke"]
    assert [event["reason"] for event in events] == ["ZeroDivisionError('ours')"], "told once"
    agent = (await status_of(tmp_path)).agent
    assert agent is not None
    assert agent.answers
    running.told_to_stop(signal.SIGTERM)
    assert await life == 0


async def test_the_watchdog_hears_nothing_from_an_agent_that_broke(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Serving) -> NoReturn:
        raise ZeroDivisionError("ours")

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "2000")
        running = Daemon(write_config(tmp_path, tiny_bundle))
        monkeypatch.setattr(Serving, "stats", broken)
        asked = 0
        hear = running.hears_agent

        async def counted(parts: Parts, timeout_s: float) -> bool:
            nonlocal asked
            asked += 1
            return await hear(parts, PATIENCE_S)

        monkeypatch.setattr(running, "hears_agent", counted)
        life = asyncio.create_task(running.run())
        await until_soon(lambda: asked > 2, "it asks again")
        said = []
        with suppress(BlockingIOError):
            while True:
                said.append(manager.recv(4096).decode())
        assert [line for line in said if line.startswith("READY=1")]
        assert not [line for line in said if "WATCHDOG" in line]
        monkeypatch.undo()
        running.told_to_stop(signal.SIGTERM)
        assert await life == 0


@pytest.mark.parametrize("break_of", [ZeroDivisionError("ours"), ConfigError("a typo")])
async def test_a_reload_that_breaks_is_refused_and_the_daemon_goes_on(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_of: Exception
) -> None:
    running = Daemon(write_config(tmp_path, tiny_bundle))
    life = asyncio.create_task(running.run())
    await until_soon(lambda: running.state == "running", "it runs")

    def broken(file: Path) -> NoReturn:
        raise break_of

    monkeypatch.setattr(daemon, "read_config", broken)
    signal.raise_signal(signal.SIGHUP)
    async with asyncio.timeout(PATIENCE_S):
        while (fault := (await status_of(tmp_path)).reload_fault) is None:
            assert not life.done()
    assert str(break_of) in fault
    assert running.state == "running"
    running.told_to_stop(signal.SIGTERM)
    assert await life == 0


async def test_a_source_that_hangs_is_not_blamed_on_the_output(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network file system whose server is gone."""
    monkeypatch.setattr(parts, "LAST_S", 0.01)
    config = read_config(write_config(tmp_path, tiny_bundle, "drain_s = 0.01"))
    opened = await open_parts(config, open_agent, tell)
    is_in, may_go_on = threading.Event(), threading.Event()

    def hang(*_: object) -> NoReturn:
        is_in.set()
        may_go_on.wait(PATIENCE_S)
        raise PictureError("gone")

    monkeypatch.setattr(opened.serving, "submit", hang)
    opened.feeds["directory"].start()
    await until_soon(lambda: opened.feeds["directory"].status().state == "running", "it watches")
    put_picture(tmp_path / "in", "a.png")
    await until_soon(is_in.is_set, "it is handed in")
    told: list[tuple[str, object]] = []
    await close_parts(opened, lambda event, *_, **more: told.append((event, more.get("sources"))))
    assert told == [("source_hangs", ["directory"]), ("agent_closed", None)]
    may_go_on.set()
    assert opened.feeds["directory"].join(PATIENCE_S)


async def test_sources_need_a_model_that_takes_a_picture(wide_bundle: Path, tmp_path: Path) -> None:
    config = read_config(write_config(tmp_path, wide_bundle))
    with pytest.raises(ConfigError, match=r"'gain' float32 \[\] and no picture.*endpoint"):
        await open_parts(config, open_agent, tell)
