"""The lines of JSON between the relay's process and whoever steers it; rates in Mbit/s."""

import json
import math
from dataclasses import replace
from typing import Any

from isthmus.errors import ConfigError
from isthmus_bench.shaping import LinkShape

__all__ = ["SHAPE_KEYS", "changed_shape", "described", "parsed_command"]

SHAPE_KEYS = ("uplink_mbps", "downlink_mbps", "rtt_ms")


def parsed_command(line: bytes) -> dict[str, Any]:
    """One command: `{"reset": true}`, or some of `SHAPE_KEYS`. Raises `ConfigError`."""
    try:
        command = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"relay: {line!r} is not a line of JSON ({error})") from error
    if command == {"reset": True}:
        return {"reset": True}
    if not isinstance(command, dict) or not command or set(command) - set(SHAPE_KEYS):
        raise ConfigError(
            f"relay: cannot use {line.decode(errors='replace').strip()}; give"
            f' {{"reset": true}} or an object with any of {", ".join(SHAPE_KEYS)}'
        )
    return command


def changed_shape(shape: LinkShape, changes: dict[str, Any]) -> LinkShape:
    """`shape` with some of `SHAPE_KEYS` changed; a rate of `None` is unshaped."""
    fields: dict[str, float] = {}
    for key, value in changes.items():
        number = math.inf if value is None else value
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ConfigError(f"relay: {key} is {value!r}; give a number, or null for unshaped")
        if key == "rtt_ms":
            fields[key] = float(number)
        else:
            fields[key.replace("_mbps", "_bps")] = number * 1e6
    return replace(shape, **fields)


def described(shape: LinkShape) -> dict[str, float | None]:
    """`SHAPE_KEYS` of a shape; JSON has no infinity, so unshaped is `None`."""
    uplink, downlink = (
        None if math.isinf(bps) else bps / 1e6 for bps in (shape.uplink_bps, shape.downlink_bps)
    )
    return {"uplink_mbps": uplink, "downlink_mbps": downlink, "rtt_ms": shape.rtt_ms}
