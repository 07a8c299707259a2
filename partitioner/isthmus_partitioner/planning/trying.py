"""Builds the proposed cuts and measures them: chains, tails, every rung on the real path.

Chains of both precisions are timed. A head in int8 stays only where it was measured faster than the
same head in fp32 and answers well enough at some rung; where not, its cut is tried in fp32.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from types import MappingProxyType
from typing import Literal, cast

import msgspec

from isthmus import Candidate, Chain, answer_bytes, left_to_answer
from isthmus_partitioner.config import PlanConfig, Progress
from isthmus_partitioner.cuts.cut import NetworkCut, nested_families
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.boundary import ChainCut, HeadGraph
from isthmus_partitioner.parts.build import INPUT_TAIL, LOCAL, Builder, BuiltCut
from isthmus_partitioner.parts.chains import ChainPlan
from isthmus_partitioner.parts.memory import chain_memory
from isthmus_partitioner.parts.timing import ChainTimer, open_tails, time_tails
from isthmus_partitioner.planning.measure import Evaluation, Surroundings, as_candidate
from isthmus_partitioner.planning.node_costs import NodeCosts, cost_key
from isthmus_partitioner.precision.front import WORTH_IT

__all__ = ["HeadTimes", "Tried", "TriedChain", "try_out"]

Precision = Literal["fp32", "int8"]
Families = Sequence[tuple[NetworkCut, ...]]

LEAST_PENALTY_MS = 0.2
_PENALTY_ROUNDS = 9
MOST_PENALTY = 0.15  # of a head's time: what sharing one network in memory may cost


class HeadTimes(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a cut in both precisions, in ms on the plan's device; None: not built."""

    tensors: tuple[str, ...]
    int8_ms: float | None
    fp32_ms: float | None


@dataclass(frozen=True, slots=True, eq=False)
class TriedChain:
    """A chain with the times and the memory of its first i segments.

    Both hold for the plan's device: measured here, and carried over by the ratio of two profiles.
    """

    plan: ChainPlan
    chain: Chain
    prefix_ms: tuple[float, ...]
    memory_bytes: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Tried:
    """All that was built and measured.

    `candidates` are not yet chosen from; `wholes` are the chains run to their end on the device, by
    chain, of which one becomes `local`. `input_tail_ms` is the whole network in the cloud;
    `layout` says how heads share the device's memory, and why.
    """

    chains: dict[str, TriedChain] = field(default_factory=dict)
    cuts: dict[str, BuiltCut] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    wholes: dict[str, Candidate] = field(default_factory=dict)
    head_times: list[HeadTimes] = field(default_factory=list)
    input_tail_ms: float = 0.0
    layout: str = "one cut at most: nothing to share"


def try_out(  # noqa: PLR0913, PLR0917  what is tried, with what, and how it is judged
    network: Network,
    cuts: Sequence[NetworkCut],
    heads: Mapping[str, HeadGraph],
    costs: NodeCosts,
    builder: Builder,
    evaluation: Evaluation,
    config: PlanConfig,
    progress: Progress,
    wholes: Mapping[str, HeadGraph] = MappingProxyType({}),
) -> Tried:
    """Try cuts with heads of the preferred precision (the first of `heads`), then the other.

    `wholes` are int8 networks that are tried only undivided, to stay on the device, by chain.
    """
    judge = _Tries(network, costs, builder, evaluation, config, progress)
    families: Families = list(nested_families(cuts)) or [()]
    if any(len(family) > 1 for family in families):
        penalty = judge.chain_penalty(families, next(iter(heads.items())))
        families, judge.tried.layout = _laid_out(families, penalty)
    plans = list(_plans(families, heads))
    undivided = [ChainPlan(name, "int8", head, ()) for name, head in wholes.items()]
    judge.time([*(plan for family in plans for plan in family), *undivided])
    for family in (*plans, *((plan,) for plan in undivided)):
        judge.measure(family)
    return judge.tried


