"""The search for a network's mix of fp32 and int8.

    ranges -> one QDQ graph for each method of calibration -> the better of them and of the op sets
    -> what each fused group gains in time and costs in fidelity -> for a rising price of damage the
    cheapest mix (a minimum cut) -> some of these built and measured as wholes -> a front, a choice

Sums of groups only propose: every figure of the result is of a network that was built and run.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx
from msgspec.structs import replace

from isthmus import ModelError
from isthmus.agreement.closeness import Metric
from isthmus_partitioner.config import Progress
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.planning.node_costs import ALL_INT8
from isthmus_partitioner.precision.bases import Base, quantised_bases
from isthmus_partitioner.precision.front import (
    Kind,
    Point,
    choose,
    choose_integer_only,
    pareto,
)
from isthmus_partitioner.precision.group_times import time_models
from isthmus_partitioner.precision.groups import fused_groups
from isthmus_partitioner.precision.proposals import Proposal, measure_groups
from isthmus_partitioner.precision.qdq import quantisable
from isthmus_partitioner.precision.sensitivity import Judge
from isthmus_partitioner.samples import SampleSets

__all__ = ["Precision", "search"]

_FIRST, _FINER = 7, 4  # mixes that are built at most: along the front, then around the budget


@dataclass(frozen=True, slots=True, eq=False)
class Precision:
    """The front of one network, and the mix that its device shall run.

    No point of `front` is beaten by another in both time and divergence; `tried` has all. `int8` is
    the QDQ graph of all ops, None where it could not be made; `head` is the chosen mix; `groups`
    says how many fused groups could be int8. Times in ms: whole network, one item, one thread.
    `head_name` is what profiles call `head`, where it is not fp32.
    """

    front: tuple[Point, ...]
    tried: tuple[Point, ...]
    chosen: Point
    reason: str
    groups: int
    int8: onnx.ModelProto | None
    head: onnx.ModelProto
    fp32_ms: float
    int8_ms: float | None
    head_name: str = "head"

    @property
    def networks(self) -> dict[str, str]:
        """What profiles call the networks of a plan's chains, as `NodeCosts` knows them."""
        names = {"fp32": "fp32"}
        if self.chosen.kind != "fp32":
            names["int8"] = self.head_name
        if self.chosen.kind == "mixed" and self.int8 is not None:
            names[ALL_INT8] = "int8"
        return names


def search(
    network: Network,
    sets: SampleSets,
    metric: Metric,
    progress: Progress,
    *,
    budget: float,
    integer_only: bool = False,
) -> Precision:
    """Find the fastest mix whose divergence on held-back items stays within the budget.

    A network that cannot be quantised, or is not faster in int8, stays fp32, and the reason says
    so; only with `integer_only` that is a ModelError. `budget` is in the unit of the metric's
    divergence.
    """
    looking = _Search(network, sets, metric, progress)
    try:
        bases = quantised_bases(network, sets.fitted, progress)
    except ModelError as error:
        if integer_only:
            raise ModelError(f"{error}; an integer-only device cannot run it") from error
        return looking.without_int8(str(error))
    if integer_only:
        return looking.integer_only(bases)
    return looking.mixed(bases, budget)


@dataclass(frozen=True, slots=True, eq=False)
class _Mix:
    """A network that was built and judged; `point` gets its time when all have taken turns."""

    model: onnx.ModelProto
    point: Point


