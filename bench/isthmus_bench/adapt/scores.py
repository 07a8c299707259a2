"""Pure arithmetic on finished runs: latencies, misses, ratios, the oracle, spread of repeats."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

import numpy as np

from isthmus_bench.adapt.runs import EWMA, OURS, FrameEnd, Policy, Run, Scene

__all__ = [
    "Cell",
    "Figures",
    "Spread",
    "Statistic",
    "Verdict",
    "cells_of",
    "figures_of",
    "latencies_ms",
    "oracle_ms",
    "p95",
    "spread_of",
    "verdict_of",
]

Statistic = Callable[[Sequence[float]], float]


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure of every repeat: their median, least and most."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """All policies of one model on one trace; `runs[policy]` has one run for each repeat.

    Frames of several models are pooled in units of what the board's own network takes
    (`scene.local_ms`), or one of them would outweigh the others.
    """

    model: str
    trace: str
    policies: tuple[Policy, ...]
    runs: Mapping[str, tuple[Run, ...]]
    scene: Scene

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.model}, {self.trace}"

    @property
    def static(self) -> tuple[str, ...]:
        """Names of the policies that never change and meet the agreement floor."""
        return tuple(p.name for p in self.policies if p.kind == "static" and p.counts)

    def best_static(self, statistic: Statistic) -> str:
        """The static policy that was best on this trace, as only hindsight knows."""
        return min(self.static, key=lambda name: statistic(self.latencies_ms(name)))

    def latencies_ms(self, policy: str) -> list[float]:
        """Of all frames of all repeats."""
        return [ms for run in self.runs[policy] for ms in latencies_ms(run.frames)]

    def of_repeat(self, repeat: int) -> "Cell":
        """What this repeat alone would say."""
        runs = {
            name: tuple(run for run in runs if run.repeat == repeat)
            for name, runs in self.runs.items()
        }
        return replace(self, runs=runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One policy over the frames of some runs.

    `missed`: share of frames late or without an answer; the rest are means of runs: frames without
    an answer, bytes for frames and in all (`Run`), switches and the board's CPU-seconds.
    """

    mean_ms: float
    p95_ms: float
    missed: float
    unanswered: float
    payload_bytes: float
    sent_bytes: float
    switches: float
    device_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Ours against the others, over all frames of some cells, in units of what edge-only takes.

    `vs_best_static_…`: ours / the static policy of least mean on each trace, which only hindsight
    knows; `vs_least_static_p95`: ours / that of least p95, seldom one that is good in the mean.
    `vs_one_static_mean`: ours / the one static policy that was best over all
    traces of a model. `regret_vs_oracle_mean`: ours / oracle - 1. `…_missed`: share of frames.
    """

    vs_best_static_mean: float
    vs_best_static_p95: float
    vs_least_static_p95: float
    vs_one_static_mean: float
    regret_vs_oracle_mean: float
    vs_ewma_mean: float
    vs_ewma_p95: float
    missed: float
    best_static_missed: float


def cells_of(policies: Sequence[Policy], runs: Iterable[Run], scene: Scene) -> tuple[Cell, ...]:
    """The runs of one model, by traces in the order of their first runs."""
    found: defaultdict[str, defaultdict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in sorted(runs, key=lambda run: run.repeat):
        found[run.trace][run.policy].append(run)
    return tuple(
        Cell(
            model=next(iter(by_policy.values()))[0].model,
            trace=trace,
            policies=tuple(policies),
            runs={name: tuple(runs) for name, runs in by_policy.items()},
            scene=scene,
        )
        for trace, by_policy in found.items()
    )


def latencies_ms(frames: Sequence[FrameEnd]) -> list[float]:
    """Tick to answer; what a frame without an answer showed is known with the next newer answer.

    So dropping frames does not flatter a policy. If no newer frame was answered, the last answer
    or tick of all counts.
    """
    answered_s = [frame.end_s for frame in frames if frame.end_s is not None]
    known_s = max([*answered_s, *(frame.tick_s for frame in frames)], default=0.0)
    found: list[float] = []
    newest_first = sorted(frames, key=lambda frame: frame.tick_s, reverse=True)
    for frame in newest_first:
        if frame.latency_ms is None or frame.end_s is None:
            found.append((known_s - frame.tick_s) * 1e3)
        else:
            found.append(frame.latency_ms)
            known_s = min(known_s, frame.end_s)
    return found[::-1]


def p95(latencies: Sequence[float]) -> float:
    """The 95th percentile."""
    return float(np.percentile(latencies, 95))


def oracle_ms(cell: Cell) -> list[float]:
    """Latencies of a policy that knows, for each second, the static one of least mean latency.

    Frames count in the second of their tick. It is made of what was measured, so it also picks
    the luckiest of several equal ones: a bound that nothing can quite reach.
    """
    seconds: defaultdict[int, dict[str, list[float]]] = defaultdict(dict)
    for name in cell.static:
        for run in cell.runs[name]:
            ticks = sorted(frame.tick_s for frame in run.frames)
            for tick_s, ms in zip(ticks, latencies_ms(run.frames), strict=True):
                seconds[int(tick_s)].setdefault(name, []).append(ms)
    return [ms for second in sorted(seconds) for ms in min(seconds[second].values(), key=fmean)]


def figures_of(runs: Sequence[Run], late_after_ms: float) -> Figures:
    """One policy's figures over some runs of it."""
    frames = [frame for run in runs for frame in run.frames]
    latencies = [ms for run in runs for ms in latencies_ms(run.frames)]
    return Figures(
        mean_ms=fmean(latencies),
        p95_ms=p95(latencies),
        missed=fmean(_is_missed(frame, late_after_ms) for frame in frames),
        unanswered=sum(frame.latency_ms is None for frame in frames) / len(runs),
        payload_bytes=fmean(run.payload_bytes for run in runs),
        sent_bytes=fmean(run.sent_bytes for run in runs),
        switches=fmean(run.switches for run in runs),
        device_s=fmean(run.device_s for run in runs),
    )


