"""The open loads that real fleets bore, simulated with what was measured there otherwise."""

from collections import defaultdict
from collections.abc import Sequence
from math import inf
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
from isthmus_bench.scale.fleets import Kind
from isthmus_bench.scale.load import phases_s
from isthmus_bench.scale.simulation.cell import simulate
from isthmus_bench.scale.simulation.plan import CellPlan, CellResult, Devices, Service
from isthmus_cloud.engines.batch_times import BatchTimes
from isthmus_cloud.replicas.settings import CALLS

__all__ = ["batches_of", "costs_of", "validated", "with_more"]


def batches_of(rows: Sequence[FleetRow], kind: Kind) -> tuple[BatchTimes, int]:
    """What batches take a replica of a kind of fleet, and how great they grow, by the closed loops
    of the fleet like it that has one replica.

    A replica that has always work does nothing but one full batch after the other: what each takes
    there above the tail's own time (decoding, answers, threads that wake each other) belongs to it,
    and is taken for its frames' in equal shares.
    """
    alone = _alone(rows, kind)
    assert alone.tail is not None
    tail = alone.tail
    most = max(1, round(median(each.load.batch or 1.0 for each in alone.closed)))
    rate = median(each.rate_per_s for each in alone.closed)
    each_ms = max(0.0, 1e3 / rate - tail.ms(most) / most) if rate else 0.0
    return with_more(tail, each_ms), most


def with_more(times: BatchTimes, each_ms: float) -> BatchTimes:
    """Batches that take so much longer for each of their frames."""
    both = zip(times.sizes, times.took_ms, strict=True)
    return BatchTimes(times.sizes, tuple(ms + size * each_ms for size, ms in both))


def costs_of(
    rows: Sequence[FleetRow], real: Sequence[FleetRow], *, ray: bool | None = None
) -> Costs:
    """What frames cost beside their tail on Ray, or in-process; where nobody says, on Ray if it was
    measured.

    A front end's time for a frame is that of cameras with tails that compute: many devices, their
    heartbeats too, and batches as small as these make them.
    """
    if ray is None:
        ray = any(row.kind.ray for row in rows)
    alone = next(row for row in rows if _is_alone(row.kind, ray))
    computed = next(row for row in real if _is_alone(row.kind, ray))
    assert alone.tail is not None
    times, _ = batches_of(rows, alone.kind)
    front_end_ms = median(computed.open_cpu_ms)
    if not ray:  # the tail is in the same process
        front_end_ms -= median(each.load.load.engine_ms or 0.0 for each in computed.opened)
    front_end_ms = max(0.0, front_end_ms)
    base_ms, hop_ms = (_beside(rows, ray=False), _beside(rows, ray=True) if ray else [])
    usual_ms = median(base_ms) if base_ms else 0.0
    return Costs(
        front_end_ms=front_end_ms,
        replica_ms=times.ms(1) - alone.tail.ms(1),
        overheads=Overheads(
            base_ms=tuple(max(0.0, ms - front_end_ms) for ms in base_ms) or (0.0,),
            hop_ms=tuple(max(0.0, ms - usual_ms) for ms in hop_ms) or (0.0,),
        ),
    )


def validated(
    rows: Sequence[FleetRow], real: Sequence[FleetRow], config: ScaleConfig
) -> list[Case]:
    """Every open load of every fleet, measured and simulated with the same phases of devices."""
    cases = []
    for row in rows:
        service = _service(rows, real, row)
        by_share: defaultdict[float, list[OpenTurn]] = defaultdict(list)
        for turn in row.opened:
            by_share[turn.share].append(turn)
        for share, turns in by_share.items():
            found = tuple(_turn(turn, service, config) for turn in turns)
            cases.append(Case(row.kind.name, share, turns[0].devices, found))
    return cases


def _service(rows: Sequence[FleetRow], real: Sequence[FleetRow], row: FleetRow) -> Service:
    """A kind of fleet as the simulation knows it."""
    kind = row.kind
    times, most = batches_of(rows, kind)
    costs = costs_of(rows, real, ray=kind.ray)
    return Service(
        times=times,
        most=most,
        front_ends=kind.front_ends,
        replicas=kind.replicas,
        shared=kind.ray,
        calls=CALLS if kind.ray else 1,
        front_end_ms=costs.front_end_ms,
        base_ms=costs.overheads.base_ms,
        hop_ms=costs.overheads.hop_ms,
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
    unanswered = [inf] * (found.unsent + found.refused)
    return CaseTurn(turn.load.rising_ms, sorted(found.end_ms) + unanswered)


def _beside(rows: Sequence[FleetRow], *, ray: bool) -> list[float]:
    """What frames that came one at a time took beside their batches."""
    found: list[float] = []
    for row in rows:
        if _is_alone(row.kind, ray) and row.closed:
            times, _ = batches_of(rows, row.kind)
            found += (max(0.0, ms - times.ms(1)) for load in row.one for ms in load.latencies_ms)
    return found


def _alone(rows: Sequence[FleetRow], kind: Kind) -> FleetRow:
    """The fleet like this kind, with the same tails, that has one replica."""
    return next(
        row
        for row in rows
        if (row.kind.ray, row.kind.short, row.kind.replicas) == (kind.ray, kind.short, 1)
    )


def _is_alone(kind: Kind, ray: bool) -> bool:
    return (kind.ray, kind.short, kind.replicas) == (ray, False, 1)
