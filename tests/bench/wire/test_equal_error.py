"""Bytes at an equal error are read between measured points, never beyond them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import ConfigError
from isthmus_bench.wire.equal_error import Point, bytes_at

CURVE: list[Point] = [(0.1, 100.0), (0.001, 900.0), (0.01, 500.0)]
CURVES = st.lists(st.tuples(st.floats(1e-6, 1.0), st.floats(1.0, 1e6)), min_size=1, max_size=8)


def test_bytes_are_linear_in_the_logarithm_of_the_error() -> None:
    middle = bytes_at(math.sqrt(0.01 * 0.1), CURVE)
    assert middle.bytes == pytest.approx(300)
    assert (middle.low_point, middle.high_point) == ((0.01, 500.0), (0.1, 100.0))
    assert middle.inside


@pytest.mark.parametrize("point", CURVE)
def test_a_measured_point_is_itself(point: Point) -> None:
    got = bytes_at(point[0], CURVE)
    assert (got.bytes, got.low_point, got.high_point, got.inside) == (point[1], point, point, True)


@pytest.mark.parametrize(("error", "nearest"), [(0.5, CURVE[0]), (1e-4, CURVE[1]), (0, CURVE[1])])
def test_outside_the_range_the_nearest_point_is_given_and_said_to_be_that(
    error: float, nearest: Point
) -> None:
    got = bytes_at(error, CURVE)
    assert not got.inside
    assert (got.bytes, got.low_point, got.high_point) == (nearest[1], nearest, nearest)


def test_a_lossless_point_answers_only_for_no_error() -> None:
    curve = [(0.0, 5000.0), *CURVE]
    assert bytes_at(0, curve).bytes == 5000
    assert bytes_at(0, curve).inside
    assert not bytes_at(1e-4, curve).inside
    assert bytes_at(1e-4, curve).bytes == 900


def test_with_nothing_but_a_lossless_point_that_is_the_nearest() -> None:
    got = bytes_at(0.1, [(0.0, 5000.0)])
    assert (got.bytes, got.inside) == (5000, False)


def test_of_points_with_equal_error_the_smallest_counts() -> None:
    assert bytes_at(0.01, [*CURVE, (0.01, 450.0), (0.01, 700.0)]).bytes == 450


@given(st.floats(1e-7, 10.0), CURVES)
def test_bytes_never_leave_the_two_points_they_are_read_from(
    error: float, curve: list[Point]
) -> None:
    got = bytes_at(error, curve)
    ends = sorted((got.low_point[1], got.high_point[1]))
    assert ends[0] * (1 - 1e-9) <= got.bytes <= ends[1] * (1 + 1e-9)
    assert {got.low_point, got.high_point} <= set(curve)
    errors = [point[0] for point in curve]
    assert got.inside == (min(errors) <= error <= max(errors))


@pytest.mark.parametrize(
    ("error", "curve"),
    [
        (0.1, []),
        (-0.1, CURVE),
        (math.nan, CURVE),
        (0.1, [(-1e-9, 5.0)]),
        (0.1, [(math.inf, 5.0)]),
    ],
)
def test_errors_that_are_none_are_refused(error: float, curve: list[Point]) -> None:
    with pytest.raises(ConfigError, match="finite and not negative"):
        bytes_at(error, curve)
