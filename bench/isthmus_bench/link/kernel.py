"""A kernel-true rate, with root: two network namespaces, a veth pair between them, `tc tbf` on it.

Shows what the relay cannot: a sender whose own TCP meets the queue. It is rate only: delay would
need netem, which many kernels do without. Two settings keep tbf from stalling for ever when its
rate falls from 100 to 5 Mbit/s: `gso_max_segs 1`, so that no packet is larger than its bucket, and
one `tc -batch` process for all changes.

Congestion control changes results tenfold after a gap, so it is pinned in both namespaces.
"""

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal, Self, TypeVar

import psutil

from isthmus.errors import ConfigError, LinkError

__all__ = ["CLOUD_HOST", "KernelLink", "Side", "why_not"]

Side = Literal["edge", "cloud"]
_Made = TypeVar("_Made")
_SIDES: tuple[Side, ...] = ("edge", "cloud")

EDGE_HOST, CLOUD_HOST = "10.213.0.1", "10.213.0.2"
_NETWORK = "10.213.0.0/30"
_HOSTS = {"edge": EDGE_HOST, "cloud": CLOUD_HOST}
_PREFIX = "isthmus"
_DEVICE = "link0"
_NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_TIMEOUT_S = 10.0
# A full packet on the wire against its payload: Ethernet, IP, TCP with timestamps.
_WIRE_PER_PAYLOAD = 1514 / 1448
_LEAST_BURST_BYTES = 2 * 1514
_LEAST_QUEUE_BYTES = 32 * 1024
_QUEUE_S = 0.1
_BURST_S = 0.002


def why_not() -> str | None:
    """Why this machine cannot have such a link, in one sentence; None if it can be tried."""
    if os.geteuid() != 0:
        return "network namespaces need root; run it as root to have them"
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if missing:
        return f"{' and '.join(missing)} of iproute2 is not on the PATH; install iproute2"
    return None


