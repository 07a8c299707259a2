"""Real fleets under loads: one frame at a time, closed loops, open loads."""

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.figures import FleetRow, OpenTurn
from isthmus_bench.scale.fleets import Fleet
from isthmus_bench.scale.orders import ScaleLoad, ScaleOrder
from isthmus_bench.serve.measuring import Hand
from isthmus_bench.serve.subject import Served

LOADER = "isthmus_bench.scale.load"

__all__ = ["LOADER", "Measurer"]


@dataclass(frozen=True, slots=True)
class Measurer:
    """Has a generator put loads on fleets that answer frames of `served`."""

    config: ScaleConfig
    generator: Hand
    served: Served
    fingerprint: str

    def closed(self, row: FleetRow, fleet: Fleet) -> None:
        """Devices that keep their windows full, added to its row."""
        config = self.config
        order = self.order(fleet, devices=config.devices, window=config.window)
        row.closed.append(self.put(order))

    def one(self, fleet: Fleet, seconds: float) -> ScaleLoad:
        """One device with one frame at a time."""
        return self.put(self.order(fleet, seconds=seconds, warm_s=seconds / 5))

    def open_loads(
        self, row: FleetRow, fleet: Fleet, capacity_fps: float, round_number: int
    ) -> None:
        """Devices that do not wait, at each share of what the fleet's replicas can answer,
        `capacity_fps` each; added to its row, with the processor time that the front ends took for
        an answer."""
        cpu_s, answered = -fleet.front_end_cpu_s(), 0
        for number, share in enumerate(self.config.loads):
            wanted_fps = share * fleet.kind.replicas * capacity_fps
            devices = max(1, round(wanted_fps / self.config.fps))
            seed = 1_000 * round_number + number + self.config.seed
            order = self.order(fleet, devices=devices, seed=seed, fps=self.config.fps)
            seconds = self.config.warm_s + self.config.load_s
            load = self.put(msgspec.structs.replace(order, seconds=seconds))
            row.opened.append(OpenTurn(share, devices, seed, load))
            answered += load.load.answered
        cpu_s += fleet.front_end_cpu_s()
        row.front_end_ms.append(cpu_s * 1e3 / max(1, answered))

    def order(self, fleet: Fleet, **changes: Any) -> ScaleOrder:
        """A load of the usual length on a fleet, with `changes`."""
        base = ScaleOrder(
            do="load",
            addresses=fleet.addresses,
            case=str(self.served.case),
            fingerprint=self.fingerprint,
            seconds=self.config.warm_s + self.config.seconds,
            warm_s=self.config.warm_s,
            deadline_ms=round(self.config.deadline_s * 1e3),
        )
        return msgspec.structs.replace(base, **changes)

    def put(self, order: ScaleOrder) -> ScaleLoad:
        """What becomes of it; LinkError if devices cannot connect."""
        fields = msgspec.to_builtins(order)
        reply = self.generator.do(fields.pop("do"), busy_s=order.seconds, **fields)
        return msgspec.convert(reply, ScaleLoad)

    def sending(self, served: Served) -> "Measurer":
        """The same for another candidate."""
        return replace(self, served=served)

