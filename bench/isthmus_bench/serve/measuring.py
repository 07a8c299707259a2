"""One server under one load or several; and how much its memory grows with idle devices."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from isthmus_bench.processes import EdgeProcess
from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.contestants import Ask
from isthmus_bench.serve.figures import FULL, MANY, ONE, Idle, Row
from isthmus_bench.serve.orders import Load, Order
from isthmus_bench.serve.server_cpu import ServerCpu, rss_bytes
from isthmus_bench.serve.services import Server
from isthmus_bench.serve.subject import MIXED, Subject

LOADER = "isthmus_bench.serve.load"
_LONGEST = 3  # times the usual length of a load: what a trial may take for its frames
_WARM_UP = 20  # devices that come and go first: what a service sets up once is no device's
_GENERATORS = 2  # processes with idle devices

__all__ = ["LOADER", "Hand", "Measurer", "idle_of"]


class Hand(Protocol):
    """A process that takes orders; see `EdgeProcess`."""

    def do(self, verb: str, *, busy_s: float = 0.0, **fields: Any) -> dict[str, Any]:
        """Give one order and wait for its answer."""


@dataclass(frozen=True, slots=True)
class Measurer:
    """Has a generator put loads on servers."""

    config: ServeBenchConfig
    subject: Subject
    generator: Hand

    def measure(self, row: Row, ask: Ask, server: Server, round_number: int) -> None:
        """All closed loops of one row, added to it."""
        config, base = self.config, self._order(ask, server, round_number)
        if ask.sends != MIXED:
            self._closed(row, ONE, base, (1, 1))
        self._closed(row, FULL, base, (config.devices, 1))
        self._closed(row, MANY, base, (config.devices, config.many))

    def open_load(
        self, row: Row, ask: Ask, server: Server, devices: int, round_number: int
    ) -> Load:
        """So many devices, whose cameras do not wait for answers."""
        config, base = self.config, self._order(ask, server, round_number)
        order = msgspec.structs.replace(
            base,
            devices=devices,
            fps=config.fps,
            seed=base.seed + devices,
            seconds=config.warm_s + self._trial_s(devices),
        )
        return self._put(row, order)

    def _trial_s(self, devices: int) -> float:
        """A percentile of few frames says little; but a bench is to end."""
        config = self.config
        wanted_s = config.trial_frames / (devices * config.fps)
        return min(max(config.seconds, wanted_s), _LONGEST * config.seconds)

    def one_ms(self, row: Row, ask: Ask, server: Server) -> float | None:
        """The median latency of one device with one frame at a time, in a short turn."""
        base = self._order(ask, server, 0)
        seconds = self.config.pair_s
        return self._put(
            row, msgspec.structs.replace(base, seconds=seconds, warm_s=seconds / 5)
        ).p50_ms

    def _closed(self, row: Row, kind: str, base: Order, size: tuple[int, int]) -> None:
        devices, window = size
        load = self._put(row, msgspec.structs.replace(base, devices=devices, window=window))
        row.loads[kind].append(load)

    def _put(self, row: Row, order: Order) -> Load:
        fields = msgspec.to_builtins(order)
        reply = self.generator.do(fields.pop("do"), busy_s=order.seconds, **fields)
        load = msgspec.convert(reply, Load)
        row.all_loads.append(load)
        return load

    def _order(self, ask: Ask, server: Server, round_number: int) -> Order:
        served = self.subject.served[ask.sends]
        return Order(
            do="load",
            protocol=ask.protocol,
            address=server.address,
            pid=server.pid,
            cases=tuple(str(each.case) for each in served),
            fingerprint=self.subject.bundle.fingerprint,
            model=ask.model,
            seconds=self.config.warm_s + self.config.seconds,
            warm_s=self.config.warm_s,
            seed=1_000_000 * (round_number + 1),
        )


def idle_of(server: Server, fingerprint: str, devices: int) -> Idle:
    """Connect so many devices that only beat, in processes of their own."""
    order: dict[str, Any] = {"address": server.address, "fingerprint": fingerprint}
    with ExitStack() as stack:
        generators = [
            stack.enter_context(EdgeProcess({}, module=LOADER)) for _ in range(_GENERATORS)
        ]
        generators[0].do("idle", devices=_WARM_UP, **order)
        generators[0].do("part")
        before = rss_bytes(server.pid)
        for generator, share in zip(generators, _shares(devices), strict=True):
            generator.do("idle", devices=share, busy_s=120, **order)
        return _settled(server, generators, devices, before)


def _settled(server: Server, generators: Sequence[EdgeProcess], devices: int, before: int) -> Idle:
    """All are there: look at the server while they beat, and count them."""
    cpu = ServerCpu(server.pid)
    for generator in generators:
        generator.do("echo")
    used_s, took_s = cpu.seconds(), cpu.wall_s()
    after = rss_bytes(server.pid)
    connected = sum(generator.do("part")["connected"] for generator in generators)
    return Idle(
        devices=devices,
        connected=connected,
        before_bytes=before,
        after_bytes=after,
        cpu_share=(used_s or 0.0) / took_s,
    )


def _shares(devices: int) -> list[int]:
    first = devices // _GENERATORS
    return [devices - first * (_GENERATORS - 1), *[first] * (_GENERATORS - 1)]
