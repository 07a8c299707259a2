"""How large a batch pays, from times that are given."""

import pytest

from isthmus_cloud.engines.batch_times import UNMEASURED, BatchTimes, measured, summed


def times(*each_ms: float) -> BatchTimes:
    """So much for an item in batches of 1, 2, 4, …"""
    sizes = tuple(1 << power for power in range(len(each_ms)))
    return BatchTimes(sizes, tuple(ms * size for ms, size in zip(each_ms, sizes, strict=True)))


@pytest.mark.parametrize(
    ("each_ms", "knee"),
    [
        ((5.0,), 1),
        ((5.0, 5.0, 5.0), 1),
        ((5.0, 4.0, 3.9), 2),
        ((5.0, 4.9, 4.5), 4),  # a step that saves little may lead to one that saves enough
        ((5.0, 4.0, 3.0, 2.0), 8),
        ((5.0, 4.0, 9.0, 9.0), 2),
    ],
)
def test_the_knee_is_where_a_greater_batch_no_longer_saves(
    each_ms: tuple[float, ...], knee: int
) -> None:
    assert times(*each_ms).knee == knee


def test_times_between_sizes_are_on_the_line_and_beyond_them_go_on() -> None:
    known = BatchTimes((1, 4), (10.0, 16.0))
    assert [known.ms(size) for size in (1, 2, 3, 4, 8)] == [10, 12, 14, 16, 32]


def test_without_measurement_nothing_is_known_and_nothing_held_back() -> None:
    assert UNMEASURED.ms(7) == 0
    assert UNMEASURED.knee == 32


def test_a_way_takes_what_its_parts_take_together() -> None:
    way = summed([times(1.0, 0.5, 0.25), times(9.0, 9.0)])
    assert (way.sizes, way.took_ms) == ((1, 2), (10.0, 19.0))
    assert way.knee == 2
    assert summed([times(1.0), UNMEASURED]) == UNMEASURED
    assert summed([]) == UNMEASURED


def test_measuring_stops_where_nothing_is_saved_any_more() -> None:
    asked = []

    def took_ms(size: int) -> float:
        asked.append(size)
        return 3.0 * size

    assert measured(took_ms).knee == 1
    assert asked == [1, 2, 4]  # two beyond the knee: one may have been disturbed


def test_measuring_stops_where_the_time_is_used_up() -> None:
    assert measured(lambda size: 100.0, budget_ms=250.0).sizes == (1, 2, 4)
