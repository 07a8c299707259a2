"""The control socket: who may be in the way, who may ask, and what comes back."""

import asyncio
import os
import socket
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from isthmus import ConfigError, LinkError
from isthmus_edge.daemon import Status, ask_status
from isthmus_edge.daemon.control import Control, default_control, known_controls

STATUS = Status(
    version="1",
    pid=1,
    state="running",
    config="edge.toml",
    uptime_s=1.5,
    bundle={"path": "x", "model": "tiny", "fingerprint": "f"},
    agent=None,
    counts=None,
    rss_bytes=1,
    endpoint=[],
    sources=[],
    output=None,
    reloads=0,
    reload_fault=None,
    events=[{"time_s": 1.0, "event": "running"}],
)


def mode_of(path: Path) -> int | None:
    """None where nothing is."""
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


def move(path: Path, elsewhere: Path) -> None:
    path.rename(elsewhere)


async def status() -> Status:
    return STATUS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "control.sock"


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    """A socket that somebody left behind."""
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    return path


async def test_the_status_comes_back_as_it_was_given(path: Path) -> None:
    control = Control(path, status)
    await control.start()
    assert mode_of(path) == 0o600
    assert await asyncio.to_thread(ask_status, path) == STATUS
    await control.stop()
    assert mode_of(path) is None


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (b'{"ask": "shutdown"}\n', "'shutdown'"),
        (b"hello\n", "status"),
        (b"[1]\n", "status"),
        (b'{"ask": "\xff"}\n', "status"),
        (b'{"x": ' + 1000 * b"[" + b"\n", "status"),
    ],
)
async def test_other_questions_are_answered_with_what_can_be_asked(
    path: Path, question: bytes, words: str
) -> None:
    control = Control(path, status)
    await control.start()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(question)
    assert words in msgspec.json.decode(await reader.readline())["error"]
    writer.close()
    await control.stop()


@pytest.mark.parametrize("question", [b"", b"x" * 5000], ids=["nothing", "no end"])
async def test_who_asks_nothing_sensible_hurts_nobody(path: Path, question: bytes) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    control = Control(path, status)
    await control.start()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(question)
    writer.write_eof()
    assert await reader.read() == b""
    assert complaints == [], "no traceback in the log"
    writer.close()
    assert await asyncio.to_thread(ask_status, path) == STATUS
    await control.stop()


async def test_a_socket_in_use_is_refused_and_left_alone(path: Path) -> None:
    first = Control(path, status)
    await first.start()
    with pytest.raises(ConfigError, match="another process does already"):
        await Control(path, status).start()
    assert await asyncio.to_thread(ask_status, path) == STATUS
    await first.stop()


async def test_a_socket_of_a_dead_process_is_taken_over(dead: Path) -> None:
    control = Control(dead, status)
    await control.start()
    assert await asyncio.to_thread(ask_status, dead) == STATUS
    await control.stop()


async def test_a_socket_that_is_another_ones_by_now_is_left_alone(path: Path) -> None:
    first, second = Control(path, status), Control(path, status)
    await first.start()
    move(path, path.with_name("moved.sock"))
    await second.start()
    await first.stop()
    assert await asyncio.to_thread(ask_status, path) == STATUS
    await second.stop()
    assert mode_of(path) is None


def test_where_no_daemon_is_the_error_says_how_to_start_one(tmp_path: Path, dead: Path) -> None:
    for path in (tmp_path / "none", dead):
        with pytest.raises(LinkError, match=r"no daemon answers.*--config FILE.*--socket"):
            ask_status(path)


def test_the_usual_places_are_those_of_systemd_and_of_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/isthmus:/run/more")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert default_control() == Path("/run/isthmus/control.sock")
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert Path("/run/user/7/isthmus/control.sock") in known_controls()
    assert Path("/run/isthmus/control.sock") in known_controls()


async def test_a_name_that_is_no_unicode_silences_no_status(path: Path) -> None:
    async def named() -> Status:
        return msgspec.structs.replace(STATUS, config=os.fsdecode(b"caf\xe9.toml"))

    control = Control(path, named)
    await control.start()
    told = await asyncio.to_thread(ask_status, path)
    assert told == msgspec.structs.replace(STATUS, config=r"caf\xe9.toml")
    await control.stop()
