"""What the reasons say in words stands in the record in figures, and the two are the same."""

import msgspec
import pytest
from tests.partitioner.planning.test_selection import (
    COARSE,
    CUT,
    JPEG,
    LOCAL,
    PRICES,
    RAW,
    Place,
    candidate,
)

from isthmus import Candidate
from isthmus_partitioner.planning.constraints import Goals
from isthmus_partitioner.planning.envelope import Span, amount, rate_words
from isthmus_partitioner.planning.objectives import Objective
from isthmus_partitioner.planning.prices import DEFAULT_PRICES, Prices
from isthmus_partitioner.planning.race import Compared, Win, span_words
from isthmus_partitioner.planning.records import GoalsRecord
from isthmus_partitioner.planning.selection import Standing, select

FLOOR = Goals(min_agreement=0.9)


def judged(*given: Candidate, goals: Goals = FLOOR, prices: Prices = DEFAULT_PRICES) -> Standing:
    places = {c.cut: Place(0.4) for c in given}
    return select(given, places, goals, prices)


def reason(standing: Standing, name: str) -> str:
    return next(c.reason for c in standing.candidates if c.id == name)


def win(standing: Standing, name: str, objective: Objective = "latency") -> Win:
    (found,) = (w for w in standing.wins if (w.candidate, w.objective) == (name, objective))
    return found


def nearest(standing: Standing, name: str, objective: Objective = "latency") -> Compared:
    (found,) = (p for p in standing.nearest if (p.candidate, p.objective) == (name, objective))
    return found


def test_a_win_has_its_ranges_and_its_gain_as_figures() -> None:
    """15 ms of 100 ahead of the runner-up at any bandwidth, as both send the same."""
    first = candidate("first", COARSE, 80, 1, cloud_ms=5)
    second = candidate("second", COARSE, 95, 1, cloud_ms=5)
    found = win(judged(LOCAL, first, second), "first")
    assert found.spans == (Span(*FLOOR.bandwidth_bps),)
    assert (found.rival, found.unit) == ("second", "ms")
    assert found.gain == pytest.approx(15, abs=0.1)
    assert found.gain_share == pytest.approx(0.15, abs=0.001)


def test_the_words_say_what_the_figures_say() -> None:
    standing = judged(LOCAL, RAW, JPEG, CUT)
    assert {w.objective for w in standing.wins} == {"latency", "throughput"}
    for found in standing.wins:
        assert found.gain is not None
        assert found.gain_share is not None
        where = " and ".join(span_words(span, FLOOR.range) for span in found.spans)
        by = f"by {amount(found.gain)} {found.unit} ({found.gain_share:.0%}) over {found.rival}"
        assert f"{where}, {by}" in reason(standing, found.candidate)


def test_what_is_never_best_has_figures_of_where_it_comes_nearest() -> None:
    """It is slower than the cut, and larger."""
    standing = judged(LOCAL, RAW, JPEG, CUT, candidate("worse", COARSE, 90, 4_500))
    found = nearest(standing, "worse")
    assert reason(standing, "worse") == (
        f"never best; nearest at {rate_words(found.bandwidth_bps)}: {amount(found.cost)} ms, "
        f"{found.rival} {amount(found.rival_cost)} ms"
    )
    assert found.rival == "cut"
    assert found.cost > found.rival_cost


def test_every_feasible_candidate_is_in_each_race_once() -> None:
    wrong = candidate("wrong", COARSE, 10, 10, agreement=0.89)
    standing = judged(LOCAL, RAW, JPEG, CUT, candidate("worse", COARSE, 90, 4_500), wrong)
    for objective in ("latency", "throughput"):
        shown = [w.candidate for w in standing.wins if w.objective == objective]
        shown += [p.candidate for p in standing.nearest if p.objective == objective]
        assert sorted(shown) == ["cut", "input-jpeg", "input-raw", "local", "worse"]


def test_where_nothing_else_is_in_time_there_is_no_rival() -> None:
    """At the very end of its range the cheaper one is in time, too; that is no comparison."""
    goals = Goals(objective="cloud-cost", min_agreement=0.9, deadline_ms=140)
    cheap = candidate("cheap", COARSE, 120, 4_000, cloud_ms=2)
    standing = judged(LOCAL, CUT, cheap, goals=goals, prices=PRICES)
    found = win(standing, "cut", "cloud-cost")
    assert (found.rival, found.gain, found.gain_share) == (None, None, None)
    assert ", where nothing else is feasible" in reason(standing, "cut")
    assert [point for point in standing.nearest if point.candidate == "local"] == []


def test_staying_on_the_device_may_win_without_a_gain() -> None:
    """A cut that is hardly faster than the device has to save more to be worth a link."""
    found = win(judged(LOCAL, candidate("late", COARSE, 147, 1, cloud_ms=1)), "local")
    assert found.gain == pytest.approx(-2, abs=0.1)
    assert found.rival == "late"


@pytest.mark.parametrize(
    ("objective", "raced"), [(None, ("latency", "throughput")), ("edge-energy", ("edge-energy",))]
)
def test_the_goals_on_record_name_what_was_raced(
    objective: Objective | None, raced: tuple[Objective, ...]
) -> None:
    goals = Goals(
        objective=objective,
        min_agreement=0.9,
        deadline_ms=1e5,
        max_edge_memory_bytes=None,
        candidates=3,
        bandwidth_bps=(1e5, 1e7),
        rtt_ms=40,
        answer_top_k=5,
    )
    record = GoalsRecord.of(judged(LOCAL, RAW, CUT, goals=goals))
    assert record == GoalsRecord(
        objectives=raced,
        min_agreement=0.9,
        deadline_ms=1e5,
        max_edge_memory_bytes=None,
        privacy_depth=0.0,
        no_raw_input=False,
        candidates=3,
        bandwidth=Span(1e5, 1e7),
        rtt_ms=40,
        answer_top_k=5,
    )
    assert msgspec.json.decode(msgspec.json.encode(record), type=GoalsRecord) == record
