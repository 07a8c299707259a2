"""The front of measured mixes, and the rule that picks one of them."""

import pytest

from isthmus_partitioner.precision.front import (
    Kind,
    Point,
    choose,
    choose_integer_only,
    pareto,
)


def point(name: str, ms: float, divergence: float, kind: Kind = "mixed") -> Point:
    return Point(name=name, kind=kind, fp32_groups=(), ms=ms, divergence=divergence, agreement=1.0)


FP32 = point("fp32", 10.0, 0.0, "fp32")


def test_the_front_has_what_nothing_beats_in_both() -> None:
    points = [
        point("a", 5, 0.03),
        FP32,
        point("b", 6, 0.03),
        point("c", 7, 0.01),
        point("d", 8, 0.02),
    ]
    assert [p.name for p in pareto(points)] == ["a", "c", "fp32"]


def test_the_fastest_within_the_budget_is_chosen() -> None:
    points = [FP32, point("a", 5, 0.03), point("b", 6, 0.009), point("c", 8, 0.001)]
    assert choose(points, 0.01)[0].name == "b"


def test_of_those_that_take_as_long_the_most_faithful_is_chosen() -> None:
    points = [FP32, point("a", 6.0, 0.009), point("b", 6.2, 0.002), point("c", 6.5, 0.001)]
    assert choose(points, 0.01)[0].name == "b"


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ((), "nothing was built"),
        ((point("a", 11.0, 0.001),), "not faster"),
        ((point("a", 9.9, 0.001),), "not faster"),
        ((point("a", 5.0, 0.9), point("b", 11.0, 0.001)), "no int8 part keeps"),
    ],
)
def test_a_network_that_int8_does_not_help_stays_fp32(others: tuple[Point, ...], why: str) -> None:
    chosen, reason = choose([FP32, *others], 0.01)
    assert chosen is FP32
    assert why in reason


def test_a_device_of_integers_gets_the_most_faithful_int8_network_however_slow() -> None:
    points = [FP32, point("a", 5, 0.3, "int8"), point("b", 20, 0.2, "int8"), point("c", 6, 0.01)]
    chosen, reason = choose_integer_only(points)
    assert chosen.name == "b"
    assert "integers only" in reason
