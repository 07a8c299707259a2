"""Real fleets under loads: one frame at a time, closed loops, open loads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.figures import FleetRow, OpenTurn
from isthmus_bench.scale.fleets import Fleet
from isthmus_bench.scale.orders import ScaleLoad, ScaleOrder
from isthmus_bench.scale.subject import Subject
from isthmus_bench.serve.measuring import Hand
from isthmus_bench.serve.recorded import load_case
from isthmus_bench.serve.subject import Served

COMPUTING_SHARE = 0.4  # of what a fleet can answer that computes: of an open load
LOADER = "isthmus_bench.scale.load"

__all__ = ["COMPUTING_SHARE", "LOADER", "Measurer", "frame_bytes"]


@dataclass(frozen=True, slots=True)
class Measurer:
    """Has a generator put loads on fleets; frames are those of `served`, or if that is None of the
    subject's tail that sleeps."""

    config: ScaleConfig
    generator: Hand
    subject: Subject
    served: Served | None = None

    def one(self, fleet: Fleet, seconds: float) -> ScaleLoad:
        """One device with one frame at a time."""
        return self.put(self._order(fleet, seconds=seconds, warm_s=seconds / 5))

    def closed(self, row: FleetRow, fleet: Fleet) -> None:
        """Devices that keep their windows full, added to the fleet's row, with the processor time
        that the front ends took for an answer."""
        cpu_s = fleet.front_end_cpu_s()
        row.closed.append(self.put(self.closed_order(fleet)))
        row.closed_cpu_ms.append(_each_ms(fleet.front_end_cpu_s() - cpu_s, row.closed[-1:]))

    def closed_order(self, fleet: Fleet) -> ScaleOrder:
        """Devices that keep their windows full."""
        return self._order(fleet, devices=self.config.devices, window=self.config.window)

    def open_loads(
        self, row: FleetRow, fleet: Fleet, shares: Sequence[float], round_number: int = 0
    ) -> None:
        """Devices that do not wait, at each share of what the fleet answered in the closed loop
        before; added to its row, likewise."""
        cpu_s, loads = fleet.front_end_cpu_s(), list[ScaleLoad]()
        for number, share in enumerate(shares):
            seed = self.config.seed + 1_000 * round_number + number
            order = self.open_order(row, fleet, share, seed)
            loads.append(self.put(order))
            row.opened.append(OpenTurn(share, order.devices, seed, loads[-1]))
        row.open_cpu_ms.append(_each_ms(fleet.front_end_cpu_s() - cpu_s, loads))

    def open_order(self, row: FleetRow, fleet: Fleet, share: float, seed: int) -> ScaleOrder:
        """As many devices as make a share of what its row says that the fleet can answer."""
        fps = self.config.fps
        can_fps = row.closed[0].rate_per_s  # of the first round: all have the same load
        return self._order(
            fleet,
            devices=max(1, round(share * can_fps / fps)),
            fps=fps,
            seed=seed,
            seconds=self.config.warm_s + self.config.load_s,
        )

    def put(self, order: ScaleOrder) -> ScaleLoad:
        """What becomes of it; LinkError if devices cannot connect."""
        fields = msgspec.to_builtins(order)
        reply = self.generator.do(fields.pop("do"), busy_s=order.seconds, **fields)
        return msgspec.convert(reply, ScaleLoad)

    def sending(self, served: Served) -> "Measurer":
        """The same for another candidate."""
        return replace(self, served=served)

    def _order(self, fleet: Fleet, **changes: Any) -> ScaleOrder:
        """A load of the usual length on a fleet, with `changes`."""
        base = ScaleOrder(
            do="load",
            addresses=fleet.addresses,
            case=str((self.served or self.subject.served).case),
            fingerprint=self.subject.fingerprint,
            seconds=self.config.warm_s + self.config.seconds,
            warm_s=self.config.warm_s,
            deadline_ms=round(self.config.deadline_s * 1e3),
        )
        return msgspec.structs.replace(base, **changes)


def frame_bytes(served: Served) -> float:
    """The mean size of a candidate's recorded frames."""
    items = load_case(served.case).items
    return sum(len(item.frame) for item in items) / len(items)


def _each_ms(cpu_s: float, loads: Sequence[ScaleLoad]) -> float:
    return cpu_s * 1e3 / max(1, sum(each.load.answered for each in loads))
