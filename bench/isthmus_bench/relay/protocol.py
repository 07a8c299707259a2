"""The lines of JSON between the relay's process and whoever steers it; rates in Mbit/s.

One object is one command: some of `SHAPE_KEYS`; `{"play": FILE or {"name", "times_s", "mbps",
"rtt_ms"}}` with `rtt_ms` and `direction` beside it if wanted; `{"half_open": true}`,
`{"refuse": true}` and `false`; `{"reset": true}`; `{"count": true}`;
`{"script": [[AT_S, COMMAND], ...]}`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from isthmus.errors import ConfigError
from isthmus_bench.relay.server import DIRECTIONS, Direction
from isthmus_bench.relay.shape import LinkShape
from isthmus_bench.traces import Trace, read_trace

__all__ = [
    "SHAPE_KEYS",
    "Command",
    "Count",
    "HalfOpen",
    "Play",
    "Refuse",
    "Reset",
    "Reshape",
    "Script",
    "changed_shape",
    "described",
    "described_trace",
    "parsed_command",
    "parsed_script",
]

SHAPE_KEYS = (
    "uplink_mbps", "downlink_mbps", "rtt_ms", "jitter_ms", "stalls_per_s", "stall_ms", "seed",
)  # fmt: skip
_RATE_KEYS = ("uplink_mbps", "downlink_mbps")
_MOST_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class Reshape:
    """Change some of `SHAPE_KEYS`; a rate ends a trace that plays in its direction."""

    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Play:
    """Let a trace rule from now on."""

    trace: Trace
    directions: tuple[Direction, ...] = DIRECTIONS


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Accept, and let nothing pass."""

    on: bool


@dataclass(frozen=True, slots=True)
class Refuse:
    """Break new connections at once."""

    on: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """Break every connection."""


@dataclass(frozen=True, slots=True)
class Count:
    """Tell how many bytes each direction has carried."""


@dataclass(frozen=True, slots=True)
class Script:
    """Carry out commands at their times, counted from now; instead of the script that runs."""

    steps: "tuple[tuple[float, Command], ...]"


Command = Reshape | Play | HalfOpen | Refuse | Reset | Count | Script


