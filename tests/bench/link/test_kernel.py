"""The kernel's link: where it can be had, it carries bytes and leaves nothing behind."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isthmus.errors import ConfigError, LinkError
from isthmus_bench.link import kernel
from isthmus_bench.link.kernel import CLOUD_HOST, KernelLink, why_not

_NAMESPACES = Path("/run/netns")


@pytest.fixture
def link() -> Iterator[KernelLink]:
    try:
        made = KernelLink(50.0, 50.0, congestion="reno")
    except LinkError as error:
        pytest.skip(str(error))
    with made:
        yield made


def _ours() -> list[str]:
    return [path.name for path in _NAMESPACES.glob(f"isthmus-{os.getpid()}-*")]


def test_bytes_cross_it_with_the_pinned_congestion_control_and_it_vanishes(
    link: KernelLink,
) -> None:
    payload = os.urandom(20_000)
    with link.listen() as listener, link.connect(listener.getsockname()[1]) as edge:
        served, _ = listener.accept()
        with served:
            link.shape(20.0, 20.0)
            edge.sendall(payload)
            data = b""
            while len(data) < len(payload):
                data += served.recv(65536)
            assert data == payload
            used = served.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            assert used.startswith(b"reno\0")
    shown = subprocess.run(
        link.command("edge", "tc", "qdisc", "show"), capture_output=True, text=True, check=True
    )
    assert "tbf" in shown.stdout
    assert CLOUD_HOST == "10.213.0.2"
    assert len(_ours()) == 2
    link.close()
    assert _ours() == []
    link.close()


def test_a_rate_it_cannot_have_is_refused(link: KernelLink) -> None:
    for mbps in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="give a rate above 0"):
            link.shape(mbps, 10.0)


def test_an_unknown_congestion_control_is_refused_and_leaves_nothing(link: KernelLink) -> None:
    link.close()
    with pytest.raises(LinkError, match="nosuch"):  # noqa: SIM117 - which of them is refused varies
        with KernelLink(1.0, 1.0, congestion="nosuch") as other, other.listen() as listener:
            other.connect(listener.getsockname()[1])
    assert _ours() == []


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "need root" in (why_not() or "")
    with pytest.raises(LinkError, match="need root"):
        KernelLink(1.0, 1.0)


def test_without_iproute2_it_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool == "tc" else f"/sbin/{tool}")
    assert (why_not() or "").startswith("tc of iproute2 is not")


def _with_ip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: Callable[[list[str]], bool]
) -> list[list[str]]:
    """Namespaces are files, `ip` hangs on the words that `fails` names. Returns what it is told."""
    told: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        told.append(command[1:])
        if fails(command):
            raise subprocess.TimeoutExpired(command, 10.0)
        if command[1:3] == ["netns", "add"]:
            (tmp_path / command[3]).touch()
        if command[1:3] == ["netns", "delete"]:
            (tmp_path / command[3]).unlink()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(kernel, "_NAMESPACES", tmp_path)
    monkeypatch.setattr(kernel, "why_not", lambda: None)
    monkeypatch.setattr(subprocess, "run", run)
    return told


def test_an_ip_that_hangs_is_an_error_of_the_link_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _with_ip(monkeypatch, tmp_path, lambda command: "veth" in command)
    with pytest.raises(LinkError, match=r"`ip -n isthmus-\d+-edge link add .* did not end within"):
        KernelLink(1.0, 1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_namespace_that_cannot_be_removed_does_not_keep_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(command: list[str]) -> bool:
        return "veth" in command or (command[2] == "delete" and command[3].endswith("-edge"))

    told = _with_ip(monkeypatch, tmp_path, fails)
    with pytest.raises(LinkError, match="veth"):
        KernelLink(1.0, 1.0)
    assert [path.name for path in tmp_path.iterdir()] == [f"isthmus-{os.getpid()}-edge"]
    assert [words[1] for words in told if words[0] == "netns"] == ["add", "add"] + ["delete"] * 2
