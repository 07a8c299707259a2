"""A plan on record: candidates with their figures, what was left out, and why."""

import msgspec

from isthmus import Candidate, Manifest
from isthmus_partitioner.planning.envelope import Span
from isthmus_partitioner.planning.objectives import Objective
from isthmus_partitioner.planning.prices import Prices
from isthmus_partitioner.planning.propose import Forecast
from isthmus_partitioner.planning.race import Compared, Win
from isthmus_partitioner.planning.selection import Standing
from isthmus_partitioner.planning.trying import HeadTimes
from isthmus_partitioner.precision.front import Point
from isthmus_partitioner.profiles.runtime_choice import RuntimeNote
from isthmus_partitioner.wire.bottleneck import Verdict

__all__ = ["Gap", "GoalsRecord", "Plan", "PlanRecord", "TransformNote"]


class TransformNote(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a cut's tensors before they are quantised, and what a projection would do.

    `has_bias`: the tail adds back a part of the head's error.
    """

    cut: str
    transforms: tuple[str, ...]
    has_bias: bool
    bottleneck: Verdict | None


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A cut as it was predicted from node costs, and as it was measured; times in ms."""

    cut: str
    predicted_edge_ms: float
    measured_edge_ms: float
    predicted_tail_ms: float
    measured_tail_ms: float


class GoalsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The `Goals` that were in force; None, 0 and false constrain nothing.

    `objectives` are those that candidates were chosen by, `bandwidth` is the range of interest.
    """

    objectives: tuple[Objective, ...]
    min_agreement: float
    deadline_ms: float | None
    max_edge_memory_bytes: int | None
    privacy_depth: float
    no_raw_input: bool
    candidates: int | None
    bandwidth: Span
    rtt_ms: float
    answer_top_k: int

    @classmethod
    def of(cls, standing: Standing) -> "GoalsRecord":
        """What the candidates were judged by."""
        goals = standing.goals
        return cls(
            objectives=tuple(race.measure.objective for race in standing.races),
            min_agreement=goals.min_agreement,
            deadline_ms=goals.deadline_ms,
            max_edge_memory_bytes=goals.max_edge_memory_bytes,
            privacy_depth=goals.privacy_depth,
            no_raw_input=goals.no_raw_input,
            candidates=goals.candidates,
            bandwidth=goals.range,
            rtt_ms=goals.rtt_ms,
            answer_top_k=goals.answer_top_k,
        )


class PlanRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What was considered on the way to a plan.

    `wins` and `nearest` are in figures what the reasons say in words: for each objective, where
    which candidate is best, and where the others that meet the goals come nearest to that.
    `rejected` are measured candidates of cuts that the bundle does not have; `forecasts` every cut
    as predicted; `gaps` how far predictions were off where cuts were built; `front` the head
    precisions that were tried; `transforms` what became of each built cut's tensors before the
    wire; `runtimes` what the device runs its networks on, what must not run them, and why; `layout`
    says how heads share the device's memory; `why` explains the plan in sentences; `notes` what is
    to be known about model, inputs and device. `unbatched` says why the cloud runs frames one by
    one; it is empty where frames go through the tails together. `parts_ratio` is the time of a tail
    in parts over that of the same in one graph, the median over cuts.
    """

    goals: GoalsRecord
    prices: Prices
    wins: tuple[Win, ...]
    nearest: tuple[Compared, ...]
    rejected: tuple[Candidate, ...]
    forecasts: tuple[Forecast, ...]
    gaps: tuple[Gap, ...]
    front: tuple[Point, ...]
    head_times: tuple[HeadTimes, ...]
    transforms: tuple[TransformNote, ...]
    runtimes: tuple[RuntimeNote, ...]
    layout: str
    why: tuple[str, ...]
    notes: tuple[str, ...]
    precision: str
    precision_reason: str
    calibration_items: int
    evaluation_items: int
    evaluation_sources: int
    unbatched: str = ""
    parts_ratio: float = 1.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle is made of, and how that was decided."""

    manifest: Manifest
    record: PlanRecord

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All that were measured, in the bundle or not."""
        return self.manifest.candidates + self.record.rejected
