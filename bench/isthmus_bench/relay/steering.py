"""Carries out commands on the emulated link, at once or by a script."""

import asyncio
from collections.abc import Mapping
from typing import Any

from isthmus.errors import ConfigError
from isthmus_bench.relay.protocol import (
    Command,
    Count,
    HalfOpen,
    Play,
    Refuse,
    Reset,
    Reshape,
    Script,
    changed_shape,
    described,
)
from isthmus_bench.relay.rates import ConstantRate, TraceRate
from isthmus_bench.relay.server import EmulatedLink
from isthmus_bench.relay.shape import LinkShape

__all__ = ["Steering"]


class Steering:
    """Knows how the link looks now; `shape` is the one that `link` was made with."""

    def __init__(self, link: EmulatedLink, shape: LinkShape) -> None:
        self._link = link
        self._shape = shape
        self._script: asyncio.Task[None] | None = None

    async def carry_out(self, command: Command) -> dict[str, Any]:
        """In force when this returns what to answer. Raises `ConfigError` and changes nothing."""
        match command:
            case Reshape(changes):
                return self._reshape(changes)
            case Play():
                return self._play(command)
            case HalfOpen() | Refuse():
                return self._switch(command)
            case Reset():
                await self._link.reset()
                return {"reset": True}
            case Count():
                return {"carried_bytes": self._link.carried_bytes()}
            case Script():
                return await self._start(command)

    async def stop(self) -> None:
        """End the script, if one runs."""
        if self._script is not None:
            self._script.cancel()
            await asyncio.gather(self._script, return_exceptions=True)

    def _reshape(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        self._shape = changed_shape(self._shape, changes)
        if "uplink_mbps" in changes:
            self._link.set_rate("uplink", ConstantRate(self._shape.uplink_bps))
        if "downlink_mbps" in changes:
            self._link.set_rate("downlink", ConstantRate(self._shape.downlink_bps))
        if set(changes) - {"uplink_mbps", "downlink_mbps"}:
            self._link.set_delay(self._shape)
        return dict(described(self._shape))

    def _switch(self, command: HalfOpen | Refuse) -> dict[str, Any]:
        match command:
            case HalfOpen(on):
                self._link.set_half_open(on)
                return {"half_open": on}
            case Refuse(on):
                self._link.set_refuse(on)
                return {"refuse": on}

    def _play(self, command: Play) -> dict[str, Any]:
        began_s = asyncio.get_running_loop().time()
        self._shape = changed_shape(self._shape, {"rtt_ms": command.trace.rtt_ms})
        for direction in command.directions:
            self._link.set_rate(direction, TraceRate(command.trace, began_s))
        self._link.set_delay(self._shape)
        return {"play": command.trace.name, "rtt_ms": command.trace.rtt_ms, "began_s": began_s}

    async def _start(self, script: Script) -> dict[str, Any]:
        """Steps at 0 s are in force when this returns."""
        shape = self._shape
        for number, (_, command) in enumerate(script.steps, 1):
            if isinstance(command, Reshape):  # tried here, because a script has nobody to tell
                try:
                    shape = changed_shape(shape, command.changes)
                except ConfigError as error:
                    raise ConfigError(f"script, step {number}: {error}") from error
        if self._script is not None:
            self._script.cancel()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        at_once = [command for at_s, command in script.steps if at_s == 0]
        for command in at_once:
            await self.carry_out(command)
        later = script.steps[len(at_once) :]
        self._script = loop.create_task(self._run(later, began_s))
        return {"script": len(script.steps), "began_s": began_s}

    async def _run(self, steps: tuple[tuple[float, Command], ...], began_s: float) -> None:
        loop = asyncio.get_running_loop()
        for at_s, command in steps:
            await asyncio.sleep(began_s + at_s - loop.time())
            await self.carry_out(command)
