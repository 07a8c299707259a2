"""What is believed, against links of known and changing bandwidth."""

import math
import random
from collections.abc import Iterable
from dataclasses import replace
from statistics import median

import pytest
from tests.edge.link.synthetic import Look, Play, Rates, Scene, constant, step, varying

SEEDS = range(6)
DEVIATIONS_80 = 1.2816  # of a Gaussian: the 80 % interval


def off(look: Look, rates: Rates) -> float:
    """Logarithm of believed over true, for the half second to come."""
    return math.log(look.believed.bandwidth_bps / rates.mean_bps(look.at))


def covered(looks: Iterable[Look], rates: Rates) -> list[bool]:
    return [abs(off(x, rates)) < DEVIATIONS_80 * x.believed.bandwidth_spread for x in looks]


def noisy(seed: int, scatter: float) -> Rates:
    """Every tenth of a second another bandwidth around the same one."""
    rnd = random.Random(seed)
    level = 10 ** rnd.uniform(-0.3, 1.5)
    return varying(0.1, [level * math.exp(rnd.gauss(0, scatter)) for _ in range(160)])


@pytest.mark.parametrize("mbps", [0.3, 2, 10])
def test_a_constant_link_is_found_within_a_tenth(mbps: float) -> None:
    rates = constant(mbps)
    errors = [abs(off(x, rates)) for x in Play(rates, Scene()).looks(8) if x.at > 3]
    assert median(errors) < 0.1


@pytest.mark.parametrize("frames_per_s", [5, 40])
def test_queueing_frames_tell_the_bandwidth_as_well_as_lonely_ones(frames_per_s: float) -> None:
    """At 40 a second of 13 KB the link of 2 Mbit/s is never free."""
    rates = constant(2)
    scene = Scene(frames_per_s=frames_per_s, window=30)
    looks = [x for x in Play(rates, scene).looks(8) if x.at > 3]
    assert median(abs(off(x, rates)) for x in looks) < 0.05
    assert median(x.believed.rtt_ms for x in looks) == pytest.approx(41, abs=3)


@pytest.mark.parametrize("scatter", [0.1, 0.4])
def test_the_interval_of_80_percent_holds_what_comes_on_noisy_links(scatter: float) -> None:
    hits: list[bool] = []
    for seed in SEEDS:
        rates = noisy(seed, scatter)
        looks = (x for x in Play(rates, Scene(seed=seed)).looks(12, 0.25) if x.at > 3)
        hits += covered(looks, rates)
    assert 0.6 < sum(hits) / len(hits) < 0.97


def test_a_link_that_scatters_more_is_believed_less() -> None:
    def spread(scatter: float) -> float:
        looks = (x for s in SEEDS for x in Play(noisy(s, scatter), Scene(seed=s)).looks(10, 0.5))
        return median(x.believed.bandwidth_spread for x in looks if x.at > 4)

    assert spread(0.0) < spread(0.3) < spread(0.8)


@pytest.mark.parametrize(("before", "after"), [(10, 1), (10, 4), (2, 20), (4, 10), (20, 2)])
def test_a_step_is_believed_within_half_a_second(before: float, after: float) -> None:
    late_s = []
    for seed in SEEDS:
        at = 5 + 0.037 * seed
        rates = step(before, after, at)
        looks = Play(rates, Scene(seed=seed)).looks(at + 2, 0.05)
        wrong = [x.at - at for x in looks if x.at > at and abs(off(x, rates)) > 0.3]
        late_s.append(max(wrong, default=0.0))
    assert median(late_s) <= 0.5


def test_a_ramp_is_followed() -> None:
    rates = varying(0.1, [20 * math.exp(-i / 40) for i in range(140)])  # to a tenth in 9 s
    errors = [abs(off(x, rates)) for x in Play(rates, Scene()).looks(12) if x.at > 2]
    assert median(errors) < 0.2


def test_a_random_walk_is_followed() -> None:
    for seed in range(3):
        rnd, level, walk = random.Random(seed), math.log(8), []
        for _ in range(160):
            level = min(max(level + rnd.gauss(0, 0.1), math.log(1)), math.log(30))
            walk.append(math.exp(level))
        rates = varying(0.1, walk)
        errors = [abs(off(x, rates)) for x in Play(rates, Scene(seed=seed)).looks(14) if x.at > 3]
        assert median(errors) < 0.25


def markov(seed: int) -> Rates:
    """Stays at one of four bandwidths for some seconds, as cells and radio modes do."""
    rnd, level, path = random.Random(seed), 8.0, []
    for _ in range(100):
        level = rnd.choice([1.0, 3.0, 8.0, 20.0]) if rnd.random() < 0.08 else level
        path.append(level * math.exp(rnd.gauss(0, 0.1)))
    return varying(0.2, path)


def test_levels_that_change_every_few_seconds_are_known_most_of_the_time() -> None:
    errors, hits = [], []
    for seed in SEEDS:
        rates = markov(seed)
        looks = [x for x in Play(rates, Scene(seed=seed)).looks(18, 0.2) if x.at > 2]
        errors += [abs(off(x, rates)) for x in looks]
        hits += covered(looks, rates)
    assert median(errors) < 0.1
    assert sum(errors) / len(errors) < 0.3
    assert 0.6 < sum(hits) / len(hits) < 0.97


def test_the_first_frames_find_any_link_although_much_was_possible() -> None:
    for mbps in (0.3, 3, 30):
        rates = constant(mbps)
        last = list(Play(rates, Scene()).looks(1.5))[-1]
        assert abs(off(last, rates)) < 0.3


@pytest.mark.parametrize("drift", [1e-4, -1e-4])
@pytest.mark.parametrize("frames_per_s", [5, 20])
def test_a_clock_that_is_wrong_by_100_ppm_spoils_nothing_in_minutes(
    drift: float, frames_per_s: float
) -> None:
    """20 frames a second fill the link of 1 Mbit/s: no heartbeat ever finds it idle."""
    rates = constant(1)
    play = Play(rates, Scene(service_fast=drift, frames_per_s=frames_per_s, window=4))
    play.run(60)
    errors = [abs(off(x, rates)) for x in play.looks(63)]
    assert median(errors) < 0.05


def test_jitter_of_a_link_is_seen_in_the_spread_of_its_round_trip() -> None:
    calm = list(Play(constant(10), Scene(jitter_s=0.0002)).looks(8))[-1].believed
    shaky = list(Play(constant(10), Scene(jitter_s=0.02)).looks(8))[-1].believed
    assert calm.rtt_spread_ms < shaky.rtt_spread_ms
    assert shaky.bandwidth_spread > calm.bandwidth_spread


def test_doubt_grows_with_silence_but_not_for_ever() -> None:
    play = Play(constant(10), replace(Scene(), silent_from=5.0))
    looks = {round(x.at): x.believed for x in play.looks(300, 1.0)}
    ages = [6, 10, 20, 40, 80]
    spreads = [looks[age].bandwidth_spread for age in ages]
    assert spreads == sorted(spreads)
    assert spreads[-1] > 5 * spreads[0]
    assert looks[80].age_s == pytest.approx(75, abs=1)
    assert looks[300].bandwidth_spread < 2.5
    assert looks[300].bandwidth_bps == pytest.approx(10e6, rel=0.1)
