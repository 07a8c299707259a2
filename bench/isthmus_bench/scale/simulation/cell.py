"""The events of a cell: devices, their links, front ends and replicas, on SimPy's clock.

    due -> link -> front end (one processor) -> waits -> a call -> hop -> replica -> hop -> answered

Whoever serves in the order of arrival (a link, a processor, a replica) knows when it is done as
soon as the work has come, so that takes no event of its own.
"""

import random
from collections import Counter
from collections.abc import Callable

import simpy

from isthmus_bench.scale.simulation.plan import CellPlan, CellResult
from isthmus_bench.scale.simulation.turns import SimFrame, Turns
from isthmus_bench.scale.simulation.uplink import Road, Uplink

__all__ = ["simulate"]


def simulate(plan: CellPlan) -> CellResult:
    """Run a plan until its last frame has ended; the same plan has the same result."""
    return _Cell(plan).run()


class _Processor:
    """Works one thing after the other."""

    def __init__(self) -> None:
        self._free_s = 0.0
        self.busy_s = 0.0

    def done_at(self, now_s: float, takes_s: float) -> float:
        """When a work that comes now is done."""
        self._free_s = max(now_s, self._free_s) + takes_s
        self.busy_s += takes_s
        return self._free_s


class _FrontEnd:
    """What waits, the calls under way, and the replicas that it knows."""

    def __init__(self, replicas: list[_Processor]) -> None:
        self.processor = _Processor()
        self.turns = Turns()
        self.replicas = replicas
        self.calls = 0
        self.under_way: Counter[_Processor] = Counter()


class _Cell:
    """Everything, and what became of it."""

    def __init__(self, plan: CellPlan) -> None:
        self._service, self._devices, self._plan = plan.service, plan.devices, plan
        self._env = simpy.Environment()
        self._chance = random.Random(plan.seed)  # noqa: S311 - no secrets
        self._result = CellResult()
        service = plan.service
        self._replicas = [_Processor() for _ in range(service.replicas)]
        self._front_ends = [
            _FrontEnd(self._replicas if service.shared else [self._replicas[number]])
            for number in range(service.front_ends)
        ]
        self._in_flight = [0] * plan.devices.count
        self._links = self._uplinks()

    def run(self) -> CellResult:
        """All events."""
        period_s = 1 / self._devices.fps
        phases = self._devices.phases_s or [
            self._chance.random() * period_s for _ in range(self._devices.count)
        ]
        for device, phase_s in enumerate(phases):
            self._film(device, phase_s)
        self._env.run()
        busy_s = sum(replica.busy_s for replica in self._replicas)
        self._result.busy_share = busy_s / self._plan.seconds / len(self._replicas)
        return self._result

    def _uplinks(self) -> list[Uplink]:
        roads = [Road(trace) for trace in self._devices.links]
        if not roads:
            return []
        chosen = [roads[device % len(roads)] for device in range(self._devices.count)]
        return [Uplink(road, self._chance.random() * road.duration_s) for road in chosen]

    def _at(self, when_s: float, then: Callable[[], None]) -> None:
        event = self._env.timeout(max(0.0, when_s - self._env.now))
        event.callbacks.append(lambda _: then())

    def _film(self, device: int, first_s: float, number: int = 0) -> None:
        """The frame of a device with this number, from 0 on, and all after it."""
        at_s = first_s + number / self._devices.fps
        if at_s >= self._plan.seconds:
            return
        due_s = at_s + self._chance.random() * self._devices.jitter_ms / 1e3

        def due() -> None:
            self._film(device, first_s, number + 1)
            self._send(SimFrame(device, due_s, due_s >= self._plan.warm_s))

        self._at(due_s, due)

    def _send(self, frame: SimFrame) -> None:
        self._result.due += 1
        if self._in_flight[frame.device] >= self._devices.window:
            self._result.unsent += 1
            return
        self._in_flight[frame.device] += 1
        if not self._links:
            self._came(frame)
            return
        count = self._devices.payload_bytes
        arrives_s = self._links[frame.device].arrives_at(self._env.now, count)
        self._at(arrives_s, lambda: self._came(frame))

    def _came(self, frame: SimFrame) -> None:
        """A frame is at its front end."""
        frame.arrived_s = self._env.now
        front_end = self._front_ends[frame.device % len(self._front_ends)]
        if len(front_end.turns) >= self._service.most_waiting:
            self._ended(frame)
            self._result.refused += 1
            return
        read_s = front_end.processor.done_at(self._env.now, self._service.front_end_ms / 1e3)
        beside_ms = self._chance.choice(self._service.base_ms)

        def read() -> None:
            front_end.turns.add(frame)
            self._call(front_end)

        self._at(read_s + beside_ms / 1e3, read)

    def _call(self, front_end: _FrontEnd) -> None:
        """Batches go to replicas as long as there is room for calls."""
        most = self._service.calls * len(front_end.replicas)
        while front_end.turns and front_end.calls < most:
            frames = [f for f in front_end.turns.take(self._service.most) if self._in_time(f)]
            if frames:
                self._call_one(front_end, self._least_busy(front_end), frames)

    def _in_time(self, frame: SimFrame) -> bool:
        if (self._env.now - frame.arrived_s) * 1e3 <= self._devices.deadline_ms:
            return True
        self._ended(frame)
        self._result.refused += 1
        return False

    def _least_busy(self, front_end: _FrontEnd) -> _Processor:
        """The replica with the fewest calls of this front end."""
        known = self._chance.sample(front_end.replicas, len(front_end.replicas))
        return min(known, key=lambda replica: front_end.under_way[replica])

    def _call_one(self, front_end: _FrontEnd, replica: _Processor, frames: list[SimFrame]) -> None:
        front_end.calls += 1
        front_end.under_way[replica] += 1
        batches = self._result.batches
        batches[len(frames)] = batches.get(len(frames), 0) + 1
        half_hop_s = self._chance.choice(self._service.hop_ms) / 2e3

        def run() -> None:
            takes_s = self._service.times.ms(len(frames)) / 1e3
            done_s = replica.done_at(self._env.now, takes_s)
            self._at(done_s + half_hop_s, answered)

        def answered() -> None:
            front_end.calls -= 1
            front_end.under_way[replica] -= 1
            for frame in frames:
                self._answered(frame)
            self._call(front_end)

        self._at(self._env.now + half_hop_s, run)

    def _answered(self, frame: SimFrame) -> None:
        self._ended(frame)
        self._result.answered += 1
        if frame.counts:
            self._result.cloud_ms.append((self._env.now - frame.arrived_s) * 1e3)
            self._result.end_ms.append((self._env.now - frame.due_s) * 1e3)

    def _ended(self, frame: SimFrame) -> None:
        self._in_flight[frame.device] -= 1
