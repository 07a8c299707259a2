"""The daemon's life within this process: its ends, its watchdog, and what a reload keeps."""

import asyncio
import os
import signal
import socket
import stat
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.commands import PATIENCE_S
from tests.edge.daemon.files import CONTROL, put_picture, write_config
from tests.tinybundle import tiny_pictures

from isthmus import ConfigError
from isthmus_edge import Agent, AgentConfig
from isthmus_edge.daemon import Daemon, Status, ask_status, daemon, parts, read_config
from isthmus_edge.daemon.parts import Parts, close_parts, open_parts
from isthmus_edge.daemon.reload import take_over
from isthmus_edge.daemon.serving import Answering

ENDPOINT = '[endpoint]\nunix = "oip.sock"\n'


@pytest.fixture(autouse=True)
def own_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loggers stay as pytest has set them up."""
    monkeypatch.setattr(daemon, "start_logging", lambda _: None)


def tell(event: str, level: int = 0, **fields: Any) -> None:
    pass


def open_agent(config: AgentConfig) -> Answering:
    return Agent.open(config)


async def status_of(folder: Path) -> Status:
    return await asyncio.to_thread(ask_status, folder / CONTROL)


async def until(happened: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not happened():  # noqa: ASYNC110 - a file of another thread has no event
            await asyncio.sleep(0)
    assert happened(), what


@pytest.mark.parametrize(("film", "status"), [(False, 0), (True, 1)], ids=["fine", "failed"])
async def test_it_ends_when_nothing_can_come_any_more(
    tiny_bundle: Path, tmp_path: Path, film: bool, status: int
) -> None:
    config = write_config(tmp_path, tiny_bundle)
    more = '[[source]]\nkind = "video"\npath = "no-film.avi"\n' if film else ""
    pipe, end = os.pipe()
    os.close(end)
    saved = os.dup(0)
    os.dup2(pipe, 0)
    text = config.read_text().replace('kind = "directory"\npath = "in"', 'kind = "stdin"')
    config.write_text(text + more)
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert await Daemon(config).run() == status
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(pipe)


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
    running = Daemon(config)
    life = asyncio.create_task(running.run())
    await until(lambda: running.state == "running", "it runs")
    assert (tmp_path / "control.sock").exists()
    assert (tmp_path / "oip.sock").exists()
    running.told_to_stop(signal.SIGTERM)
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


@pytest.fixture
def reloading(tiny_bundle: Path, tmp_path: Path) -> "Reloading":
    return Reloading(tiny_bundle, tmp_path)


class Reloading:
    """A daemon's parts, and new settings for them."""

    def __init__(self, bundle: Path, folder: Path) -> None:
        self.bundle = bundle
        self.folder = folder

    def write(self, more: str = "", old: str = "", new: str = "") -> Any:
        path = write_config(self.folder, self.bundle, more)
        path.write_text(path.read_text().replace(old, new) if old else path.read_text())
        return read_config(path)

    async def during(self, work: Callable[[Parts], Awaitable[None]], more: str = "") -> None:
        opened = await open_parts(self.write(more), open_agent, tell)
        for feed in opened.feeds.values():
            feed.start()
        try:
            await work(opened)
        finally:
            await close_parts(opened, tell)

    async def change(self, opened: Parts, config: Any) -> None:
        for feed in await take_over(opened, config, open_agent, tell):
            feed.start()


async def test_what_did_not_change_goes_on_without_noticing(reloading: Reloading) -> None:
    async def work(opened: Parts) -> None:
        feed, endpoint, output = opened.feeds["directory"], opened.endpoint, opened.desk.output
        config = reloading.write(ENDPOINT, "heed_vitals = false", "heed_vitals = true")
        await reloading.change(opened, config)
        assert opened.feeds == {"directory": feed}
        assert opened.endpoint is endpoint
        assert endpoint is not None
        assert endpoint.is_ready
        assert opened.desk.output is output
        assert opened.config is config
        put_picture(reloading.folder / "in", "a.png")
        await until((reloading.folder / "answers.jsonl").exists, "answered")

    await reloading.during(work, ENDPOINT)


