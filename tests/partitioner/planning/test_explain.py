"""A plan explains itself: why each candidate is in it, and why the prominent others are not."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from tests import candidates
from tests.partitioner.planning.test_selection import (
    COARSE,
    CUT,
    JPEG,
    LOCAL,
    RAW,
    Place,
    candidate,
)

from isthmus import Candidate, Picture
from isthmus_partitioner.planning.constraints import Goals
from isthmus_partitioner.planning.explain import explain
from isthmus_partitioner.planning.prices import DEFAULT_PRICES
from isthmus_partitioner.planning.selection import select
from isthmus_partitioner.planning.trying import HeadTimes

PLACES = {"cut": Place(0.4), "worse": Place(0.5), "shallow": Place(0.1)}


def told(*given: Candidate, head_times: Sequence[HeadTimes] = (), **goals: Any) -> tuple[str, ...]:
    wanted = Goals(**{"min_agreement": 0.9, **goals})
    return explain(select(given, PLACES, wanted, DEFAULT_PRICES), head_times)


def about(lines: Sequence[str], start: str) -> str:
    (line,) = (line for line in lines if line.startswith(start))
    return line


def head(name: str, int8_ms: float | None, fp32_ms: float | None) -> HeadTimes:
    return HeadTimes(tensors=(name,), int8_ms=int8_ms, fp32_ms=fp32_ms)


def test_what_is_kept_says_where_it_wins_and_by_how_much() -> None:
    line = about(told(LOCAL, RAW, JPEG, CUT), "cut is in: least latency from 0.56 Mbit/s")
    assert ", by " in line
    assert "%) over " in line


def test_what_wins_over_the_widest_range_comes_first() -> None:
    lines = [line for line in told(LOCAL, RAW, JPEG, CUT) if " is in: " in line]
    first_words = [line.split()[0] for line in lines]
    assert first_words == ["local", "input-jpeg", "input-raw", "cut"]


def test_a_picture_is_compared_with_the_best_cut_in_bytes_and_in_time() -> None:
    """Where the cut is at home, between 0.56 and 2.13 Mbit/s: 1.1 Mbit/s."""
    line = about(told(LOCAL, JPEG, CUT), "input-jpeg (JPEG q95) is 5x larger than cut")
    assert line.endswith("and 57.5 ms slower in all at 1.1 Mbit/s")


def test_pictures_are_compared_with_the_cut_of_the_widest_range() -> None:
    """The other leads by more, but from 0.55 to 1 Mbit/s only."""
    wide = candidate("cut", COARSE, 120, 100)
    narrow = candidate("worse", COARSE, 5, 8_000)
    lines = told(LOCAL, JPEG, narrow, wide, objective="latency", bandwidth_bps=(1e5, 1e6))
    assert about(lines, "worse is in: least latency above 0.55 Mbit/s")
    assert about(lines, "input-jpeg (JPEG q95) is 200x larger than cut")


def test_a_picture_that_is_smaller_but_later_is_told_so() -> None:
    small = candidate("input-webp", Picture(format="webp", quality=75), 200, 2_000)
    line = about(told(LOCAL, JPEG, CUT, small), "input-webp (WebP q75) is 2x smaller than cut but")
    assert "ms slower in all" in line
    assert about(told(LOCAL, JPEG, CUT, small), "input-webp (WebP q75) is out: never best")


def test_a_picture_of_about_the_same_size_is_called_so() -> None:
    same = candidate("input-avif", Picture(format="avif", quality=75), 200, 4_100)
    assert about(told(LOCAL, JPEG, CUT, same), "input-avif (AVIF q75) is about as large as cut")


def test_where_no_cut_pays_the_verdict_is_not_to_split() -> None:
    late = candidate("cut", COARSE, 149, 30_000)
    lines = told(LOCAL, RAW, JPEG, late)
    assert lines[0].startswith("no cut pays anywhere: do not split (local or input-")
    assert about(lines, "cut is out: never best; nearest at")
    assert not any("do not split" in line for line in told(LOCAL, RAW, JPEG, CUT))


def test_without_any_cut_there_is_nothing_to_compare_pictures_with() -> None:
    lines = told(LOCAL, JPEG)
    assert "do not split" in lines[0]
    assert not any("larger than" in line or "smaller than" in line for line in lines)


def test_what_a_constraint_refuses_is_told_with_the_reason() -> None:
    lines = told(LOCAL, JPEG, CUT, candidate("shallow", COARSE, 20, 2_000), privacy_depth=0.3)
    assert "10.0% of the multiply-accumulates" in about(lines, "shallow is out: only")
    assert about(lines, "input-jpeg (JPEG q95) is out: only 0.0% of the")


def test_below_the_floor_more_inputs_are_asked_for_where_they_would_decide() -> None:
    poor = candidate("worse", COARSE, 20, 2_000, agreement=0.88)
    figures = msgspec.structs.replace(poor.figures, agreement_low=0.8, agreement_high=0.93)
    rung = msgspec.structs.replace(poor.rungs[0], figures=figures)
    unsure = candidates.candidate("worse", rung)
    assert about(told(LOCAL, JPEG, CUT, unsure), "worse is out:") == (
        "worse is out: below the agreement floor 0.9: 0.880 [0.800, 0.930], "
        "more evaluation inputs would decide"
    )
    assert "would decide" not in about(told(LOCAL, JPEG, CUT, poor), "worse is out:")


def test_a_cut_that_loses_to_another_is_left_to_the_table() -> None:
    worse = candidate("worse", COARSE, 90, 4_500)
    assert not any(line.startswith("worse") for line in told(LOCAL, RAW, JPEG, CUT, worse))


def test_heads_that_int8_slows_down_are_told_the_worst_first() -> None:
    heads = [head("b", 12.0, 10.0), head("a", 14.0, 10.0), head("c", 9.0, 10.0)]
    lines = [line for line in told(LOCAL, CUT, head_times=heads) if "int8" in line]
    assert lines == [
        "the int8 head up to a is 1.4x slower than fp32 on the device's CPU (14 ms against 10 ms)",
        "the int8 head up to b is 1.2x slower than fp32 on the device's CPU (12 ms against 10 ms)",
    ]


@pytest.mark.parametrize("pair", [(None, 1.0), (1.0, None), (1.0, 1.0), (1.04, 1.0)])
def test_of_heads_that_were_not_measured_slower_nothing_is_said(
    pair: tuple[float | None, float | None],
) -> None:
    assert not any("int8" in line for line in told(LOCAL, CUT, head_times=[head("a", *pair)]))


def test_many_slow_heads_are_counted() -> None:
    heads = [head(f"t{i}", 20.0 + i, 10.0) for i in range(5)]
    assert told(LOCAL, CUT, head_times=heads)[-1] == "so are 2 more int8 heads, by less"


def test_a_cut_of_many_tensors_is_named_in_short() -> None:
    wide = HeadTimes(tensors=("a", "b", "c", "d"), int8_ms=2.0, fp32_ms=1.0)
    assert "up to a + b + 2 more is 2x" in told(LOCAL, CUT, head_times=[wide])[-1]
