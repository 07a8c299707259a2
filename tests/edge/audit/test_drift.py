"""When agreement counts as sunk: by simulation, and in words."""

import numpy as np
import pytest

from isthmus_edge.audit.drift import LEAST, ODDS, SPAN, Drift
from isthmus_edge.audit.lulls import Lulls
from isthmus_edge.audit.verdicts import AuditCount, Verdicts

FLOOR = 0.95


def declared_after(agreement: float, frames: int, seed: int) -> int | None:
    drift, random = Drift(FLOOR), np.random.default_rng(seed)
    for number, agrees in enumerate(random.random(frames) < agreement, 1):
        if drift.add(agrees=bool(agrees)):
            return number
    return None


def test_a_false_alarm_is_as_rare_as_the_odds_say_even_right_at_the_floor() -> None:
    """Looked at after every frame of a whole span, 300 times: 3 are to be expected at most."""
    alarms = sum(declared_after(FLOOR, SPAN, seed) is not None for seed in range(300))
    assert alarms / 300 <= 2 / ODDS


def test_agreement_a_little_above_the_floor_raises_no_alarm() -> None:
    assert [declared_after(FLOOR + 0.01, SPAN, seed) for seed in range(60)] == [None] * 60


@pytest.mark.parametrize(("agreement", "within"), [(0.5, 20), (0.7, 60), (0.85, 260)])
def test_what_really_has_sunk_is_found(agreement: float, within: int) -> None:
    found = [declared_after(agreement, within, seed) for seed in range(20)]
    assert sum(number is not None for number in found) >= 18


def test_a_few_frames_prove_nothing() -> None:
    drift = Drift(FLOOR)
    assert [drift.add(agrees=False) for _ in range(LEAST)] == [False] * (LEAST - 1) + [True]


def test_a_drift_is_declared_once() -> None:
    drift = Drift(FLOOR)
    assert sum(drift.add(agrees=False) for _ in range(3 * LEAST)) == 1
    assert drift.is_declared


def test_a_long_good_time_does_not_hide_what_comes_after_it() -> None:
    drift = Drift(FLOOR)
    for _ in range(20 * SPAN):
        assert not drift.add(agrees=True)
    assert any(drift.add(agrees=False) for _ in range(LEAST))


@pytest.mark.parametrize("floor", [0.0, 1.0])
def test_floors_at_the_ends_are_possible(floor: float) -> None:
    """At 0 nothing is below; at 1 a single frame out of many is no proof."""
    drift = Drift(floor)
    assert not any(drift.add(agrees=number != 50) for number in range(100))
    assert any(drift.add(agrees=False) for _ in range(100)) == (floor > 0)


def test_each_rung_is_counted_for_itself() -> None:
    verdicts = Verdicts(FLOOR)
    lines = [verdicts.add("cut@1", agrees=False) for _ in range(LEAST)]
    assert not any(verdicts.add("cut@0", agrees=True) for _ in range(LEAST))
    assert lines[:-1] == [None] * (LEAST - 1)
    told = lines[-1]
    assert told is not None
    assert [word for word in ("cut@1", f"0 of {LEAST}", "0.95") if word not in told] == []
    stats = verdicts.stats()
    assert (stats.checked, stats.agreed) == (2 * LEAST, LEAST)
    assert stats.by_rung == {
        "cut@1": AuditCount(LEAST, 0, has_drifted=True),
        "cut@0": AuditCount(LEAST, LEAST, has_drifted=False),
    }


def lulls_of(lengths: list[float]) -> tuple[Lulls, float]:
    """After lulls of these lengths in s, with frames of 1 s between them; and the time by then."""
    lulls, now = Lulls(), 100.0
    for length in lengths:
        lulls.begin(now)
        lulls.end(now + length)
        now += length + 1.0
    return lulls, now


def test_the_shortest_lull_says_what_fits() -> None:
    lulls, now = lulls_of([0.3, 0.2, 0.4])
    assert not lulls.fits(0.1, now)  # a frame is under way
    lulls.begin(now)
    assert lulls.fits(0.2, now)
    assert not lulls.fits(0.21, now)
    assert not lulls.fits(0.15, now + 0.1)  # half of it has passed


def test_before_lulls_are_known_only_a_pause_will_do() -> None:
    lulls, now = lulls_of([0.3])
    lulls.begin(now)
    assert not lulls.fits(0.001, now)
    assert lulls.fits(10.0, lulls.pause_at)


def test_a_pause_is_longer_than_all_that_was_usual() -> None:
    lulls, now = lulls_of([0.3, 2.0, 0.4])
    lulls.begin(now)
    assert lulls.pause_at == pytest.approx(now + 4.0)
    assert not lulls.fits(10.0, now + 3.9)
    assert lulls.fits(10.0, now + 4.1)
