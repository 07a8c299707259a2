"""Which part of a pause between answers a switch has caused."""

import msgspec
import pytest
from tests.bench.adapt.made_up import frames

from isthmus_bench.adapt.gaps import switch_gaps_ms
from isthmus_bench.adapt.runs import FrameEnd

PERIOD_MS = 500.0


def stream(*answers: tuple[str, float | None]) -> tuple[FrameEnd, ...]:
    """Frames every half second, with the candidate and the latency of each."""
    return tuple(
        msgspec.structs.replace(frame, candidate=candidate)
        for frame, (candidate, _) in zip(
            frames([latency_ms for _, latency_ms in answers]), answers, strict=True
        )
    )


def test_a_stream_without_a_switch_has_no_gap() -> None:
    assert switch_gaps_ms(stream(("a", 100), ("a", 900)), PERIOD_MS) == []


def test_a_switch_that_costs_nothing_leaves_no_gap() -> None:
    answers = stream(("a", 100), ("b", 100), ("b", 100))
    assert switch_gaps_ms(answers, PERIOD_MS) == pytest.approx([0.0])


def test_what_the_first_frame_takes_longer_than_usual_is_the_gap() -> None:
    answers = stream(("a", 100), ("b", 180), ("b", 100), ("b", 110), ("b", 90), ("b", 500))
    assert switch_gaps_ms(answers, PERIOD_MS) == pytest.approx([80.0])


def test_a_candidate_that_usually_takes_longer_has_its_price_and_no_gap() -> None:
    answers = stream(("a", 100), ("b", 300), ("b", 300))
    assert switch_gaps_ms(answers, PERIOD_MS) == pytest.approx([0.0])


def test_a_switch_to_a_quicker_candidate_brings_no_negative_gap() -> None:
    answers = stream(("a", 300), ("b", 100), ("b", 100))
    assert switch_gaps_ms(answers, PERIOD_MS) == [0.0]


def test_frames_dropped_at_a_switch_lengthen_its_gap() -> None:
    answers = stream(("a", 100), ("", None), ("b", 100), ("b", 100))
    assert switch_gaps_ms(answers, PERIOD_MS) == pytest.approx([500.0])


def test_a_candidate_used_for_one_frame_is_compared_with_its_other_frames() -> None:
    answers = stream(("b", 90), ("a", 100), ("b", 150), ("a", 100), ("a", 100))
    assert switch_gaps_ms(answers, PERIOD_MS) == pytest.approx([0.0, 50.0, 0.0])


def test_a_candidate_used_for_one_frame_in_all_tells_nothing() -> None:
    answers = stream(("a", 100), ("b", 900), ("a", 100), ("a", 100))
    assert switch_gaps_ms(answers, PERIOD_MS) == [0.0]