class KernelLink:
    """Two network namespaces, edge and cloud, joined by a link of a given payload rate.

    Use it as a context manager, or call `close()`: the namespaces vanish with it, on Ctrl-C too.
    Those that a killed process left behind are removed by the next `KernelLink`. Raises `LinkError`
    with the kernel's words where this machine forbids any of it.
    """

    def __init__(
        self, uplink_mbps: float, downlink_mbps: float, *, congestion: str = "cubic"
    ) -> None:
        reason = why_not()
        if reason is not None:
            raise LinkError(f"kernel link: {reason}")
        _remove_orphans()
        self.congestion = congestion
        self._names = {side: f"{_PREFIX}-{os.getpid()}-{side}" for side in _SIDES}
        self._tc: dict[Side, subprocess.Popen[bytes]] = {}
        try:
            self._build()
            self.shape(uplink_mbps, downlink_mbps)
        except BaseException:  # an interrupt too must not leave namespaces behind
            with suppress(LinkError):  # what went wrong first is what the caller should hear
                self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def shape(self, uplink_mbps: float, downlink_mbps: float) -> None:
        """Change the payload rates, in Mbit/s above 0; in force when this returns."""
        for side, mbps in zip(_SIDES, (uplink_mbps, downlink_mbps), strict=True):
            self._change(side, mbps)

    def command(self, side: Side, *words: str) -> list[str]:
        """The words that run a command on one side of the link, for `subprocess`."""
        return ["ip", "netns", "exec", self._names[side], *words]

    def listen(self) -> socket.socket:
        """A listening socket on the cloud's side; its address is (`CLOUD_HOST`, its port)."""
        return self._inside("cloud", lambda: socket.create_server((CLOUD_HOST, 0)))

    def connect(self, port: int) -> socket.socket:
        """A connection from the edge to a port of the cloud."""
        address = (CLOUD_HOST, port)
        made = self._inside("edge", lambda: socket.create_connection(address, _TIMEOUT_S))
        used = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        if used.rstrip(b"\0").decode() != self.congestion:
            made.close()
            raise LinkError(
                f"kernel link: congestion control {self.congestion!r} is not to be had here; see"
                " net.ipv4.tcp_available_congestion_control"
            )
        return made

    def close(self) -> None:
        """Remove everything that this link made; may be called twice.

        What cannot be removed is a LinkError once all else is gone.
        """
        for tc in self._tc.values():
            for pipe in (tc.stdin, tc.stdout):
                if pipe is not None:
                    pipe.close()
            tc.kill()
            tc.wait()
        self._tc.clear()
        _remove_all(self._names.values())

    def _build(self) -> None:
        edge, cloud = self._names["edge"], self._names["cloud"]
        for name in (edge, cloud):
            _ip("netns", "add", name)
        _ip("-n", edge, "link", "add", _DEVICE, "type", "veth", "peer", _DEVICE, "netns", cloud)
        for side, name in self._names.items():
            _ip("-n", name, "address", "add", f"{_HOSTS[side]}/30", "dev", _DEVICE)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", _DEVICE, "gso_max_segs", "1", "up")
            # The namespace's own default may not be set to most algorithms; a route's may.
            route = (_NETWORK, "dev", _DEVICE, "src", _HOSTS[side], "congctl", self.congestion)
            _ip("-n", name, "route", "replace", *route)
            self._tc[side] = subprocess.Popen(
                self.command(side, "tc", "-batch", "-"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for the owner, who closes it
            )

    def _change(self, side: Side, mbps: float) -> None:
        if not 0 < mbps <= 1e5:
            raise ConfigError(
                f"kernel link: {mbps} Mbit/s; give a rate above 0 and up to 100000 (an outage is"
                " the relay's to show)"
            )
        bps = round(mbps * 1e6 * _WIRE_PER_PAYLOAD)
        burst_bytes = max(_LEAST_BURST_BYTES, round(bps * _BURST_S / 8))
        queue_bytes = max(_LEAST_QUEUE_BYTES, round(bps * _QUEUE_S / 8))
        line = (
            f"qdisc replace dev {_DEVICE} root tbf rate {bps}bit burst {burst_bytes}"
            f" limit {queue_bytes}\nqdisc show dev {_DEVICE}\n"
        )
        tc = self._tc[side]
        assert tc.stdin is not None
        assert tc.stdout is not None
        try:
            tc.stdin.write(line.encode("ascii"))
        except BrokenPipeError:
            answer = ""
        else:
            answer = _line(tc.stdout)
        if "tbf" not in answer:
            raise LinkError(f"kernel link: tc does not shape here: {answer.strip() or 'it ended'}")

    def _inside(self, side: Side, work: Callable[[], _Made]) -> _Made:
        """Do something in a namespace, on a thread that ends there; a socket stays in it."""
        made: list[_Made] = []
        failed: list[Exception] = []

        def enter_and_work() -> None:
            try:
                _enter(_NAMESPACES / self._names[side])
                made.append(work())
            except (OSError, LinkError) as error:
                failed.append(error)

        thread = threading.Thread(target=enter_and_work)
        thread.start()
        thread.join()
        if failed:
            raise LinkError(f"kernel link, {side}: {failed[0]}") from failed[0]
        return made[0]


def _enter(namespace: Path) -> None:
    """Move this thread; `os.setns` came with Python 3.12 only."""
    libc = ctypes.CDLL(None, use_errno=True)
    with namespace.open("rb") as handle:
        if libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def _line(stdout: IO[bytes]) -> str:
    """The next line that tc prints; empty if it ended."""
    return stdout.readline().decode(errors="replace")


def _ip(*words: str) -> None:
    what = f"`ip {' '.join(words)}`"
    try:
        ran = subprocess.run(
            ["ip", *words], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LinkError(
            f"kernel link: {what} did not end within {_TIMEOUT_S:g} s; `ip netns` shows what is"
            " left, the next kernel link removes it"
        ) from error
    if ran.returncode != 0:
        raise LinkError(f"kernel link: this machine refuses {what}: {ran.stderr.strip()}")


def _remove_all(names: Iterable[str]) -> None:
    """Each of those that exist, whatever becomes of the others; LinkError with all that failed."""
    failed = []
    for name in names:
        try:
            if (_NAMESPACES / name).exists():
                _ip("netns", "delete", name)
        except LinkError as error:
            failed.append(error)
    if failed:
        raise LinkError("; ".join(map(str, failed))) from failed[0]


def _remove_orphans() -> None:
    """Namespaces whose process is no more."""
    names = [namespace.name for namespace in _NAMESPACES.glob(f"{_PREFIX}-*-*")]
    pids = {name: name.split("-")[1] for name in names}
    _remove_all(n for n, pid in pids.items() if pid.isdecimal() and not psutil.pid_exists(int(pid)))
