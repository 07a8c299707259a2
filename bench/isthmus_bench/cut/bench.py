"""`isthmus bench cut`: how long the search for all best cuts takes, on real and made-up networks.

Beside it stands what it is built on and has to beat: the same walk along the envelope by flows over
the whole graph, without blocks and contraction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np

from isthmus import ConfigError, describe_machine
from isthmus_bench.cut.real import REAL_GRAPHS, RealGraph
from isthmus_bench.cut.subject import CutSubject
from isthmus_bench.cut.synthetic import FAMILIES, synthetic_subject
from isthmus_bench.starvation import StolenTime
from isthmus_partitioner.cuts.dag import FoundCut
from isthmus_partitioner.cuts.flow import cheapest_edge
from isthmus_partitioner.cuts.parametric import CutSearch, cut_after, envelope
from isthmus_partitioner.cuts.problem import problem_of

__all__ = ["CutBenchConfig", "CutBenchResult", "CutTimes", "run_cut_bench"]

Say = Callable[[str], None]

_SLOWEST_BPS, _FASTEST_BPS = 1e5, 1e9
_MIDDLE_BPS = (_SLOWEST_BPS * _FASTEST_BPS) ** 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class CutBenchConfig:
    """What is timed: each of `real`, and each family at each of `sizes` (nodes), `runs` times.

    Flows over the whole graph, whose time grows with the square of its depth, are timed once, and
    left out above `whole_up_to` nodes.
    """

    real: tuple[RealGraph, ...] = REAL_GRAPHS
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    runs: int = 3
    whole_up_to: int = 1_500

    def __post_init__(self) -> None:
        if self.runs < 1 or len(set(self.sizes)) < 2 or min(self.sizes) < 10:
            raise ConfigError("needed: one run or more, and two sizes or more of 10 nodes or more")

    @classmethod
    def quick(cls) -> "CutBenchConfig":
        """Up to 10,000 nodes, twice: half a minute."""
        return cls(sizes=(1_000, 3_000, 10_000), runs=2, whole_up_to=2_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutTimes:
    """One network; times are medians of the runs, `spread` (slowest - fastest) / median.

    `seconds`: all best cuts from 0.1 Mbit/s to 1 Gbit/s, `cuts` of them after `solves`; `one_cut`:
    the best at 10 Mbit/s; `whole_flows`: all best cuts by flows over the whole graph, None if that
    was left out. `dag_nodes` of the `nodes` depend on an input.
    """

    model: str
    nodes: int
    dag_nodes: int
    seconds: float
    spread: float
    one_cut_seconds: float
    whole_flows_seconds: float | None
    cuts: int
    solves: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CutBenchResult:
    """All times of one run; `missing` says which real graphs could not be read, and why."""

    machine: str
    stolen_share: float
    runs: int
    real: tuple[CutTimes, ...]
    missing: tuple[str, ...]
    synthetic: tuple[CutTimes, ...]

    def growth_exponents(self) -> dict[str, float]:
        """By family: the slope of log(seconds) over log(nodes), by least squares; 1 is linear."""
        exponents = {}
        for family in dict.fromkeys(row.model for row in self.synthetic):
            rows = [row for row in self.synthetic if row.model == family]
            nodes, seconds = ([getattr(r, name) for r in rows] for name in ("nodes", "seconds"))
            exponents[family] = float(np.polyfit(np.log(nodes), np.log(seconds), 1)[0])
        return exponents


def run_cut_bench(config: CutBenchConfig, say: Say) -> CutBenchResult:
    """Time everything; `say` gets a line for each network."""
    stolen = StolenTime()
    real: list[CutTimes] = []
    missing: list[str] = []
    for graph in config.real:
        try:
            subject = graph.load()
        except ConfigError as error:
            missing.append(f"{graph.name}: {error}")
            continue
        say(f"{subject.name}: {subject.nodes} nodes")
        real.append(_timed(subject, config))
    synthetic: list[CutTimes] = []
    for family in FAMILIES:
        for nodes in config.sizes:
            say(f"{family}: {nodes} nodes")
            synthetic.append(_timed(synthetic_subject(family, nodes), config))
    return CutBenchResult(
        machine=describe_machine(),
        stolen_share=stolen.share(),
        runs=config.runs,
        real=tuple(real),
        missing=tuple(missing),
        synthetic=tuple(synthetic),
    )


def _timed(subject: CutSubject, config: CutBenchConfig) -> CutTimes:
    dag, costs = subject.dag, subject.costs
    found: list[tuple[int, int]] = []

    def search() -> None:
        searching = CutSearch(dag, costs, _SLOWEST_BPS, _FASTEST_BPS)
        found.append((len(searching.all()), searching.solves))

    def one_cut() -> None:
        CutSearch(dag, costs, _MIDDLE_BPS, _MIDDLE_BPS).best_at(_MIDDLE_BPS)

    def whole_flows() -> None:
        problem = problem_of(dag, costs)

        def solve(ms_per_byte: float) -> FoundCut:
            edge = cheapest_edge(problem, ms_per_byte)[1:-1]
            return cut_after(dag, costs, np.flatnonzero(edge).tolist())

        envelope(solve, _SLOWEST_BPS, _FASTEST_BPS)

    seconds = _seconds(search, config.runs)
    is_small = dag.node_count <= config.whole_up_to
    return CutTimes(
        model=subject.name,
        nodes=subject.nodes,
        dag_nodes=dag.node_count,
        seconds=median(seconds),
        spread=(max(seconds) - min(seconds)) / median(seconds),
        one_cut_seconds=median(_seconds(one_cut, config.runs)),
        whole_flows_seconds=_seconds(whole_flows, 1)[0] if is_small else None,
        cuts=found[0][0],
        solves=found[0][1],
    )


def _seconds(work: Callable[[], None], runs: int) -> list[float]:
    seconds = []
    for _ in range(runs):
        begin = perf_counter()
        work()
        seconds.append(perf_counter() - begin)
    return seconds
