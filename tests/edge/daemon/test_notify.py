"""What systemd hears, on a socket of the tests."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus_edge.daemon.notify import Notifier


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The socket of a service manager, and NOTIFY_SOCKET."""
    name = f"{tmp_path}/notify" if request.param == "file" else f"@isthmus-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:] if name[0] == "@" else name)
        listening.settimeout(30)
        yield listening, name


def heard(listening: socket.socket) -> list[str]:
    return listening.recv(4096).decode().split("\n")


def test_it_says_ready_reloading_alive_and_stopping(manager: tuple[socket.socket, str]) -> None:
    listening, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("running: fine\nindeed")
    assert heard(listening) == ["READY=1", "STATUS=running: fine indeed"]
    notifier.reloading()
    reloading, since = heard(listening)
    assert reloading == "RELOADING=1"
    assert since.removeprefix("MONOTONIC_USEC=").isdigit()
    notifier.waiting("its bundle comes", 60.0)
    assert heard(listening) == ["EXTEND_TIMEOUT_USEC=60000000", "STATUS=its bundle comes"]
    notifier.alive("running")
    assert heard(listening) == ["WATCHDOG=1", "STATUS=running"]
    notifier.stopping("draining")
    assert heard(listening) == ["STOPPING=1", "STATUS=draining"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_it_is_alive_twice_in_the_time_that_systemd_waits(
    more: dict[str, str], expected: float | None
) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/somewhere"} | more).watchdog_s == expected
    assert Notifier(more).watchdog_s is None


def test_without_a_manager_nothing_is_said_and_a_deaf_one_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Notifier({}).ready("fine")
    assert caplog.text == ""
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready("fine")
    assert "cannot be told" in caplog.text
