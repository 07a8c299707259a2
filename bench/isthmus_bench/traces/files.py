"""Traces from files, also gzipped, in two formats.

CSV: a header `t_s,mbps`, one row per step. Mahimahi: one line is one millisecond at which one
packet of 1500 bytes may leave; it is told from a CSV by a name that ends in `.mahimahi`, `.up` or
`.down`, or by its first line, and binned to steps of 0.1 s.
"""

import gzip
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from isthmus.errors import ConfigError
from isthmus_bench.traces.trace import Trace

__all__ = ["read_trace", "shared_traces"]

_HEADER = "t_s,mbps"
_USUAL_RTT_MS = 40.0
_INDEX = "index.json"
_MOST_BYTES = 64 * 1024 * 1024
_MAHIMAHI_ENDINGS = (".mahimahi", ".up", ".down")
_PACKET_BITS = 1500 * 8
_BIN_MS = 100


def read_trace(path: Path | str) -> Trace:
    """One trace from a file; its name is the file's without the ending.

    The round trip time is the `rtt_hint_ms` that an `index.json` beside the file gives it, else
    40 ms. Raises `ConfigError` with the file, the line and what is wrong.
    """
    path = Path(path)
    name = _named(path)
    rtt_ms = _rtts_beside(path.parent).get(name, _USUAL_RTT_MS)
    return _read(path, rtt_ms)


def shared_traces(folder: Path | str) -> tuple[Trace, ...]:
    """The traces that a folder's `index.json` names, in its order; none if there is no such file.

    An entry has a `name` (of a CSV in the same folder) and an `rtt_hint_ms`. Raises `ConfigError`.
    """
    folder = Path(folder)
    return tuple(
        _read(folder / f"{name}.csv", rtt_ms) for name, rtt_ms in _rtts_beside(folder).items()
    )


def _named(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".csv")


def _read(path: Path, rtt_ms: float) -> Trace:
    lines = _text(path).split("\n")
    first = next((line.strip() for line in lines if line.strip()), "")
    if path.name.removesuffix(".gz").endswith(_MAHIMAHI_ENDINGS) or first.isdecimal():
        times_s, mbps = _from_mahimahi(path, lines)
    else:
        times_s, mbps = _from_csv(path, lines)
    return Trace(_named(path), tuple(times_s), tuple(mbps), rtt_ms)


def _text(path: Path) -> str:
    opened: Callable[[Path, str], Any] = gzip.open if path.name.endswith(".gz") else open
    try:
        with opened(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(
            f"trace {path}: cannot be read ({error}); give a CSV or mahimahi file"
        ) from error
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"trace {path}: more than {_MOST_BYTES >> 20} MiB; cut it shorter")
    try:
        return str(data, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"trace {path}: is not text ({error}); give a CSV or mahimahi file, gzipped only if its"
            " name ends in .gz"
        ) from error


def _from_csv(path: Path, lines: Sequence[str]) -> tuple[list[float], list[float]]:
    if lines[0].strip().replace(" ", "") != _HEADER:
        raise ConfigError(
            f"trace {path}, line 1: {lines[0].strip()[:60]!r} is not a header; begin a CSV with"
            f" {_HEADER!r}"
        )
    times_s: list[float] = []
    mbps: list[float] = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        at_s, rate = _row(path, number, line)
        if times_s and at_s <= times_s[-1]:
            raise ConfigError(
                f"trace {path}, line {number}: {at_s} s comes after {times_s[-1]} s; give times"
                " that rise"
            )
        times_s.append(at_s)
        mbps.append(rate)
    if not times_s:
        raise ConfigError(f"trace {path}, line 2: there are no rows; give one or more")
    return [round(at_s - times_s[0], 6) for at_s in times_s], mbps


def _row(path: Path, number: int, line: str) -> tuple[float, float]:
    try:
        at_s, rate = map(float, line.split(","))
    except ValueError as error:
        raise ConfigError(
            f"trace {path}, line {number}: {line.strip()[:60]!r} is not two numbers; give seconds"
            " and Mbit/s with a comma between them"
        ) from error
    if not (math.isfinite(at_s) and 0 <= rate < math.inf):
        raise ConfigError(
            f"trace {path}, line {number}: {line.strip()[:60]!r}; give a finite time and Mbit/s of"
            " 0 or more"
        )
    return at_s, rate


def _from_mahimahi(path: Path, lines: Sequence[str]) -> tuple[list[float], list[float]]:
    """Packets per bin; a trace under 1 s is repeated to fill it, a bin cut short is left out."""
    times_ms: list[int] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        if not text.isdecimal() or (times_ms and int(text) < times_ms[-1]):
            raise ConfigError(
                f"trace {path}, line {number}: {text[:60]!r}; give a whole number of milliseconds,"
                " not below that of the line before"
            )
        times_ms.append(int(text))
    if not times_ms or not 0 < times_ms[-1] < 1e8:
        raise ConfigError(
            f"trace {path}: its last line is {times_ms[-1:]}; end at 1 millisecond or later, and"
            " within a day"
        )
    period_ms = times_ms[-1]
    rounds = max(1, math.ceil(1000 / period_ms))
    bins = rounds * period_ms // _BIN_MS
    packets = [0] * bins
    for time_ms in (first * period_ms + at for first in range(rounds) for at in times_ms):
        if time_ms <= bins * _BIN_MS:  # a packet of millisecond 100 leaves at the end of bin 0
            packets[max(0, time_ms - 1) // _BIN_MS] += 1
    rows = [round(count * _PACKET_BITS / _BIN_MS / 1e3, 6) for count in packets]
    return [round(row * _BIN_MS / 1e3, 6) for row in range(bins)], rows


class _IndexEntry(msgspec.Struct):
    name: str
    rtt_hint_ms: float = _USUAL_RTT_MS


def _rtts_beside(folder: Path) -> dict[str, float]:
    """Round trip times by trace name, from the folder's index; none without one."""
    index = folder / _INDEX
    if not index.is_file():
        return {}
    try:
        entries = msgspec.json.decode(_text(index), type=list[_IndexEntry])
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{index}: {error}; give a list of objects with name and rtt_hint_ms, or remove it"
        ) from error
    return {entry.name: entry.rtt_hint_ms for entry in entries}
