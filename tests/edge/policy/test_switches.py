"""The policy does not flap: the bound of docs/policy.md, held by random plans on random links."""

from itertools import pairwise
from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import candidates
from tests.edge.policy.situations import (
    FLOOR,
    SYMBOLS,
    Plan,
    State,
    at_break_even,
    course,
    goals,
    moved,
    plans,
    some_steps,
    states,
    walks,
)

from isthmus_edge.policy.choice import GAMMA, Decision
from isthmus_edge.policy.cost import Goal, appraise

LATENCY = Goal("latency", FLOOR)
CALM = State(
    ln_mbps=0.0,
    spread=0.2,
    rtt_ms=20.0,
    rtt_spread_ms=2.0,
    queue_ms=0.0,
    ln_device=0.0,
    ln_cloud=0.0,
    ln_weight=0.0,
)
# One candidate better above a bandwidth, the other below it.
RIVALS = Plan(
    (
        candidates.candidate("local", candidates.rung(None, edge_ms=160.0), kept=True),
        candidates.candidate(
            "input",
            candidates.rung(SYMBOLS, edge_ms=10.0, payload_bytes=22_000, cloud_ms=15.0),
            kept=True,
        ),
    ),
    {"local": 0.0, "input": 150.0},
)


def switches(decisions: list[Decision]) -> int:
    """The first decision counts as one."""
    return 1 + sum(a.candidate.id != b.candidate.id for a, b in pairwise(decisions))


def travelled(path: list[State], plan: Plan) -> float:
    return sum(moved(a, b, _least_ms(plan, a, b)) for a, b in pairwise(path))


def _least_ms(plan: Plan, a: State, b: State) -> float:
    """The least time of any candidate, on the fastest device and cloud of the way between two."""
    fastest = min(a.ln_device, a.ln_cloud, b.ln_device, b.ln_cloud)
    return plan.least_ms * exp(fastest)


@settings(deadline=None, max_examples=25)
@given(plan=plans(), goal=goals(), a=states(), b=states())
def test_costs_move_no_faster_against_each_other_than_the_inputs(
    plan: Plan, goal: Goal, a: State, b: State
) -> None:
    """The lemma behind the bound, for every pair of candidates."""
    before = appraise(plan.pool, a.seen(plan), goal)
    after = appraise(plan.pool, b.seen(plan), goal)
    change = {name: log(after[name].cost / before[name].cost) for name in before}
    limit = goal.steepness * moved(a, b, _least_ms(plan, a, b))
    assert max(change.values()) - min(change.values()) <= limit + 1e-9


@settings(deadline=None, max_examples=25)
@given(plan=plans(), goal=goals(), start=states(), steps=some_steps())
def test_switches_are_bounded_by_what_the_inputs_did(
    plan: Plan, goal: Goal, start: State, steps: list[tuple[str, float]]
) -> None:
    path = list(walks(start, steps))
    bound = 1 + goal.steepness * travelled(path, plan) / GAMMA
    assert switches(course(plan, path, goal)) <= bound


@settings(deadline=None, max_examples=25)
@given(
    plan=plans(6),
    goal=goals(),
    start=states(),
    steps=some_steps(),
    lost=st.lists(st.integers(1, 50), max_size=5),
)
def test_an_outage_costs_two_switches_at_most_and_is_answered_at_once(
    plan: Plan, goal: Goal, start: State, steps: list[tuple[str, float]], lost: list[int]
) -> None:
    path = list(walks(start, steps))
    cut: list[State | None] = list(path)
    for at in lost:
        if at < len(path):
            cut[at] = None
    decisions = course(plan, cut, goal)
    assert all(d.candidate.is_local for d, s in zip(decisions, cut, strict=True) if s is None)
    bound = 1 + 2 * cut.count(None) + goal.steepness * travelled(path, plan) / GAMMA
    assert switches(decisions) <= bound


@settings(deadline=None, max_examples=20)
@given(plan=plans(), goal=goals(), state=states())
def test_a_constant_situation_causes_no_switch_after_the_first(
    plan: Plan, goal: Goal, state: State
) -> None:
    assert switches(course(plan, [state] * 6, goal)) == 1


@settings(deadline=None, max_examples=60)
@given(
    plan=plans(6),
    goal=goals(),
    state=states(),
    noise=st.lists(st.floats(-1, 1), min_size=2, max_size=20),
)
def test_noise_below_half_a_gain_causes_no_switch(
    plan: Plan, goal: Goal, state: State, noise: list[float]
) -> None:
    """Where it would do so most easily: on a bandwidth at which two candidates cost the same."""
    middle = at_break_even(plan, goal, state)
    reach = 0.499 * GAMMA / goal.steepness
    path = [middle.but(ln_mbps=middle.ln_mbps + reach * each) for each in noise]
    assert switches(course(plan, path, goal)) == 1


@settings(deadline=None, max_examples=25)
@given(
    plan=plans(6),
    goal=goals(),
    state=states(),
    reach=st.floats(0.01, 0.5),
    noise=st.lists(st.floats(-1, 1), min_size=2, max_size=20),
)
def test_the_bound_holds_on_a_link_that_swings_about_a_break_even(
    plan: Plan, goal: Goal, state: State, reach: float, noise: list[float]
) -> None:
    middle = at_break_even(plan, goal, state)
    path = [middle.but(ln_mbps=middle.ln_mbps + reach * each) for each in noise]
    bound = 1 + goal.steepness * travelled(path, plan) / GAMMA
    assert switches(course(plan, path, goal)) <= bound


@pytest.mark.parametrize(("swing", "expected"), [(0.02, 1), (0.5, 100)])
def test_a_link_that_swings_about_the_break_even_switches_only_if_it_pays(
    swing: float, expected: int
) -> None:
    """Noise never; a link that really changes each time, each time."""
    middle = at_break_even(RIVALS, LATENCY, CALM).ln_mbps
    path = [CALM.but(ln_mbps=middle + swing * (-1) ** n) for n in range(100)]
    assert switches(course(RIVALS, path, LATENCY)) == expected


def test_after_an_outage_the_policy_comes_back_without_dithering() -> None:
    fast = CALM.but(ln_mbps=log(20))
    path: list[State | None] = [fast, fast, None, None, *[fast] * 10]
    chosen = [d.candidate.id for d in course(RIVALS, path, LATENCY)]
    assert chosen == ["input"] * 2 + ["local"] * 2 + ["input"] * 10
