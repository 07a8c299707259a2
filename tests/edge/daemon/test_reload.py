"""A reload: what it keeps, what it changes, and what a refused one leaves as it was."""

import json
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.commands import PATIENCE_S
from tests.edge.daemon.files import (
    ENDPOINT,
    FROM_STDIN,
    open_agent,
    own_stdin,
    put_picture,
    tell,
    until_soon,
    write_config,
)
from tests.edge.doctor.machine import a_machine
from tests.edge.doctor.test_memory import limit, meminfo
from tests.edge.oip.fakes import Client, request_for
from tests.tinybundle import tiny_pictures

from isthmus import ConfigError
from isthmus_edge.control_group import available_memory_bytes
from isthmus_edge.daemon import parts, read_config, reload
from isthmus_edge.daemon.parts import Parts, close_parts, open_parts
from isthmus_edge.daemon.reload import take_over
from isthmus_edge.daemon.serving import Answering
from isthmus_edge.doctor.memory import MIB


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

    async def during(
        self, work: Callable[[Parts], Awaitable[None]], more: str = "", old: str = "", new: str = ""
    ) -> None:
        opened = await open_parts(self.write(more, old, new), open_agent, tell)
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
        await until_soon((reloading.folder / "answers.jsonl").exists, "answered")

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
        await until_soon((folder / "answers.jsonl").exists, "answered")
        assert not (folder / "others.jsonl").exists()

    await reloading.during(work, ENDPOINT)


async def test_a_source_of_stdin_that_changes_loses_no_line(reloading: Reloading) -> None:
    async def work(opened: Parts) -> None:
        await until_soon(lambda: opened.feeds["stdin"].status().unreadable, "the first line")
        changed = (FROM_STDIN[0], FROM_STDIN[1] + "\ndeadline_ms = 5000")
        await reloading.change(opened, reloading.write("", *changed))
        stdin.write(b"ng")
        stdin.close()
        await until_soon(lambda: opened.feeds["stdin"].is_over, "the last line")

    with own_stdin() as stdin:
        stdin.write(b"a.png\nb.p")
        await reloading.during(work, "", *FROM_STDIN)
    lines = (reloading.folder / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["item"] for line in lines] == ["a.png", "b.png"]


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
        await until_soon((reloading.folder / "answers.jsonl").exists, "answered")

    await reloading.during(work, ENDPOINT)


@pytest.mark.parametrize("left_mib", [0, 8])
async def test_a_reload_takes_no_more_memory_than_the_control_group_leaves(
    reloading: Reloading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_mib: int
) -> None:
    files = meminfo(10**9) | limit(2, limit_mib=64, used_mib=64 - left_mib)
    machine = a_machine(tmp_path / "machine", files)

    async def work(opened: Parts) -> None:
        monkeypatch.setattr(
            parts, "available_memory_bytes", lambda: available_memory_bytes(machine)
        )
        config = reloading.write("", "heed_vitals = false", "threads = 2")
        words = f"^{left_mib * MIB / 1e6:.0f} MB of memory are free.*restart the daemon"
        with pytest.raises(ConfigError, match=words):
            await reloading.change(opened, config)
        monkeypatch.setattr(parts, "available_memory_bytes", lambda: None)
        await reloading.change(opened, config)

    await reloading.during(work)


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


async def test_a_refused_endpoint_leaves_the_one_before_with_the_model_before(
    reloading: Reloading, other_bundle: Path
) -> None:
    async def work(opened: Parts) -> None:
        before = opened.serving.manifest
        with socket.create_server(("127.0.0.1", 0)) as other:
            more = f'{ENDPOINT}loopback = "127.0.0.1:{other.getsockname()[1]}"\n'
            config = reloading.write(more, str(reloading.bundle), str(other_bundle))
            with pytest.raises(ConfigError):
                await reloading.change(opened, config)
        assert opened.serving.manifest == before
        async with Client(f"unix:{reloading.folder}/oip.sock") as client:
            answer = await client.infer(request_for(tiny_pictures(1)[0]), PATIENCE_S)
            assert answer.parameters["isthmus.place"].string_param == "device"

    await reloading.during(work, ENDPOINT)


async def test_an_endpoint_that_cannot_come_back_is_told_and_comes_with_the_next_reload(
    reloading: Reloading, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, object]] = []

    async def refused(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    def note(event: str, level: int = 0, **fields: Any) -> None:
        told.append((event, fields.get("reason")))

    async def work(opened: Parts) -> None:
        config = opened.config
        changed = reloading.write(f'{ENDPOINT}loopback = "127.0.0.1:0"\n')
        with monkeypatch.context() as patch:
            patch.setattr(reload, "start_endpoint", refused)
            with pytest.raises(PermissionError):
                await take_over(opened, changed, open_agent, note)
        reason = "[Errno 13] Permission denied; reload once it can be had again"
        assert told == [("endpoint_lost", reason)]
        assert opened.endpoint is None
        await reloading.change(opened, config)
        assert (reloading.folder / "oip.sock").is_socket()

    await reloading.during(work, ENDPOINT)
