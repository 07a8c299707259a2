"""How large a batch pays, from times that are given."""

import pytest

from isthmus_cloud.engines.batch_times import (
    HANDOVER_MS,
    SIZES,
    UNMEASURED,
    BatchTimes,
    measured,
    summed,
)


def times(*each_ms: float) -> BatchTimes:
    """So much for an item in batches of 1, 2, 4, …"""
    sizes = tuple(1 << power for power in range(len(each_ms)))
    return BatchTimes(sizes, tuple(ms * size for ms, size in zip(each_ms, sizes, strict=True)))


@pytest.mark.parametrize(
    ("each_ms", "knee"),
    [
        ((5.0,), 1),
        ((50.0, 50.0, 50.0), 1),
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
    way = summed([times(3.0, 1.0, 0.5), times(9.0, 9.0)])
    assert (way.sizes, way.took_ms) == ((1, 2), (12.0, 20.0))
    assert way.knee == 2
    assert summed([times(1.0), UNMEASURED]) == UNMEASURED
    assert summed([]) == UNMEASURED


def test_of_tiny_runs_large_batches_pay_because_each_is_handed_over_once() -> None:
    tiny, great = times(*[HANDOVER_MS] * 6), times(*[100 * HANDOVER_MS] * 6)
    assert (tiny.knee, great.knee) == (8, 1)


def test_a_busy_moment_that_meets_one_run_is_forgotten() -> None:
    runs = 0

    def run(size: int) -> dict[str, float]:
        nonlocal runs
        runs += 1
        return {"entry": 1.0, "rest": 2.0 * size + (1e3 if runs == 2 else 0)}

    found = measured(run, sizes=(1, 2), budget_ms=5e3)
    assert found == {
        "entry": BatchTimes((1, 2), (1.0, 1.0)),
        "rest": BatchTimes((1, 2), (2.0, 4.0)),
    }


def test_the_first_run_of_a_size_does_not_count() -> None:
    seen: set[int] = set()

    def run(size: int) -> dict[str, float]:
        is_cold = size not in seen
        seen.add(size)
        return {"tail": 1000.0 if is_cold else 2.0}

    assert measured(run)["tail"] == BatchTimes(SIZES, (2.0,) * len(SIZES))


def test_sizes_take_turns_until_the_time_is_used_up() -> None:
    asked = []

    def run(size: int) -> dict[str, float]:
        asked.append(size)
        return {"tail": 30.0}

    assert measured(run, sizes=(1, 2, 4, 8), budget_ms=300.0)["tail"].sizes == (1, 2, 4, 8)
    assert asked == [1, 1, 2, 2, 4, 4, 8, 8, 1, 2, 4, 8, 1, 2, 4]


def test_of_long_runs_there_is_one_turn_of_three_sizes() -> None:
    asked = []

    def run(size: int) -> dict[str, float]:
        asked.append(size)
        return {"tail": 100.0 * size}

    assert measured(run, budget_ms=250.0)["tail"].sizes == (1, 2, 4)
    assert asked == [1, 1, 2, 2, 4, 4]
