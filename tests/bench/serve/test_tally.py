"""Frames are counted as they end, and late ones as late."""

from math import inf

import pytest

from isthmus.v1 import split_pb2 as pb
from isthmus_bench.serve.tally import ANSWER, Tally, percentile


def tally() -> Tally:
    """Frames count from 1 s on, the load ends at 3 s."""
    made = Tally()
    made.set_times(1.0, 3.0)
    return made


def show(into: Tally, due_at: float, end_at: float | None, kind: str = ANSWER) -> None:
    into.due(due_at)
    into.accepted()
    if end_at is not None:
        into.ended(due_at, end_at, kind)


def test_answers_during_the_warm_up_are_answers_but_no_figures() -> None:
    found = tally()
    show(found, 0.5, 0.6)
    show(found, 1.5, 1.51)
    figures = found.load(0, server_cpu_s=0.02, client_cpu_s=0.01)
    assert (figures.accepted, figures.answered, figures.lost) == (2, 2, 0)
    assert figures.p95_ms == pytest.approx(10.0)
    assert figures.answers_per_s == 0.5  # one in two seconds
    assert figures.server_cpu_ms == pytest.approx(10.0)


def test_a_refused_frame_is_no_answer_and_infinitely_late() -> None:
    found = tally()
    for number in range(9):
        show(found, 1.0 + number / 10, 1.02 + number / 10)
    show(found, 2.0, 2.01, "OVERLOADED")
    figures = found.load(0, None, 0.0)
    assert figures.errors == {"OVERLOADED": 1}
    assert (figures.answered, figures.lost) == (9, 0)
    assert figures.p50_ms == pytest.approx(20.0)
    assert figures.p95_ms is None
    assert figures.server_cpu_ms is None


def test_a_frame_that_never_ends_is_lost_and_late() -> None:
    found = tally()
    show(found, 1.5, None)
    figures = found.load(0, None, 0.0)
    assert (figures.accepted, figures.answered, figures.lost) == (1, 0, 1)
    assert figures.p50_ms is None


def test_a_frame_for_which_there_was_no_room_is_late_but_not_lost() -> None:
    found = tally()
    found.due(1.5)
    figures = found.load(1, None, 0.0)
    assert (figures.accepted, figures.lost, figures.unsent) == (0, 0, 1)
    assert figures.p50_ms is None


def test_the_engine_s_time_is_shared_by_the_frames_of_a_batch() -> None:
    found = tally()
    show(found, 1.5, 1.6)
    found.timed(pb.Timing(run_ms=8.0, batch=4))
    found.timed(pb.Timing(run_ms=3.0))  # of a service that says nothing of batches
    figures = found.load(0, None, 0.0)
    assert figures.engine_ms == pytest.approx(2.5)
    assert figures.batch == pytest.approx(2.5)


def test_another_frame_s_answer_is_wrong() -> None:
    found = tally()
    found.due(1.5)
    found.accepted()
    found.ended(1.5, 1.6, ANSWER, is_right=False)
    assert found.load(0, None, 0.0).wrong == 1


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([1.0], 0.95, 1.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        ([float(n) for n in range(1, 101)], 0.95, 95.0),
        ([1.0, inf], 0.95, None),
        ([1.0, inf], 0.5, 1.0),
    ],
)
def test_a_percentile_is_one_of_the_values(
    values: list[float], share: float, expected: float | None
) -> None:
    assert percentile(values, share) == expected