def _laid_out(families: Families, penalty: float) -> tuple[Families, str]:
    """Chains as they are, or a chain for each cut where dividing the network costs too much."""
    count = sum(map(len, families))
    figures = f"heads of a chain take {penalty:+.0%} of the time of undivided ones"
    if penalty <= MOST_PENALTY:
        return (
            families,
            f"cuts share chains: {figures}, and the device holds one network, not {count}",
        )
    return [(cut,) for family in families for cut in family], (
        f"each cut has a head of its own: {figures}, which is more than {MOST_PENALTY:.0%}"
    )


def _plans(families: Families, heads: Mapping[str, HeadGraph]) -> Iterator[tuple[ChainPlan, ...]]:
    """For each family of nested cuts, its chain in every precision, the preferred first."""
    for number, family in enumerate(families, start=1):
        plans = []
        for index, (precision, head) in enumerate(heads.items()):
            placed = (head.at(cut) for cut in family)
            plans.append(
                ChainPlan(
                    id=precision if number == 1 else f"{precision}.{number}",
                    precision=cast(Precision, precision),
                    head=head,
                    cuts=tuple(at for at in placed if at is not None),
                    is_second=index > 0,
                )
            )
        yield tuple(plans)


class _Tries:
    def __init__(
        self,
        network: Network,
        costs: NodeCosts,
        builder: Builder,
        evaluation: Evaluation,
        config: PlanConfig,
        progress: Progress,
    ) -> None:
        self._network, self._costs, self._builder = network, costs, builder
        self._evaluation, self._config, self._progress = evaluation, config, progress
        self.tried = Tried()

    def chain_penalty(self, families: Families, preferred: tuple[str, HeadGraph]) -> float:
        """How much longer heads take as parts of a chain than undivided; the median over cuts.

        Less than `LEAST_PENALTY_MS` is 0: starting a segment takes some microseconds.
        """
        precision, head = preferred
        timer = ChainTimer(self._evaluation.first)
        pairs: list[tuple[str, int, str]] = []
        for number, family in enumerate(families):
            cuts = tuple(at for at in map(head.at, family) if at is not None)
            whole = ChainPlan(f"shared.{number}", cast(Precision, precision), head, cuts)
            lone = [
                ChainPlan(f"lone.{number}.{depth}", whole.precision, head, (at,))
                for depth, at in enumerate(cuts, start=1)
            ]
            for plan in (whole, *lone):
                timer.add(self._builder.chain(plan), self._builder.folder)
            pairs += [(whole.id, depth, plan.id) for depth, plan in enumerate(lone, start=1)]
        here = timer.prefixes_ms(_PENALTY_ROUNDS)
        self._builder.remove_chains(here)
        both = [(here[shared][depth], here[alone][1]) for shared, depth, alone in pairs]
        if not both or median(part - whole for part, whole in both) < LEAST_PENALTY_MS:
            return 0.0
        return median(part / whole for part, whole in both) - 1

    def time(self, plans: Iterable[ChainPlan]) -> None:
        """Build all chains, and time them against each other."""
        timer = ChainTimer(self._evaluation.first)
        built = [(plan, self._builder.chain(plan)) for plan in plans]
        for _, chain in built:
            timer.add(chain, self._builder.folder)
        self._progress(f"timing {len(built)} chains")
        here = timer.prefixes_ms()
        for plan, chain in built:
            prefix_ms = tuple(
                taken * self._factor(plan, depth) for depth, taken in enumerate(here[plan.id])
            )
            memory_bytes = self._memory_bytes(chain)
            self.tried.chains[plan.id] = TriedChain(plan, chain, prefix_ms, memory_bytes)

    def _memory_bytes(self, chain: Chain) -> tuple[int, ...]:
        """Of the first i segments: measured here, by the ratio of the whole network's memory."""
        folder, feed = self._builder.folder, self._evaluation.first
        here = chain_memory(chain, folder, feed, self._progress)
        factor = self._costs.memory_factor(cost_key(chain.id, chain.precision))
        return tuple(round(taken * factor) for taken in here)

    def _factor(self, plan: ChainPlan, depth: int) -> float:
        head = plan.cuts[depth - 1].cut.head if 0 < depth <= len(plan.cuts) else None
        return self._costs.factor(cost_key(plan.id, plan.precision), head)

    def measure(self, family: Sequence[ChainPlan]) -> None:
        """The preferred chain, then in the other those cuts for which it is no good."""
        first, *others = family
        depths = range(1, len(first.cuts) + 1)
        if not others or self._config.integer_only:
            self._measure(first, depths)
            return
        (other,) = others
        self._note_head_times(first, other)
        self._measure(
            first, [d for d in depths if self._is_faster(first.cuts[d - 1], first, other)]
        )
        good = {cut.at.cut.head for cut in self._good_cuts(first)}
        self._measure(other, [d for d, at in enumerate(other.cuts, 1) if at.cut.head not in good])

    def _measure(self, plan: ChainPlan, depths: Sequence[int]) -> None:
        tried = self.tried.chains[plan.id]
        cuts = list(self._builder.fit(plan, tried.chain, depths)) if depths else []
        tails = open_tails(cuts, self._builder.folder)
        tail_ms = time_tails(self._network, cuts, tails, self._evaluation.first)
        self.tried.input_tail_ms = self.tried.input_tail_ms or tail_ms[INPUT_TAIL]
        built = {cut.id: cut for cut in cuts}
        folder, floor = self._builder.folder, self._config.agreement_floor
        trials = self._evaluation.chain(plan, tried.chain, cuts, tails, folder, floor)
        for trial in trials:
            if trial.cut == LOCAL:
                depth = len(tried.chain.segments)
                around = self._around(tried, depth)
                self.tried.wholes[plan.id] = as_candidate(trial, around, floor)
            else:
                cut = built[trial.cut]
                around = self._around(tried, cut.depth, tail_ms[cut.tail], self._returned(cut))
                self.tried.candidates.append(as_candidate(trial, around, floor))
        self.tried.cuts |= built

    def _around(
        self, tried: TriedChain, depth: int, tail_ms: float = 0.0, returned: int = 0
    ) -> Surroundings:
        return Surroundings(
            edge_ms=tried.prefix_ms[depth],
            memory_bytes=tried.memory_bytes[depth],
            factor=self._costs.pace(cost_key(tried.plan.id, tried.plan.precision)),
            tail_ms=tail_ms,
            answer_bytes=returned,
        )

    def _returned(self, cut: BuiltCut) -> int:
        asked = left_to_answer(self._network.outputs, cut.at.cut.answers)
        return answer_bytes(asked, self._config.goals.answer_top_k)

    def _is_faster(self, at: ChainCut, first: ChainPlan, other: ChainPlan) -> bool:
        """Whether the preferred head of a cut gains time, or is the other one anyway."""
        if not first.head.has_integers(at):
            return True
        one, two = self._head_ms(at.cut, first), self._head_ms(at.cut, other)
        return one is not None and (two is None or one < WORTH_IT * two)

    def _good_cuts(self, plan: ChainPlan) -> Iterator[BuiltCut]:
        """Cuts of a chain that answer well enough at some rung."""
        floor = self._config.agreement_floor
        candidates = {candidate.cut: candidate for candidate in self.tried.candidates}
        for cut in self.tried.cuts.values():
            if cut.chain == plan.id and candidates[cut.id].rung_for(floor) is not None:
                yield cut

    def _head_ms(self, cut: NetworkCut, plan: ChainPlan) -> float | None:
        prefixes = self.tried.chains[plan.id].prefix_ms
        found = [d for d, at in enumerate(plan.cuts, start=1) if at.cut.head == cut.head]
        return prefixes[found[0]] if found else None

    def _note_head_times(self, first: ChainPlan, other: ChainPlan) -> None:
        for at in other.cuts:
            times = {plan.precision: self._head_ms(at.cut, plan) for plan in (first, other)}
            self.tried.head_times.append(
                HeadTimes(
                    tensors=tuple(spec.name for spec in at.cut.tensors),
                    int8_ms=times.get("int8"),
                    fp32_ms=times.get("fp32"),
                )
            )
