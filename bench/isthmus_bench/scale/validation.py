"""The open loads that real fleets bore, simulated with the times that were measured there."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.figures import (
    Case,
    CaseTurn,
    Costs,
    FleetRow,
    OpenTurn,
    Overheads,
)
from isthmus_bench.scale.fleets import IN_PROCESS, RAY_ONE, Kind
from isthmus_bench.scale.load import phases_s
from isthmus_bench.scale.simulation.cell import simulate
from isthmus_bench.scale.simulation.plan import CellPlan, CellResult, Devices, Service
from isthmus_cloud.engines.batch_times import BatchTimes

__all__ = ["batches_of", "costs_of", "overheads_of", "validated"]

_CALLS = 2  # that a front end has at each replica; see `isthmus_cloud.replicas`


def batches_of(rows: Sequence[FleetRow], kind: Kind, tail: BatchTimes) -> tuple[BatchTimes, int]:
    """What batches take a replica of a kind of fleet, and how great they grow, by the closed loops
    of the fleet like it that has one replica.

    A replica that has always work does nothing but one full batch after the other: what each takes
    there above the tail's own time (decoding, answers, threads that wake each other) belongs to it.
    """
    (alone,) = (row for row in rows if row.kind.ray == kind.ray and row.kind.replicas == 1)
    most = round(median(each.load.batch or 1.0 for each in alone.closed))
    rate = median(each.load.answers_per_s for each in alone.closed)
    extra_ms = max(0.0, most / rate * 1e3 - tail.ms(most)) if rate else 0.0
    return BatchTimes(tail.sizes, tuple(ms + extra_ms for ms in tail.took_ms)), most


def overheads_of(rows: Sequence[FleetRow], tail: BatchTimes) -> Overheads:
    """From the fleets that were sent one frame at a time."""
    base = _beside(rows, IN_PROCESS, tail)
    usual_ms = median(base) if base else 0.0
    hop = [max(0.0, ms - usual_ms) for ms in _beside(rows, RAY_ONE, tail)]
    return Overheads(tuple(base) or (0.0,), tuple(hop) or (0.0,))


def costs_of(
    rows: Sequence[FleetRow],
    real: Sequence[FleetRow],
    tail: BatchTimes,
    overheads: Overheads,
) -> Costs:
    """What sizing counts with: those of Ray, or where it was not measured those in-process.

    A front end is never as thrifty as when it has much to do: its time for a frame is that of a
    closed loop with tails that compute, without what these took in its own process.
    """
    wanted = RAY_ONE if any(row.kind.name == RAY_ONE for row in rows) else IN_PROCESS
    (slept,) = (row for row in rows if row.kind.name == wanted)
    (computed,) = (row for row in real if row.kind.name == wanted)
    times, _ = batches_of(rows, slept.kind, tail)
    own_ms = median(computed.closed_cpu_ms)
    if not computed.kind.ray:
        own_ms -= median(each.load.engine_ms or 0.0 for each in computed.closed)
    return Costs(
        front_end_ms=max(0.0, own_ms), batch_ms=times.ms(1) - tail.ms(1), overheads=overheads
    )


def validated(
    rows: Sequence[FleetRow], tail: BatchTimes, overheads: Overheads, config: ScaleConfig
) -> list[Case]:
    """Every open load of every fleet, measured and simulated with the same phases of devices."""
    cases = []
    for row in rows:
        service = _service(rows, row, tail, overheads)
        by_share: defaultdict[float, list[OpenTurn]] = defaultdict(list)
        for turn in row.opened:
            by_share[turn.share].append(turn)
        for share, turns in by_share.items():
            found = tuple(_turn(turn, service, config) for turn in turns)
            cases.append(Case(row.kind.name, share, turns[0].devices, found))
    return cases


def _service(
    rows: Sequence[FleetRow], row: FleetRow, tail: BatchTimes, overheads: Overheads
) -> Service:
    """A kind of fleet as the simulation knows it."""
    kind = row.kind
    times, most = batches_of(rows, kind, tail)
    return Service(
        times=times,
        most=most,
        front_ends=kind.front_ends,
        replicas=kind.replicas,
        shared=kind.ray,
        calls=_CALLS if kind.ray else 1,
        front_end_ms=median(row.open_cpu_ms),
        base_ms=overheads.base_ms,
        hop_ms=overheads.hop_ms if kind.ray else (0.0,),
    )


def _turn(turn: OpenTurn, service: Service, config: ScaleConfig) -> CaseTurn:
    devices = Devices(
        count=turn.devices,
        fps=config.fps,
        phases_s=tuple(phases_s(turn.devices, config.fps, turn.seed)),
        deadline_ms=config.deadline_s * 1e3,
    )
    plan = CellPlan(
        service=service,
        devices=devices,
        seconds=config.warm_s + config.load_s,
        warm_s=config.warm_s,
        seed=turn.seed,
    )
    found: CellResult = simulate(plan)
    load = turn.load.load
    return CaseTurn(load.p50_ms, load.p99_ms, found.end_percentile(0.5), found.end_percentile(0.99))


def _beside(rows: Sequence[FleetRow], name: str, tail: BatchTimes) -> list[float]:
    """What frames that came one at a time took beside their batches."""
    found: list[float] = []
    for row in rows:
        if row.kind.name == name and row.closed:
            times, _ = batches_of(rows, row.kind, tail)
            found += (max(0.0, ms - times.ms(1)) for load in row.one for ms in load.latencies_ms)
    return found