async def test_output_sources_and_endpoint_can_change(reloading: Reloading) -> None:
    folder = reloading.folder
    (folder / "tray").mkdir()

    async def work(opened: Parts) -> None:
        config = reloading.write(
            ENDPOINT + 'loopback = "127.0.0.1:0"\n', "answers.jsonl", "others.jsonl"
        )
        await reloading.change(opened, config)
        both = opened.endpoint
        assert both is not None
        assert len(both.addresses) == 2
        config = reloading.write("", 'path = "in"', 'path = "tray"')
        await reloading.change(opened, config)
        assert opened.endpoint is None
        assert not (folder / "oip.sock").exists()
        put_picture(folder / "tray", "a.png")
        await until((folder / "answers.jsonl").exists, "answered")
        assert not (folder / "others.jsonl").exists()

    await reloading.during(work, ENDPOINT)


async def test_a_refused_reload_leaves_all_as_it_was(
    reloading: Reloading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")

    async def work(opened: Parts) -> None:
        before = (opened.config, dict(opened.feeds), opened.desk.output, opened.serving.manifest)
        change = ("heed_vitals = false", "threads = 2")
        for config in (
            reloading.write('[endpoint]\nunix = "file"\n', *change),
            reloading.write(ENDPOINT, "control.sock", "elsewhere.sock"),
            reloading.write(ENDPOINT, "answers.jsonl", "none/answers.jsonl"),
        ):
            with pytest.raises(ConfigError):
                await reloading.change(opened, config)
        monkeypatch.setattr(parts, "resident_bytes", lambda: 10**15)
        with pytest.raises(ConfigError, match="restart the daemon"):
            await reloading.change(opened, reloading.write(ENDPOINT, *change))
        assert (opened.config, opened.feeds, opened.desk.output, opened.serving.manifest) == before
        assert (reloading.folder / "oip.sock").exists()
        put_picture(reloading.folder / "in", "a.png")
        await until((reloading.folder / "answers.jsonl").exists, "answered")

    await reloading.during(work, ENDPOINT)


async def test_frames_that_a_refused_agent_answered_are_counted(reloading: Reloading) -> None:
    async def work(opened: Parts) -> None:
        change = opened.serving.change

        def change_and_ask(agent: Answering) -> Answering:
            before = change(agent)
            opened.serving.submit(tiny_pictures(1)[0]).result(PATIENCE_S)
            return before

        opened.serving.change = change_and_ask  # type: ignore[method-assign]
        (reloading.folder / "file").write_text("in the way")
        bad = reloading.write('[endpoint]\nunix = "file"\n', "heed_vitals = false", "threads = 2")
        with pytest.raises(ConfigError):
            await reloading.change(opened, bad)
        assert opened.serving.counts().accepted == opened.serving.counts().answered_device == 1

    await reloading.during(work)


@pytest.mark.parametrize("break_of", [ZeroDivisionError("ours"), ConfigError("a typo")])
async def test_a_reload_that_breaks_is_refused_and_the_daemon_goes_on(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_of: Exception
) -> None:
    running = Daemon(write_config(tmp_path, tiny_bundle))
    life = asyncio.create_task(running.run())
    await until(lambda: running.state == "running", "it runs")

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


async def test_the_folder_of_a_socket_is_made_for_this_user(reloading: Reloading) -> None:
    async def work(opened: Parts) -> None:
        await reloading.change(opened, reloading.write('[endpoint]\nunix = "made/oip.sock"\n'))
        assert stat.S_IMODE((reloading.folder / "made").stat().st_mode) == 0o700
        assert (reloading.folder / "made" / "oip.sock").is_socket()

    await reloading.during(work, ENDPOINT)


async def test_an_endpoint_whose_other_address_is_taken_comes_back_as_it_was(
    reloading: Reloading,
) -> None:
    async def work(opened: Parts) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            config = reloading.write(f'{ENDPOINT}loopback = "127.0.0.1:{port}"\n')
            with pytest.raises(ConfigError, match=str(port)):
                await reloading.change(opened, config)
        assert opened.endpoint is not None
        assert opened.endpoint.is_ready
        assert (reloading.folder / "oip.sock").exists()

    await reloading.during(work, ENDPOINT)


async def test_sources_need_a_model_that_takes_a_picture(wide_bundle: Path, tmp_path: Path) -> None:
    config = read_config(write_config(tmp_path, wide_bundle))
    with pytest.raises(ConfigError, match=r"'gain' float32 \[\] and no picture.*endpoint"):
        await open_parts(config, open_agent, tell)
