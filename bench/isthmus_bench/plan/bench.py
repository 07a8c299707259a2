"""`isthmus bench plan`: what plans promise, what happens, and what others would have done.

For every model and slow-down one plan; for every link its choice, all its candidates, and every
baseline, all of them run: a cloud, a device imitated as a slow board, a shaped link between them.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from isthmus import answer_bytes, describe_machine
from isthmus_bench.plan.cells import Cell, with_static_splits
from isthmus_bench.plan.config import PlanBenchConfig
from isthmus_bench.plan.device import write_items
from isthmus_bench.plan.measuring import Board, Link, Way, measured_rows, ways_of
from isthmus_bench.plan.planners import Choice, Planners
from isthmus_bench.plan.rivals import EDGE_FP32, EDGE_INT8, Rivals, Whole, build_rivals
from isthmus_bench.plan.subject import Subject, Subjects, representative, subject_of
from isthmus_bench.starvation import StolenTime
from isthmus_partitioner import Workbench
from isthmus_partitioner.precision.sensitivity import Judge

__all__ = ["PlanBenchResult", "run_plan_bench"]

ITEMS = "items.npz"

Say = Callable[[str], None]
_Choices = Mapping[float, Mapping[str, Choice]]  # by link and planner


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBenchResult:
    """All figures of one run.

    `drift`: how many times longer than when it planned this machine took: least, median, most.
    """

    machine: str
    stolen_share: float
    config: PlanBenchConfig
    cells: tuple[Cell, ...]
    drift: tuple[float, float, float]


def run_plan_bench(
    config: PlanBenchConfig, say: Say, subjects: Subjects = subject_of
) -> PlanBenchResult:
    """Plan and measure; `say` gets a line for each step of the long work.

    Works in a temporary folder, and leaves neither files nor processes behind. ConfigError if a
    package of a model is not installed.
    """
    stolen = StolenTime()
    cells: list[Cell] = []
    drifts: list[float] = []
    for name in config.models:
        with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
            say(f"{name}: reading the network and its inputs")
            subject = subjects(name, config, Path(folder))
            for slow_down in config.slow_downs:
                cells += _SlowDown(subject, config, slow_down, say).cells(drifts)
    return PlanBenchResult(
        machine=describe_machine(),
        stolen_share=stolen.share(),
        config=config,
        cells=with_static_splits(cells),
        drift=(min(drifts), median(drifts), max(drifts)),
    )


class _SlowDown:
    """All links of one plan."""

    def __init__(
        self, subject: Subject, config: PlanBenchConfig, slow_down: float, say: Say
    ) -> None:
        self._subject, self._config, self._slow_down = subject, config, slow_down
        self._title = f"{subject.name}, {slow_down:g}x"
        self._say = say
        self._folder = subject.folder / f"{slow_down:g}"
        self._bench = subject.workbench(config, slow_down, self._note)

    def _note(self, line: str) -> None:
        self._say(f"{self._title}: {line}")

    def cells(self, drifts: list[float]) -> Iterator[Cell]:
        """Plan, build the rivals, and measure them on every link; `drifts` grows by the board's."""
        plan = self._bench.plan()
        bundle = self._bench.build(self._folder / "plan.bundle")
        planners = Planners(self._subject.network, self._bench.costs)
        links = [Link(mbps, self._config.rtt_ms) for mbps in self._config.links_mbps]
        answer = answer_bytes(self._subject.network.outputs, self._subject.top_k)
        choices = {
            link.mbps: planners.choices(
                link.mbps * 1e6, link.rtt_ms + link.estimate.transfer_ms(answer)
            )
            for link in links
        }
        heads = {c.head for chosen in choices.values() for c in chosen.values() if c.head}
        self._note(f"building {len(heads)} cuts of other planners, and edge-only networks")
        rivals = build_rivals(
            self._subject.network,
            bundle,
            plan.manifest,
            heads,
            list(_wholes(self._subject, self._bench)),
            feed=next(iter(self._subject.sets.evaluation.feeds(self._subject.network.inputs))),
            factor=self._slow_down,
            alone=self._folder / "alone",
        )
        yield from self._measured(rivals, links, choices, drifts)

    def _measured(
        self, rivals: Rivals, links: list[Link], choices: _Choices, drifts: list[float]
    ) -> Iterator[Cell]:
        others, floor = rivals.cut_of.values(), self._config.plan.agreement_floor
        ways = ways_of(rivals.manifest, others, rivals.whole, self._subject.top_k)
        items = self._items()
        flags = self._flags(rivals)
        control = (EDGE_FP32, rivals.edge_fp32_ms)
        with Board(flags, rivals.bundle, items, self._config, control) as board:
            self._note(f"warming up {len(ways)} ways to answer")
            rtt_ms = board.warm_up(ways.values())
            for link in links:
                expected = _expected(choices[link.mbps], rivals)
                known = Link(link.mbps, rtt_ms)
                here = [w for w in ways.values() if w.kind != "fp32 wire" or w.name in expected]
                quick = [w for w in here if self._is_worth_waiting(w, known)]
                self._note(f"{link.mbps:g} Mbit/s: {len(quick)} ways to answer")
                rows = measured_rows(board, quick, link, known, expected, floor)
                yield Cell(
                    model=self._subject.name,
                    link_mbps=link.mbps,
                    slow_down=self._slow_down,
                    rtt_ms=rtt_ms,
                    rows=tuple(rows),
                    left_out=tuple(w.name for w in here if w not in quick),
                )
            drifts += board.drifts

    def _is_worth_waiting(self, way: Way, link: Link) -> bool:
        return way.prediction(link).latency_ms <= self._config.too_slow_s * 1e3

    def _items(self) -> int:
        """Writes those that are sent, and says how many there are."""
        subject = self._subject
        rows = representative(subject.network, subject.sets.evaluation, self._config.frames)
        chosen = subject.sets.evaluation[rows]
        columns = [chosen.arrays[spec.name] for spec in subject.network.inputs]
        write_items(self._folder / ITEMS, columns)
        return len(rows)

    def _flags(self, rivals: Rivals) -> dict[str, object]:
        return {
            "items": self._folder / ITEMS,
            "alone": rivals.alone,
            "factor": self._slow_down,
            "top-k": self._subject.top_k,
        }


def _wholes(subject: Subject, bench: Workbench) -> Iterator[Whole]:
    """The whole network in fp32, and in int8 where it can be made."""
    yield Whole(EDGE_FP32, "fp32", subject.network.model, 1.0)
    int8 = bench.precision.int8
    if int8 is not None:
        judge = Judge(subject.network, subject.sets.evaluation, subject.metric)
        yield Whole(EDGE_INT8, "int8", int8, judge.closeness(int8).agreement)


def _expected(choices: Mapping[str, Choice], rivals: Rivals) -> dict[str, dict[str, float]]:
    """By way, the latency that each planner expected which chose it."""
    expected: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for planner, choice in choices.items():
        if choice.head is None:
            way = EDGE_FP32
        else:
            way = rivals.cut_of[choice.head] if choice.head else "input-raw"
        expected[way][planner] = choice.predicted_ms
    return dict(expected)
