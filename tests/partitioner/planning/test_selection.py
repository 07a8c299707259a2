"""Kept is what is good enough and best somewhere, and always what one has to compare with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec
import pytest
from tests import candidates

from isthmus import Candidate, Encoding, Picture, Raw, Symbols
from isthmus_partitioner.planning.constraints import Goals, InfeasibleError
from isthmus_partitioner.planning.objectives import Objective
from isthmus_partitioner.planning.prices import DEFAULT_PRICES, CloudPrices, DevicePower, Prices
from isthmus_partitioner.planning.selection import select


@dataclass(frozen=True)
class Place:
    """Stands for a cut."""

    macs_share: float


def candidate(
    name: str,
    encoding: Encoding | None,
    device_ms: float,
    payload_bytes: int,
    cloud_ms: float = 5.0,
    agreement: float = 1.0,
) -> Candidate:
    """One with a single rung."""
    precision: Literal["none", "int8"] = "none" if name.startswith("input") else "int8"
    only = candidates.rung(
        encoding,
        edge_ms=device_ms,
        payload_bytes=payload_bytes,
        cloud_ms=cloud_ms,
        agreement=agreement,
    )
    return candidates.candidate(name, only, precision=precision)


FINE = Symbols(levels=256, step=0.25, zero_point=0)
COARSE = Symbols(levels=16, step=1.0, zero_point=0)
Q95, Q1 = Picture(format="jpeg", quality=95), Picture(format="jpeg", quality=1)
LOCAL = candidate("local", None, 150, 0, cloud_ms=0)
RAW = candidate("input-raw", Raw(), 0, 150_000)
JPEG = candidate("input-jpeg", Q95, 20, 20_000)
CUT = candidate("cut", COARSE, 80, 4_000)


FLOOR = Goals(min_agreement=0.9)


def by_id(
    *given: Candidate,
    goals: Goals = FLOOR,
    prices: Prices = DEFAULT_PRICES,
    shares: Mapping[str, float] | None = None,
) -> dict[str, Candidate]:
    places = {c.cut: Place((shares or {}).get(c.cut, 0.4)) for c in given}
    return {c.id: c for c in select(given, places, goals, prices).candidates}


def kept(*given: Candidate, goals: Goals, prices: Prices = DEFAULT_PRICES) -> set[str]:
    return {name for name, c in by_id(*given, goals=goals, prices=prices).items() if c.kept}


def test_what_is_best_somewhere_is_kept_and_says_where() -> None:
    cut = by_id(LOCAL, RAW, JPEG, CUT)["cut"]
    assert cut.kept
    # Against JPEG: 60 ms more on the device, 128,000 bits less: 2.1 Mbit/s.
    # Against local less 5 %: 57.5 ms sooner with 32,000 bits: 0.56 Mbit/s.
    assert cut.reason.startswith("least latency from 0.56 Mbit/s to 2.1 Mbit/s, by ")
    assert "; most frames/s" in cut.reason


def test_what_is_never_best_is_left_out_and_says_who_is_better() -> None:
    worse = candidate("worse", COARSE, 90, 4_500)
    found = by_id(LOCAL, RAW, JPEG, CUT, worse)["worse"]
    assert not found.kept
    assert found.reason.startswith("never best; nearest at")
    assert "cut" in found.reason


def test_what_answers_too_differently_is_left_out_even_if_it_is_best() -> None:
    wrong = candidate("wrong", COARSE, 10, 10, agreement=0.89)
    found = by_id(LOCAL, RAW, JPEG, CUT, wrong)
    assert not found["wrong"].kept
    assert found["wrong"].reason == "below the agreement floor 0.9: 0.890 [0.890, 0.890]"
    assert found["cut"].kept  # it does not hide the others


def test_local_and_jpeg_are_always_kept() -> None:
    slow = candidate("local", None, 10_000, 0, cloud_ms=0)
    bad_jpeg = candidate("input-jpeg", Q1, 900, 90_000, agreement=0.1)
    found = by_id(slow, RAW, bad_jpeg, CUT)
    assert found["local"].kept
    assert found["input-jpeg"].kept
    assert "below the agreement floor 0.9: 0.100" in found["input-jpeg"].reason
    assert "comparison with sending a picture is honest" in found["input-jpeg"].reason


@pytest.mark.parametrize("picture_format", ["webp", "avif"])
def test_another_picture_format_has_to_be_best_somewhere(
    picture_format: Literal["webp", "avif"],
) -> None:
    worse = candidate("input-other", Picture(format=picture_format, quality=95), 60, 21_000)
    better = candidate("input-other", Picture(format=picture_format, quality=95), 25, 9_000)
    assert not by_id(LOCAL, RAW, JPEG, CUT, worse)["input-other"].kept
    assert by_id(LOCAL, RAW, JPEG, CUT, better)["input-other"].kept


def test_a_raw_picture_that_is_nowhere_best_is_left_out() -> None:
    quick_jpeg = candidate("input-jpeg", Q95, 0, 20_000)
    assert not by_id(LOCAL, RAW, quick_jpeg)["input-raw"].kept


def test_a_cut_that_hardly_saves_anything_does_not_beat_staying_on_the_device() -> None:
    late = candidate("late", COARSE, 147, 300, cloud_ms=1)
    assert not by_id(LOCAL, JPEG, late)["late"].kept


def laddered(*agreements: float, chosen: int) -> Candidate:
    """A cut of three rungs: 8,000 bytes, 4,000 bytes, 10 bytes."""
    sizes, encodings = (8_000, 4_000, 10), (FINE, FINE, COARSE)
    rungs = (
        candidates.rung(encoding, edge_ms=80, payload_bytes=size, cloud_ms=5.0, agreement=agreement)
        for encoding, size, agreement in zip(encodings, sizes, agreements, strict=True)
    )
    return candidates.candidate("cut", *rungs, chosen=chosen)


def test_a_ladder_is_judged_by_the_rung_it_begins_with() -> None:
    """The last rung would win nearly everywhere, but answers too differently."""
    found = by_id(LOCAL, RAW, JPEG, laddered(1.0, 0.95, 0.5, chosen=1))["cut"]
    assert found.reason == by_id(LOCAL, RAW, JPEG, CUT)["cut"].reason
    assert found.kept
    assert len(found.rungs) == 3


def test_a_ladder_whose_finest_rung_is_below_the_floor_is_left_out() -> None:
    """That a coarser one is above it is luck."""
    found = by_id(LOCAL, RAW, JPEG, laddered(0.89, 0.95, 0.95, chosen=0))["cut"]
    assert not found.kept
    assert found.reason == "below the agreement floor 0.9: 0.890 [0.890, 0.890]"


@pytest.mark.parametrize(("floor", "rung"), [(0.0, 2), (0.5, 1), (0.95, 0)])
def test_the_order_and_the_figures_stay_and_the_floor_says_where_to_begin(
    floor: float, rung: int
) -> None:
    given = (LOCAL, RAW, JPEG, laddered(1.0, 0.7, 0.3, chosen=1))
    chosen = select(
        given, {"cut": Place(0.4)}, Goals(min_agreement=floor), DEFAULT_PRICES
    ).candidates
    assert [c.id for c in chosen] == [c.id for c in given]
    assert [c.rungs for c in chosen] == [c.rungs for c in given]
    assert chosen[-1].chosen == rung


def test_a_lead_is_told_against_the_runner_up() -> None:
    """25 ms of 100 ahead at any bandwidth, as both send the same."""
    first = candidate("first", COARSE, 70, 1, cloud_ms=5)
    second = candidate("second", COARSE, 95, 1, cloud_ms=5)
    found = by_id(LOCAL, first, second)["first"].reason
    assert found.startswith("least latency at any bandwidth, by 25 ms (25%) over second")


def test_what_wins_by_its_need_of_no_link_alone_is_level() -> None:
    late = candidate("late", COARSE, 147, 1, cloud_ms=1)
    assert "least latency at any bandwidth, level with late" in by_id(LOCAL, late)["local"].reason


def test_a_lead_of_frames_is_told_as_time_between_them() -> None:
    found = by_id(LOCAL, CUT)["cut"].reason
    assert re.search(r"most frames/s .*, by [\d.]+ ms a frame \(\d+%\) over local", found)


PRICES = Prices(
    device=DevicePower(
        active_w=1.0, idle_w=0.0, radio_w=0.0, radio_j_per_mb=10.0, radio_answer_j_per_mb=0.0
    ),
    cloud=CloudPrices(
        machine_per_hour=1.0, software_per_hour=0.0, network_per_gb=0.0, answers_per_gb=0.0
    ),
)
# On the device 150, 20 and 80 ms; 10 mJ for each KB: 0, 200 and 40 mJ
BEST: Mapping[Objective, set[str]] = {"edge-energy": {"cut"}, "cloud-cost": {"local"}}


@pytest.mark.parametrize("objective", BEST)
def test_an_objective_alone_decides_what_is_worth_keeping(objective: Objective) -> None:
    goals = Goals(objective=objective, min_agreement=0.9)
    given = (LOCAL, RAW, JPEG, CUT)
    assert kept(*given, goals=goals, prices=PRICES) == {"local", "input-jpeg"} | BEST[objective]
    told = by_id(*given, goals=goals, prices=PRICES)
    for name in BEST[objective]:
        assert told[name].reason.startswith("least ")
        assert "frames/s" not in told[name].reason


def test_latency_alone_does_not_keep_what_only_streams_need() -> None:
    """It hides 80 ms in the cloud behind 75 ms on the device, and is late in all."""
    stream = candidate("stream", COARSE, 75, 3_900, cloud_ms=70)
    assert "stream" in kept(LOCAL, CUT, stream, goals=FLOOR)
    only = Goals(objective="latency", min_agreement=0.9)
    assert "stream" not in kept(LOCAL, CUT, stream, goals=only)


def test_with_a_deadline_the_cheapest_that_is_in_time_is_best() -> None:
    """Local costs nothing in the cloud, but takes 150 ms."""
    goals = Goals(objective="cloud-cost", min_agreement=0.9, deadline_ms=140)
    cheap = candidate("cheap", COARSE, 120, 4_000, cloud_ms=2)
    found = by_id(LOCAL, CUT, cheap, goals=goals, prices=PRICES)
    # 18 ms remain for 32,000 bits: 1.8 Mbit/s; below, the dearer cut still is in time
    assert found["cheap"].reason.startswith("least cost in the cloud above 1.8 Mbit/s, by ")
    assert "meets the deadline of 140 ms above 1.8 Mbit/s" in found["cheap"].reason
    only = "least cost in the cloud from 0.58 Mbit/s to 1.8 Mbit/s, where nothing else is feasible"
    assert only in found["cut"].reason
    assert found["local"].kept
    assert "150 ms even at 1000 Mbit/s, the deadline is 140 ms" in found["local"].reason


def test_a_range_of_interest_leaves_out_what_is_best_beyond() -> None:
    narrow = Goals(min_agreement=0.9, bandwidth_bps=(0.7e6, 1.5e6))
    assert "input-raw" in kept(LOCAL, RAW, CUT, goals=FLOOR)
    found = by_id(LOCAL, RAW, CUT, goals=narrow)
    assert not found["input-raw"].kept
    assert found["cut"].reason.startswith("least latency at any bandwidth")


def test_a_round_trip_makes_staying_on_the_device_better() -> None:
    far = Goals(min_agreement=0.9, rtt_ms=100, objective="latency")
    assert "cut" in kept(LOCAL, CUT, goals=FLOOR)
    assert "cut" not in kept(LOCAL, CUT, goals=far)


def test_a_raw_input_that_must_not_leave_is_not_even_kept_for_comparison() -> None:
    goals = Goals(min_agreement=0.9, no_raw_input=True)
    found = by_id(LOCAL, RAW, JPEG, CUT, goals=goals)
    assert {name for name, c in found.items() if c.kept} == {"local", "cut"}
    assert found["input-jpeg"].reason == "it sends the raw input"


def test_a_shallow_cut_is_refused_by_the_privacy_depth() -> None:
    deep = candidate("deep", COARSE, 90, 4_500)
    goals = Goals(min_agreement=0.9, privacy_depth=0.3)
    found = by_id(LOCAL, CUT, deep, goals=goals, shares={"cut": 0.1, "deep": 0.5})
    assert not found["cut"].kept
    assert found["deep"].kept


def test_at_most_k_are_kept_those_of_the_widest_ranges() -> None:
    given = (LOCAL, RAW, JPEG, CUT)
    everything = by_id(*given)
    assert all(c.kept for c in everything.values())
    for count in (1, 2, 3):
        found = by_id(*given, goals=Goals(min_agreement=0.9, candidates=count))
        assert len(found) == len(given)
        assert found["local"].kept
        assert sum(c.kept for c in found.values()) == count + 1


def test_what_is_best_over_a_wide_range_goes_before_what_is_best_over_a_narrow_one() -> None:
    """In latency the cut is the better one up to 2.1 Mbit/s, from there on the JPEG."""
    low = Goals(candidates=1, objective="latency", bandwidth_bps=(0.6e6, 3e6))
    high = Goals(candidates=1, objective="latency", bandwidth_bps=(1.9e6, 40e6))
    assert kept(LOCAL, JPEG, CUT, goals=low) == {"local", "cut"}
    assert kept(LOCAL, JPEG, CUT, goals=high) == {"local", "input-jpeg"}
    left_out = by_id(LOCAL, JPEG, CUT, goals=high)["cut"]
    assert left_out.reason.startswith("least latency below 2.1 Mbit/s")
    assert left_out.reason.endswith("and no more were asked for")


def test_a_jpeg_for_comparison_gives_way_to_winners_when_candidates_are_few() -> None:
    bad_jpeg = candidate("input-jpeg", Q1, 900, 90_000)
    given = (LOCAL, RAW, bad_jpeg, CUT)
    assert "input-jpeg" in kept(*given, goals=FLOOR)
    assert "input-jpeg" not in kept(*given, goals=Goals(min_agreement=0.9, candidates=2))
    assert "input-jpeg" in kept(*given, goals=Goals(min_agreement=0.9, candidates=3))


def test_a_request_that_nothing_meets_is_refused_and_feasible_as_told() -> None:
    given = tuple(
        msgspec.structs.replace(c, id=f"{c.id}-{i}") for i, c in enumerate((LOCAL, RAW, JPEG, CUT))
    )
    with pytest.raises(InfeasibleError, match="no candidate meets --deadline 1 under") as refused:
        by_id(*given, goals=Goals(deadline_ms=1))
    assert "nearest feasible plan: --deadline " in str(refused.value)
    by_id(*given, goals=refused.value.nearest)