def verdict_of(cells: Sequence[Cell]) -> Verdict:
    """Of one or more cells; see `Verdict`."""
    ours = _pooled(cells, lambda _: OURS)
    ewma = _pooled(cells, lambda _: EWMA)
    oracle = [ms / cell.scene.local_ms for cell in cells for ms in oracle_ms(cell)]
    return Verdict(
        vs_best_static_mean=_against_best(cells, fmean, best_by=fmean),
        vs_best_static_p95=_against_best(cells, p95, best_by=fmean),
        vs_least_static_p95=_against_best(cells, p95, best_by=p95),
        vs_one_static_mean=fmean(ours) / fmean(_one_static_ms(cells)),
        regret_vs_oracle_mean=fmean(ours) / fmean(oracle) - 1,
        vs_ewma_mean=fmean(ours) / fmean(ewma),
        vs_ewma_p95=p95(ours) / p95(ewma),
        missed=_missed(cells, lambda _: OURS),
        best_static_missed=_missed(cells, lambda cell: cell.best_static(fmean)),
    )


def spread_of(cells: Sequence[Cell], repeats: int) -> Mapping[str, Spread]:
    """Every figure of the verdict, as each repeat alone would give it."""
    verdicts = [verdict_of([cell.of_repeat(repeat) for cell in cells]) for repeat in range(repeats)]
    return {
        name: Spread(median(values), min(values), max(values))
        for name in Verdict.__slots__
        for values in [[getattr(verdict, name) for verdict in verdicts]]
    }


def _pooled(cells: Sequence[Cell], policy_of: Callable[[Cell], str]) -> list[float]:
    return [ms / cell.scene.local_ms for cell in cells for ms in cell.latencies_ms(policy_of(cell))]


def _against_best(cells: Sequence[Cell], statistic: Statistic, best_by: Statistic) -> float:
    best = _pooled(cells, lambda cell: cell.best_static(best_by))
    return statistic(_pooled(cells, lambda _: OURS)) / statistic(best)


def _one_static_ms(cells: Sequence[Cell]) -> list[float]:
    """All frames, each model's by the one static policy that is best over all its traces."""
    by_model: defaultdict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_model[cell.model].append(cell)
    found: list[float] = []
    for group in by_model.values():
        pools = [_pooled(group, lambda _, name=name: name) for name in group[0].static]  # type: ignore[misc]
        found += min(pools, key=fmean)
    return found


def _missed(cells: Sequence[Cell], policy_of: Callable[[Cell], str]) -> float:
    return fmean(
        _is_missed(frame, cell.scene.late_after_ms)
        for cell in cells
        for run in cell.runs[policy_of(cell)]
        for frame in run.frames
    )


def _is_missed(frame: FrameEnd, late_after_ms: float) -> bool:
    return frame.latency_ms is None or frame.latency_ms > late_after_ms