class _Search:
    def __init__(
        self, network: Network, sets: SampleSets, metric: Metric, progress: Progress
    ) -> None:
        self._network, self._progress = network, progress
        self._judge = Judge(network, sets.held_back, metric)
        self._feed = next(sets.fitted.feeds(network.inputs))
        self._nodes = frozenset(range(len(network.model.graph.node)))
        able = quantisable(network)
        groups = fused_groups(network.model.graph, network.macs)
        self._groups = tuple(group for group in groups if group.nodes & able)

    def without_int8(self, problem: str) -> Precision:
        """The fp32 network is all there is."""
        (fp32,) = self._timed([self._unsplit()])
        point, reason = fp32.point, f"stays fp32: {problem}"
        return Precision((point,), (point,), point, reason, 0, None, fp32.model, point.ms, None)

    def integer_only(self, bases: Sequence[Base]) -> Precision:
        """Only networks that are int8 throughout, beside fp32."""
        whole = [base for base in bases if base.is_whole]
        mixes = self._timed([self._unsplit(), *(self._plain(base) for base in whole)])
        chosen, reason = choose_integer_only([mix.point for mix in mixes])
        return self._result(mixes, chosen, reason)

    def mixed(self, bases: Sequence[Base], budget: float) -> Precision:
        """The front of the mixes of the most promising base."""
        self._progress(f"comparing {len(bases)} ways of quantising")
        mixes = self._timed([self._unsplit(), *(self._plain(base) for base in bases)])
        points = [mix.point for mix in mixes[1:]]
        # Damage weighs as much as time, but none below the budget.
        best = min(range(len(bases)), key=lambda i: points[i].ms * (points[i].divergence + budget))
        proposed = self._proposed(bases[best], budget)
        if proposed:
            self._progress(f"timing {len(proposed)} mixes of precisions")
            # What was timed before is timed again, or turns of two times would be compared.
            mixes = self._timed([*mixes, *proposed])
        chosen, reason = choose([mix.point for mix in mixes], budget)
        return self._result(mixes, chosen, reason)

    def _proposed(self, base: Base, budget: float) -> list[_Mix]:
        """Mixes along the front that was predicted, and more where the budget is crossed."""
        proposals = measure_groups(self._network, base, self._judge, self._feed, self._progress)
        first = proposals.along_front(_FIRST)
        self._progress(f"building {len(first)} mixes of precisions")
        mixes = [self._mix(base, proposal) for proposal in first]
        within = [mix.point.divergence <= budget for mix in mixes]
        edge = next((i for i in range(1, len(mixes)) if within[i] and not within[i - 1]), None)
        if edge is not None:
            finer = proposals.between(first[edge - 1], first[edge], _FINER)
            mixes += [self._mix(base, proposal) for proposal in finer]
        return mixes

    def _result(self, mixes: Sequence[_Mix], chosen: Point, reason: str) -> Precision:
        points = tuple(mix.point for mix in mixes)
        fp32 = next(point for point in points if point.kind == "fp32")
        integer = [mix for mix in mixes if mix.point.kind == "int8"]
        int8 = min(integer, key=lambda mix: mix.point.divergence)
        return Precision(
            front=pareto(points),
            tried=points,
            chosen=chosen,
            reason=reason,
            groups=len(self._groups),
            int8=int8.model,
            head=next(mix.model for mix in mixes if mix.point == chosen),
            fp32_ms=fp32.ms,
            int8_ms=int8.point.ms,
        )

    def _unsplit(self) -> _Mix:
        return self._judged("fp32", "fp32", self._network.model, self._nodes)

    def _plain(self, base: Base) -> _Mix:
        kind: Kind = "int8" if base.is_whole else "mixed"
        return self._judged(base.name, kind, base.mix(), frozenset())

    def _mix(self, base: Base, proposal: Proposal) -> _Mix:
        model = base.mix(proposal.fp32)
        kept = sum(bool(group.nodes & base.int8_nodes & proposal.fp32) for group in self._groups)
        name = f"fp32 for {kept} groups, {base.name}"
        return self._judged(name, "mixed", model, proposal.fp32)

    def _judged(self, name: str, kind: Kind, model: onnx.ModelProto, fp32: frozenset[int]) -> _Mix:
        close = self._judge.closeness(model)
        groups = tuple(group.name for group in self._groups if group.nodes <= fp32)
        point = Point(
            name=name,
            kind=kind,
            fp32_groups=groups,
            ms=0.0,
            divergence=close.divergence,
            agreement=close.agreement,
        )
        return _Mix(model, point)

    def _timed(self, mixes: Iterable[_Mix]) -> list[_Mix]:
        """With their times, measured in turns."""
        some = list(mixes)
        times = time_models({str(i): mix.model for i, mix in enumerate(some)}, self._feed)
        return [_Mix(mix.model, replace(mix.point, ms=times[str(i)])) for i, mix in enumerate(some)]
