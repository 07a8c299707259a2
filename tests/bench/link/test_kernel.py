"""The kernel's link: where it can be had, it carries bytes and leaves nothing behind."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.errors import ConfigError, LinkError
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


@pytest.mark.parametrize("mbps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_it_cannot_have_is_refused(link: KernelLink, mbps: float) -> None:
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
