"""Kept is what is good enough and best somewhere, and always what one has to compare with."""

from typing import Literal

import pytest
from tests import candidates

from isthmus import Candidate, Encoding, Picture, Raw, Symbols
from isthmus_partitioner.planning.selection import select


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


def by_id(*given: Candidate, floor: float = 0.9) -> dict[str, Candidate]:
    return {c.id: c for c in select(given, floor)}


def test_what_is_best_somewhere_is_kept_and_says_where() -> None:
    cut = by_id(LOCAL, RAW, JPEG, CUT)["cut"]
    assert cut.kept
    # Against JPEG: 60 ms more on the device, 128,000 bits less: 2.1 Mbit/s.
    # Against local less 5 %: 57.5 ms sooner with 32,000 bits: 0.56 Mbit/s.
    assert cut.reason.startswith("least latency from 0.56 Mbit/s to 2.1 Mbit/s; most frames/s")


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
    assert found["wrong"].reason == "below the agreement floor 0.9: 0.890"
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
    assert found.reason == "below the agreement floor 0.9: 0.890"


@pytest.mark.parametrize("floor", [0.0, 0.5, 1.0])
def test_the_order_and_the_figures_stay_as_they_were(floor: float) -> None:
    given = (LOCAL, RAW, JPEG, laddered(1.0, 0.7, 0.3, chosen=1))
    chosen = select(given, floor)
    assert [c.id for c in chosen] == [c.id for c in given]
    assert [c.rungs for c in chosen] == [c.rungs for c in given]
    assert [c.chosen for c in chosen] == [c.chosen for c in given]