def parsed_command(line: bytes) -> Command:
    """One command from one line. Raises `ConfigError`, which names what cannot be used."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"relay: {_short(line)} is not a line of JSON ({error})") from error
    return _command(fields)


def parsed_script(steps: object) -> Script:
    """Commands with their times, `[[AT_S, COMMAND], ...]`. Raises `ConfigError`."""
    if not isinstance(steps, Sequence) or isinstance(steps, str) or len(steps) > _MOST_STEPS:
        raise ConfigError(
            f"relay: script is {_short(steps)}; give a list of [seconds, command], at most"
            f" {_MOST_STEPS}"
        )
    parsed: list[tuple[float, Command]] = []
    for number, step in enumerate(steps, 1):
        try:
            at_s, command = _step(step)
        except ConfigError as error:
            raise ConfigError(f"script, step {number}: {error}") from error
        if parsed and at_s < parsed[-1][0]:
            raise ConfigError(
                f"script, step {number}: {at_s} s comes before {parsed[-1][0]} s; give the steps in"
                " the order of their times"
            )
        parsed.append((at_s, command))
    return Script(tuple(parsed))


def changed_shape(shape: LinkShape, changes: Mapping[str, Any]) -> LinkShape:
    """`shape` with some of `SHAPE_KEYS` changed; a rate of `None` is unshaped."""
    fields: dict[str, Any] = {}
    for key, value in changes.items():
        number = math.inf if value is None and key in _RATE_KEYS else value
        if isinstance(number, bool) or not isinstance(number, int | float):
            way_out = "a number, or null for unshaped" if key in _RATE_KEYS else "a number"
            raise ConfigError(f"relay: {key} is {value!r}; give {way_out}")
        if key in _RATE_KEYS:
            fields[key.replace("_mbps", "_bps")] = number * 1e6
        elif key == "seed":
            fields[key] = _whole(key, number)
        else:
            fields[key] = float(number)
    return replace(shape, **fields)


def described(shape: LinkShape) -> dict[str, float | None]:
    """`SHAPE_KEYS` of a shape; JSON has no infinity, so unshaped is `None`."""
    uplink, downlink = (
        None if math.isinf(bps) else bps / 1e6 for bps in (shape.uplink_bps, shape.downlink_bps)
    )
    same = {key: getattr(shape, key) for key in SHAPE_KEYS if key not in _RATE_KEYS}
    return {"uplink_mbps": uplink, "downlink_mbps": downlink, **same}


def described_trace(trace: Trace) -> dict[str, Any]:
    """A trace as the `play` of a command."""
    return {
        "name": trace.name,
        "times_s": trace.times_s,
        "mbps": trace.mbps,
        "rtt_ms": trace.rtt_ms,
    }


def _command(fields: Any) -> Command:
    match fields:
        case {"play": played, **others}:
            return _play(played, others)
        case {"half_open": bool(on), **others} if not others:
            return HalfOpen(on)
        case {"refuse": bool(on), **others} if not others:
            return Refuse(on)
        case {"reset": True, **others} | {"count": True, **others} if not others:
            return Reset() if "reset" in fields else Count()
        case {"script": steps, **others} if not others:
            return parsed_script(steps)
        case dict() if fields and not set(fields) - set(SHAPE_KEYS):
            changed_shape(LinkShape(stall_ms=1.0), fields)  # refused before anything is done
            return Reshape(fields)
    raise ConfigError(
        f"relay: cannot use {_short(fields)}; give one of play, half_open, refuse (true or false),"
        f' {{"reset": true}}, {{"count": true}}, script, or an object with any of'
        f" {', '.join(SHAPE_KEYS)}"
    )


def _play(played: object, others: dict[Any, Any]) -> Play:
    if set(others) - {"rtt_ms", "direction"}:
        raise ConfigError(
            f"relay: cannot use {', '.join(others)} beside play; give rtt_ms or direction"
        )
    trace = _trace(played)
    rtt_ms = others.get("rtt_ms")
    if rtt_ms is not None:
        changed_shape(LinkShape(), {"rtt_ms": rtt_ms})
        trace = replace(trace, rtt_ms=float(rtt_ms))
    direction = others.get("direction", "both")
    if direction == "both":
        return Play(trace)
    if direction not in DIRECTIONS:
        raise ConfigError(
            f"relay: direction is {direction!r}; give {', '.join(DIRECTIONS)} or both"
        )
    return Play(trace, (direction,))


def _trace(played: object) -> Trace:
    match played:
        case str(path):
            return read_trace(path)
        case {"name": str(name), "times_s": list(times_s), "mbps": list(mbps), "rtt_ms": rtt_ms}:
            numbers = (*times_s, *mbps, rtt_ms)
            if all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers):
                return Trace(name, tuple(times_s), tuple(mbps), rtt_ms)
    raise ConfigError(
        f"relay: play is {_short(played)}; give the path of a trace, or an object of name, times_s"
        " and mbps (lists of numbers) and rtt_ms"
    )


def _step(step: object) -> tuple[float, Command]:
    match step:
        case [int() | float() as at_s, command] if (
            not isinstance(at_s, bool) and 0 <= at_s < math.inf
        ):
            if isinstance(command, Mapping) and "script" in command:
                raise ConfigError("a script within a script; give its steps in place of it")
            return float(at_s), _command(command)
    raise ConfigError(f"{_short(step)}; give [seconds of 0 or more, command]")


def _whole(key: str, number: float) -> int:
    if not float(number).is_integer():
        raise ConfigError(f"relay: {key} is {number}; give a whole number")
    return int(number)


def _short(shown: object) -> str:
    text = shown.decode(errors="replace").strip() if isinstance(shown, bytes) else repr(shown)
    return text if len(text) <= 200 else text[:200] + "..."
