"""The time of day: TLS needs it. Whether something keeps it right, and how far it is off if known.

The split protocol itself never compares clocks of two machines. So an offset comes from the
kernel's record of NTP (adjtimex(2)), or from a time server that is asked once (SNTP, RFC 4330).
"""

import ctypes
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from isthmus_edge.doctor.finding import Finding, fail, note, warn
from isthmus_edge.doctor.surroundings import Surroundings

FAR_OFF_S = 60.0
OFF_S = 1.0
_DAY_S = 86_400
_UNSYNCHRONISED, _NANOSECONDS = 0x0040, 0x2000  # STA_UNSYNC, STA_NANO
_TIME_ERROR = 5
_NTP_PORT, _NTP_S = 123, 2.0
_SINCE_1900_S = 2_208_988_800

__all__ = ["ClockLook", "KernelClock", "kernel_clock", "offset_to"]


@dataclass(frozen=True, slots=True)
class KernelClock:
    """What the kernel knows: whether something keeps the clock right, and how well."""

    is_kept: bool
    offset_s: float
    most_s: float


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),  # more than any system's struct timex
    )


def kernel_clock() -> KernelClock | None:
    """Ask the kernel, which changes nothing; None where it cannot be asked."""
    try:
        ask = ctypes.CDLL(None, use_errno=True).adjtimex
    except (AttributeError, OSError):
        return None
    record = _Timex()
    state = ask(ctypes.byref(record))
    if state < 0:
        return None
    is_kept = state != _TIME_ERROR and not record.status & _UNSYNCHRONISED
    unit = 1e-9 if record.status & _NANOSECONDS else 1e-6
    return KernelClock(is_kept, record.offset * unit, record.maxerror * 1e-6)


def offset_to(server: str, wall_s: Callable[[], float] = time.time) -> float:
    """By how many seconds this clock is behind a time server's; OSError if it does not answer."""
    host, _, port = server.partition(":")
    family, _, _, _, where = socket.getaddrinfo(
        host, int(port or _NTP_PORT), type=socket.SOCK_DGRAM
    )[0]
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        asked.settimeout(_NTP_S)
        sent_s = wall_s()
        asked.sendto(b"\x23" + bytes(47), where)  # version 4, a client
        answer = asked.recv(512)
        back_s = wall_s()
    if len(answer) < 48 or answer[0] & 7 != 4 or answer[1] == 0:
        raise OSError(f"{server} is no time server that knows the time")
    received_s, answered_s = (_seconds(answer[at : at + 8]) for at in (32, 40))
    return ((received_s - sent_s) + (answered_s - back_s)) / 2


def _seconds(stamp: bytes) -> float:
    whole, part = struct.unpack("!II", stamp)
    return float(whole - _SINCE_1900_S + part / 2**32)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockLook:
    """Looks at the clock, which is wrong if it is earlier than a file of `newer_than`."""

    around: Surroundings = field(default_factory=Surroundings)
    newer_than: tuple[Path, ...] = ()
    server: str | None = None
    kernel: Callable[[], KernelClock | None] = kernel_clock

    def look(self) -> Iterator[Finding]:
        """One finding, and one more about a time server that was named."""
        yield self._own()
        if self.server is not None:
            yield self._compared(self.server)

    def _own(self) -> Finding:
        now = self.around.wall_s()
        said = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
        newest = self._newest_s()
        if now < newest - _DAY_S:
            return fail(
                "clock",
                f"it is {said} here, {(newest - now) / _DAY_S:.0f} days before Isthmus or its "
                "bundle was written: the clock is wrong, and certificates are not valid yet",
                _KEEP,
                days_early=round((newest - now) / _DAY_S, 1),
            )
        known = self.kernel()
        if known is None:
            return note("clock", f"{said}; the system does not tell whether it is kept right")
        if not known.is_kept:
            text = f"{said}; nothing keeps it right, and its offset is not known"
            return warn("clock", text, _KEEP, is_kept=False)
        text = f"{said}, kept right within {known.most_s * 1e3:.0f} ms"
        offset_ms = round(known.offset_s * 1e3, 3)
        return note("clock", text, is_kept=True, offset_ms=offset_ms, most_ms=known.most_s * 1e3)

    def _newest_s(self) -> float:
        """When the last of the files was written that can be looked at; 0 without one."""
        newest = 0.0
        for path in self.newer_than:
            with suppress(OSError):  # one that is not there says nothing of the clock
                newest = max(newest, path.stat().st_mtime)
        return newest

    def _compared(self, server: str) -> Finding:
        try:
            behind_s = offset_to(server, self.around.wall_s)
        except (OSError, ValueError) as error:
            way_out = "name another time server with --ntp HOST, or none"
            return warn(
                "clock",
                f"time server {server}: {getattr(error, 'strerror', None) or error}",
                way_out,
            )
        word = "behind" if behind_s > 0 else "ahead of"
        text = f"{abs(behind_s):.3f} s {word} {server}"
        figures = {"offset_ms": round(behind_s * 1e3, 3)}
        if abs(behind_s) > FAR_OFF_S:
            return fail("clock", text, _KEEP, **figures)
        if abs(behind_s) > OFF_S:
            return warn("clock", text, _KEEP, **figures)
        return note("clock", text, **figures)


_KEEP = "have it kept right: timedatectl set-ntp true (or install chrony)"
