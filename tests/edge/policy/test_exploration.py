"""Who sends nothing learns nothing: the policy asks for a probe while it may be missing out."""

from dataclasses import replace
from math import exp, inf

from hypothesis import given, settings
from hypothesis import strategies as st
from tests import candidates
from tests.edge.policy.situations import (
    FLOOR,
    SYMBOLS,
    Plan,
    State,
    at_break_even,
    goals,
    plans,
    states,
)

from isthmus_edge.link import LinkEstimate
from isthmus_edge.policy.choice import Situation, decide
from isthmus_edge.policy.cost import Goal

LONGEST_S = 600  # from 1 kbit/s, with or without a deadline
PLAN = Plan(
    (
        candidates.candidate("local", candidates.rung(None, edge_ms=160.0), kept=True),
        candidates.candidate(
            "input",
            candidates.rung(SYMBOLS, edge_ms=10.0, payload_bytes=22_000, cloud_ms=15.0),
            kept=True,
        ),
    ),
    {},
)
GOAL = Goal("latency", FLOOR)


def aged(situation: Situation, age_s: float, **link: float) -> Situation:
    """The same, with a link of which nothing was learned for `age_s`."""
    assert situation.link is not None
    return replace(situation, link=replace(situation.link, age_s=age_s, **link), in_use="local")


def first_probe_s(plan: Plan, goal: Goal, situation: Situation) -> float:
    """After how many seconds of silence the policy asks for a probe; each twice as many."""
    for age_s in (2.0**n for n in range(13)):
        decision = decide(plan.pool, aged(situation, age_s), goal)
        assert decision.candidate.is_local  # nothing was learned, and age alone never switches
        if decision.explore:
            return age_s
    return inf


@settings(deadline=None, max_examples=50)
@given(plan=plans(6), goal=goals(), state=states(), better=st.floats(0.0, 3.0))
def test_a_link_that_recovered_while_nothing_was_sent_is_found_and_used(
    plan: Plan, goal: Goal, state: State, better: float
) -> None:
    """It was useless, and is now so much better than where the choice changes."""
    middle = at_break_even(plan, goal, state)
    truth = aged(middle.but(ln_mbps=middle.ln_mbps + better).seen(plan), 0.0)
    worth_it = decide(plan.pool, truth, goal)
    useless = aged(truth, 0.0, bandwidth_bps=1_000.0)
    if worth_it.candidate.is_local or not decide(plan.pool, useless, goal).candidate.is_local:
        return
    assert first_probe_s(plan, goal, useless) <= LONGEST_S
    # The probe tells the truth.
    assert decide(plan.pool, truth, goal).candidate == worth_it.candidate


def link(mbps: float, spread: float = 0.0, age_s: float = 0.0) -> LinkEstimate:
    return LinkEstimate(mbps * 1e6, rtt_ms=20.0, bandwidth_spread=spread, age_s=age_s)


def explores(belief: LinkEstimate | None, in_use: str = "local") -> bool:
    return decide(PLAN.pool, Situation(link=belief, in_use=in_use), GOAL).explore


@given(mbps=st.floats(0.01, 100))
def test_a_link_that_is_known_for_certain_needs_no_probe(mbps: float) -> None:
    assert not explores(link(mbps))


def test_a_link_just_measured_as_bad_needs_no_probe_until_it_may_have_changed() -> None:
    """Break-even lies at 1.6 Mbit/s; the farther below, the later the next probe."""
    assert not explores(link(0.2, spread=0.2))
    first = [
        first_probe_s(PLAN, GOAL, Situation(link=link(mbps, spread=0.1)))
        for mbps in (1.0, 0.2, 0.02)
    ]
    assert first == sorted(set(first))
    assert first[-1] < 60


def test_who_sends_learns_anyway() -> None:
    decision = decide(PLAN.pool, Situation(link=link(20, spread=1.0, age_s=60.0)), GOAL)
    assert decision.candidate.id == "input"
    assert not decision.explore


def test_a_link_that_is_down_is_not_probed() -> None:
    assert not explores(None)


def test_a_probe_that_could_not_change_anything_is_not_asked_for() -> None:
    """In the cloud alone it takes longer than here."""
    slow = Situation(link=link(0.1, spread=1.0, age_s=1e6), cloud_scale=exp(3.0))
    assert not decide(PLAN.pool, slow, GOAL).explore
