"""The open loads that real fleets bore, simulated with the times that were measured there."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.figures import Case, CaseTurn, FleetRow, OpenTurn
from isthmus_bench.scale.fleets import IN_PROCESS, RAY_ONE
from isthmus_bench.scale.load import phases_s
from isthmus_bench.scale.simulation.cell import simulate
from isthmus_bench.scale.simulation.plan import CellPlan, CellResult, Devices, Service
from isthmus_cloud.engines.batch_times import BatchTimes

__all__ = ["Overheads", "batches_of", "overheads_of", "validated", "worst_error"]

_CALLS = 2  # that a front end has at each replica; see `isthmus_cloud.replicas`


@dataclass(frozen=True, slots=True)
class Overheads:
    """What one frame takes beside its batch, one at a time: in-process, and on Ray above that (0
    where there was none). Each figure is one frame's, in ms."""

    base_ms: tuple[float, ...]
    hop_ms: tuple[float, ...]


def batches_of(row: FleetRow, tail: BatchTimes) -> tuple[BatchTimes, int]:
    """What batches take a replica of a fleet, and how great they grow there, by its closed loops.

    A full replica does nothing but one batch after the other: what each takes there above the
    tail's own time (decoding, answers, threads that wake each other) belongs to it.
    """
    most = round(median(each.load.batch or 1.0 for each in row.closed))
    rate = median(each.load.answers_per_s for each in row.closed)
    extra_ms = max(0.0, row.kind.replicas * most / rate * 1e3 - tail.ms(most)) if rate else 0.0
    return BatchTimes(tail.sizes, tuple(ms + extra_ms for ms in tail.took_ms)), most


def overheads_of(rows: Sequence[FleetRow], tail: BatchTimes) -> Overheads:
    """From the fleets that were sent one frame at a time."""
    base = _beside(rows, IN_PROCESS, tail)
    usual_ms = median(base) if base else 0.0
    hop = [max(0.0, ms - usual_ms) for ms in _beside(rows, RAY_ONE, tail)]
    return Overheads(tuple(base) or (0.0,), tuple(hop) or (0.0,))


def validated(
    rows: Sequence[FleetRow], tail: BatchTimes, overheads: Overheads, config: ScaleConfig
) -> list[Case]:
    """Every open load of every fleet, measured and simulated with the same phases of devices."""
    cases = []
    for row in rows:
        service = _service(row, tail, overheads)
        by_share: defaultdict[float, list[OpenTurn]] = defaultdict(list)
        for turn in row.opened:
            by_share[turn.share].append(turn)
        for share, turns in by_share.items():
            found = tuple(_turn(turn, service, config) for turn in turns)
            cases.append(Case(row.kind.name, share, turns[0].devices, found))
    return cases


def worst_error(cases: Iterable[Case]) -> float | None:
    """The greatest error of a p99; None if none could be compared."""
    return max((each.p99_error for each in cases if each.p99_error is not None), default=None)


def _service(row: FleetRow, tail: BatchTimes, overheads: Overheads) -> Service:
    """A kind of fleet as the simulation knows it."""
    kind = row.kind
    times, most = batches_of(row, tail)
    return Service(
        times=times,
        most=most,
        front_ends=kind.front_ends,
        replicas=kind.replicas,
        shared=kind.ray,
        calls=_CALLS if kind.ray else 1,
        front_end_ms=median(row.front_end_ms),
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
    return CaseTurn(
        load.p50_ms, load.p99_ms, found.end_percentile(0.5), found.end_percentile(0.99)
    )


def _beside(rows: Sequence[FleetRow], name: str, tail: BatchTimes) -> list[float]:
    """What frames that came one at a time took beside their batches."""
    found: list[float] = []
    for row in rows:
        if row.kind.name == name and row.closed:
            times, _ = batches_of(row, tail)
            found += (max(0.0, ms - times.ms(1)) for load in row.one for ms in load.latencies_ms)
    return found
