"""How many replicas a fleet needs, and what its answers cost: a search over simulated cells.

A large fleet is divided into equal cells of a front end and its replicas (or of plain processes),
of at most some thousand devices; cells know nothing of each other, so one of them stands for all.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import ceil

from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.figures import Costs, SizingRow, TailRow
from isthmus_bench.scale.simulation.cell import simulate
from isthmus_bench.scale.simulation.plan import CellPlan, CellResult, Devices, Service
from isthmus_bench.scale.validation import with_more
from isthmus_bench.traces import Trace
from isthmus_cloud.engines.batch_times import BatchTimes
from isthmus_cloud.replicas.settings import CALLS

Say = Callable[[str], None]
FRONT_END_SHARE = 0.6  # of its processor that a front end is to be busy, at most
JITTER_MS = 5.0  # of cameras
_ENOUGH, _SPARE = 3, 8  # times the load, and beside it: more replicas would gain nothing

__all__ = ["FRONT_END_SHARE", "JITTER_MS", "least_replicas", "sized", "usual"]


def sized(
    tails: Sequence[TailRow],
    costs: Costs,
    links: Sequence[Trace],
    config: ScaleConfig,
    say: Say,
    *,
    ray: bool = True,
) -> list[SizingRow]:
    """Every cut that was measured, with and without batching, for each fleet of the configuration:
    on replicas of Ray, which front ends share, or of plain processes, which have their own tails.
    """
    rows = []
    for tail in tails:
        if not tail.took_ms:
            say(f"{tail.cut} takes one frame at a time and was not measured: not simulated")
            continue
        for batching in (False, True):
            most = tail.knee if batching else 1
            if batching and most == 1:
                continue  # the same again
            sizer = _Sizer(tail, most, costs, tuple(links), config, ray=ray)
            for devices in config.fleets:
                say(f"simulating {devices} devices, {tail.cut}, batches of up to {most}")
                rows.append(sizer.row(devices))
    return rows


def usual(times_ms: Sequence[float]) -> tuple[float, ...]:
    """Without the slowest hundredth, and at least one where there are several: of some hundred
    calls here, what the slowest one met would decide the p99 of every fleet."""
    count = len(times_ms) - max(ceil(len(times_ms) / 100), 1)
    return tuple(sorted(times_ms)[: max(1, count)])


def least_replicas(begin: int, enough: int, is_borne: Callable[[int], bool]) -> int | None:
    """The least number from `begin` to `enough` with which a load is borne, if it is with every
    greater one; None if it is not with `enough`."""
    if not is_borne(enough):
        return None
    low, high, stride = begin - 1, enough, 1
    while low + stride < high:  # near the beginning is where it is found most often
        if is_borne(low + stride):
            high = low + stride
            break
        low += stride
        stride *= 2
    while high - low > 1:
        middle = (low + high) // 2
        if is_borne(middle):
            high = middle
        else:
            low = middle
    return high


class _Sizer:
    """One cut with one way of batching."""

    def __init__(
        self,
        tail: TailRow,
        most: int,
        costs: Costs,
        links: tuple[Trace, ...],
        config: ScaleConfig,
        *,
        ray: bool,
    ) -> None:
        self._tail, self._most, self._links, self._config = tail, most, links, config
        self._ray = ray
        alone = BatchTimes(tuple(tail.took_ms), tuple(tail.took_ms.values()))
        self._times = with_more(alone, costs.replica_ms)
        self._costs = costs
        self._hop_ms = usual(costs.overheads.hop_ms)
        self.cell = lru_cache(maxsize=None)(self._cell)

    def row(self, devices: int) -> SizingRow:
        """One fleet."""
        config, cells = self._config, ceil(devices / self._cell_devices)
        count = ceil(devices / cells)
        replicas, cloud, end = self.cell(count)
        price = None
        if replicas is not None:
            front_end_price = config.front_end_price if self._ray else 0.0
            an_hour = cells * (replicas * config.replica_price + front_end_price)
            price = an_hour / (devices * config.fps * 3600) * 1000
        return SizingRow(
            cut=self._tail.cut,
            batching=self._most > 1,
            devices=devices,
            cells=cells,
            replicas=None if replicas is None else cells * replicas,
            cloud_p50_ms=cloud.cloud_percentile(0.5),
            cloud_p99_ms=cloud.cloud_percentile(0.99),
            end_p50_ms=end.end_percentile(0.5),
            end_p99_ms=end.end_percentile(0.99),
            busy_share=cloud.busy_share,
            mean_batch=cloud.mean_batch,
            unsent_share=end.unsent / max(1, end.due),
            uplink_mbps=devices * config.fps * self._tail.payload_bytes * 8 / 1e6,
            price_per_1000=price,
        )

    @property
    def _cell_devices(self) -> int:
        """What a front end can bear, and no more than the configuration allows; plain processes
        are as many front ends as replicas."""
        if not self._ray:
            return self._config.cell_devices
        bears = FRONT_END_SHARE * 1e3 / max(self._costs.front_end_ms, 1e-3) / self._config.fps
        return max(1, min(self._config.cell_devices, int(bears)))

    def _cell(self, devices: int) -> tuple[int | None, CellResult, CellResult]:
        """The replicas of a cell, its figures, and those over links."""
        load = devices * self._config.fps * self._times.ms(self._most) / self._most / 1e3
        begin = max(1, ceil(load))
        enough = _ENOUGH * begin + _SPARE
        simulated: dict[int, CellResult] = {}

        def is_borne(replicas: int) -> bool:
            plan = self._plan(devices, replicas, self._config.sim_s)
            found = simulated[replicas] = simulate(plan)
            p99_ms = found.cloud_percentile(0.99)
            lacks = found.unsent + found.refused
            return lacks == 0 and p99_ms is not None and p99_ms <= self._config.slo_ms

        replicas = least_replicas(begin, enough, is_borne)
        taken = enough if replicas is None else replicas
        return (
            replicas,
            simulated[taken],
            simulate(self._plan(devices, taken, self._config.links_s, self._links)),
        )

    def _plan(
        self, devices: int, replicas: int, seconds: float, links: tuple[Trace, ...] = ()
    ) -> CellPlan:
        config, costs = self._config, self._costs
        service = Service(
            times=self._times,
            most=self._most,
            front_ends=1 if self._ray else replicas,
            replicas=replicas,
            shared=self._ray,
            calls=CALLS if self._ray else 1,
            front_end_ms=costs.front_end_ms,
            base_ms=costs.overheads.base_ms,
            hop_ms=self._hop_ms,
        )
        sending = Devices(
            count=devices,
            fps=config.fps,
            payload_bytes=self._tail.payload_bytes,
            jitter_ms=JITTER_MS,
            links=links,
        )
        warm_s = config.sim_s / 6
        return CellPlan(
            service=service, devices=sending, seconds=seconds, warm_s=warm_s, seed=config.seed
        )
