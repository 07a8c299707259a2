"""Constraints refuse in words, and an infeasible request is told the nearest feasible one."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import candidates

from isthmus import Candidate, ConfigError, Encoding, Picture, Rung, Symbols
from isthmus_partitioner.planning.constraints import (
    Goals,
    InfeasibleError,
    breaches_of,
    deadline_span,
    infeasible,
)
from isthmus_partitioner.planning.envelope import Offer, Span

FINE = Symbols(levels=256, step=0.25, zero_point=0)
JPEG = Picture(format="jpeg", quality=95)


def rung(
    encoding: Encoding | None = FINE,
    *,
    interval: tuple[float, float] | None = None,
    memory_bytes: int = 0,
    **figures: Any,
) -> Rung:
    made = candidates.rung(encoding, **figures)
    low, high = interval or (made.figures.agreement, made.figures.agreement)
    changed = msgspec.structs.replace(
        made.figures, agreement_low=low, agreement_high=high, memory_bytes=memory_bytes
    )
    return msgspec.structs.replace(made, figures=changed)


def cut(name: str = "cut", **figures: Any) -> Candidate:
    return candidates.candidate(name, rung(**figures))


def words(candidate: Candidate, share: float, goals: Goals) -> list[str]:
    return [breach.words for breach in breaches_of(candidate, share, goals)]


def refusal(known: Sequence[tuple[Candidate, float]], goals: Goals) -> InfeasibleError:
    breaches = {c.id: breaches_of(c, share, goals) for c, share in known}
    assert all(breaches.values())
    return infeasible([c for c, _ in known], breaches, goals)


@pytest.mark.parametrize(
    ("wrong", "allowed"),
    [
        ({"objective": "speed"}, "latency, throughput, edge-energy, cloud-cost"),
        ({"min_agreement": 1.1}, "0-1"),
        ({"min_agreement": float("nan")}, "0-1"),
        ({"deadline_ms": 0.0}, "above 0"),
        ({"deadline_ms": float("inf")}, "above 0"),
        ({"max_edge_memory_bytes": -1}, "above 0"),
        ({"privacy_depth": -0.1}, "0-1"),
        ({"candidates": 0}, "1 or more"),
        ({"bandwidth_bps": (5e6, 5e6)}, "a lower and a higher one"),
        ({"bandwidth_bps": (1.0, 5e6)}, "between 10000 and 1e"),
        ({"rtt_ms": -1.0}, "0 or more"),
    ],
)
def test_goals_that_make_no_sense_are_refused_by_name(wrong: dict[str, Any], allowed: str) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is .*; allowed: .*{allowed}"):
        Goals(**wrong)


def test_without_constraints_everything_is_feasible() -> None:
    assert breaches_of(cut(edge_ms=1e6, agreement=0.0), 0.0, Goals(min_agreement=0.0)) == ()


def test_what_is_below_the_floor_tells_its_interval() -> None:
    known = cut(agreement=0.9, interval=(0.8, 0.94))
    assert words(known, 1.0, Goals()) == ["below the agreement floor 0.95: 0.900 [0.800, 0.940]"]


def test_where_the_interval_reaches_the_floor_more_inputs_would_decide() -> None:
    known = cut(agreement=0.9, interval=(0.8, 0.96))
    assert words(known, 1.0, Goals())[0].endswith("more evaluation inputs would decide")


def test_a_head_that_takes_too_much_memory_is_refused() -> None:
    goals = Goals(max_edge_memory_bytes=40_000_000)
    assert words(cut(memory_bytes=40_000_000), 1.0, goals) == []
    assert words(cut(memory_bytes=41_000_000), 1.0, goals) == [
        "its head takes 41.0 MB on the device, 40 allowed"
    ]


def test_a_head_of_unknown_memory_does_not_pass_for_a_small_one() -> None:
    goals = Goals(max_edge_memory_bytes=40_000_000)
    assert "was not measured" in words(cut(), 1.0, goals)[0]
    whole = candidates.candidate("input-jpeg", rung(JPEG), precision="none")
    assert words(whole, 0.0, goals) == []  # there is no head


def test_a_shallow_cut_is_refused_by_privacy_but_what_sends_nothing_is_not() -> None:
    goals = Goals(privacy_depth=0.3)
    assert words(cut(), 0.3, goals) == []
    assert words(cut(), 0.12, goals) == [
        "only 12.0% of the multiply-accumulates lie before it, the privacy depth is 30.0%"
    ]
    assert words(candidates.candidate("local", rung(None)), 0.0, goals) == []


def test_a_cut_before_all_work_counts_as_raw_input() -> None:
    goals = Goals(no_raw_input=True)
    assert words(cut(), 0.0, goals) == ["it sends the raw input"]
    assert words(cut(), 0.001, goals) == []


def test_a_deadline_is_met_from_some_bandwidth_on() -> None:
    goals = Goals(deadline_ms=100.0, rtt_ms=10.0)
    # 100 - 10 - 40 - 10 leaves 40 ms for 80,000 bits
    assert deadline_span(Offer("x", 40, 10_000, 10), goals) == Span(2e6, 1e9)
    assert deadline_span(Offer("local", 100, 0, 0), goals) == goals.range
    assert deadline_span(Offer("local", 101, 0, 0), goals) is None
    assert deadline_span(Offer("x", 90, 10_000, 0), goals) is None


def test_a_deadline_that_is_met_only_beyond_the_range_is_not_met() -> None:
    goals = Goals(deadline_ms=100.0, rtt_ms=10.0, bandwidth_bps=(1e5, 1.9e6))
    known = cut(edge_ms=40, payload_bytes=10_000, cloud_ms=10)
    assert words(known, 1.0, goals) == ["102 ms even at 1.9 Mbit/s, the deadline is 100 ms"]


def test_the_binding_constraint_and_the_nearest_plan_are_told() -> None:
    good = cut("b07", agreement=0.9834, interval=(0.95, 0.99), edge_ms=41)
    poor = cut("b03", agreement=0.9)
    told = refusal([(poor, 0.2), (good, 0.4)], Goals(min_agreement=0.995, privacy_depth=0.1))
    assert str(told) == (
        "no candidate meets --min-agreement 0.995 under --privacy-depth 0.1: the nearest is b07 "
        "(below the agreement floor 0.995: 0.983 [0.950, 0.990]); nearest feasible plan: "
        "--min-agreement 0.983 (b07, 41 ms at 3.2 Mbit/s)"
    )
    assert told.candidate == "b07"
    assert told.nearest == Goals(min_agreement=0.983, privacy_depth=0.1)


def test_one_constraint_to_relax_is_nearer_than_two() -> None:
    """A deadline ten times as long is one; a floor and a memory that hardly bind are two."""
    slow = cut("slow", edge_ms=100, memory_bytes=1)
    two = cut("two", edge_ms=1, agreement=0.949, memory_bytes=101_000_000)
    goals = Goals(deadline_ms=10.0, max_edge_memory_bytes=100_000_000)
    assert refusal([(two, 1.0), (slow, 1.0)], goals).candidate == "slow"


def test_constraints_that_bind_together_are_told_together() -> None:
    only = cut("b01", agreement=0.5, memory_bytes=50_040_000, edge_ms=5)
    told = refusal([(only, 0.0)], Goals(no_raw_input=True, max_edge_memory_bytes=40_000_000))
    assert "meets --min-agreement 0.95 and --no-raw-input and --max-edge-memory 40:" in str(told)
    assert "plan: --min-agreement 0.5 no --no-raw-input --max-edge-memory 50.1 (" in str(told)


def test_what_was_not_measured_is_relaxed_last() -> None:
    goals = Goals(max_edge_memory_bytes=100)
    unknown, known = cut("unknown"), cut("known", memory_bytes=10**9)
    assert refusal([(unknown, 1.0), (known, 1.0)], goals).candidate == "known"
    assert "plan: no --max-edge-memory (" in str(refusal([(unknown, 1.0)], goals))


shares = st.floats(0, 1)
ladders = st.lists(
    st.builds(
        rung,
        edge_ms=st.floats(0, 500),
        payload_bytes=st.integers(1, 200_000),
        cloud_ms=st.floats(0, 50),
        agreement=shares,
        memory_bytes=st.integers(0, 10**9),
    ),
    min_size=1,
    max_size=3,
)
goals_in_short = st.builds(
    Goals,
    min_agreement=shares,
    deadline_ms=st.none() | st.floats(0.01, 500),
    max_edge_memory_bytes=st.none() | st.integers(1, 10**9),
    privacy_depth=shares,
    no_raw_input=st.booleans(),
    bandwidth_bps=st.sampled_from([(1e4, 1e9), (1e6, 1.1e6)]),
    rtt_ms=st.sampled_from([0.0, 30.0]),
)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(ladders, st.just(0.0) | shares), min_size=1, max_size=5),
    goals=goals_in_short,
)
def test_relaxed_as_told_the_named_candidate_is_feasible(
    rows: list[tuple[list[Rung], float]], goals: Goals
) -> None:
    known = [
        (candidates.candidate(str(i), *ladder), share) for i, (ladder, share) in enumerate(rows)
    ]
    breaches = {c.id: breaches_of(c, share, goals) for c, share in known}
    told = infeasible([c for c, _ in known], breaches, goals)
    (nearest,) = (pair for pair in known if pair[0].id == told.candidate)
    assert breaches_of(*nearest, told.nearest) == ()
    if breaches[told.candidate]:
        assert told.nearest != goals


@settings(deadline=None)
@given(ladder=ladders, share=shares, goals=goals_in_short)
def test_each_breach_is_mended_by_what_it_says_and_by_nothing_less(
    ladder: list[Rung], share: float, goals: Goals
) -> None:
    """Leaving one out leaves the candidate refused."""
    known = candidates.candidate("x", *ladder)
    breaches = breaches_of(known, share, goals)
    for left_out in breaches:
        changes = {b.field: b.relaxed for b in breaches if b is not left_out}
        fields = {name: getattr(goals, name) for name in Goals.__dataclass_fields__}
        assert breaches_of(known, share, Goals(**{**fields, **changes}))
