import numpy as np
import pytest
from numpy.typing import NDArray

from isthmus_bench.wire.boxes import Detections, candidates, f1_score, overlap, strongest

SIZE = 32  # 16 cells of stride 8, 4 of stride 16, 1 of stride 32
FIRST = np.array([0.0, 0.0, 10.0, 10.0])
Box = tuple[float, float, float, float]


def boxes(*rows: Box) -> NDArray[np.float64]:
    return np.array(rows, np.float64).reshape(-1, 4)


def test_a_cell_becomes_a_box_in_pixels() -> None:
    answer = np.zeros((21, 6), np.float32)
    answer[5] = [0.5, 0.25, np.log(2), 0, 0.8, 0.5]  # second row, second column of stride 8
    answer[20] = [0.5, 0.5, 0, 0, 1, 1]  # the only cell of stride 32
    found = candidates(answer, SIZE)
    np.testing.assert_allclose(found.boxes[5], [4, 6, 20, 14], rtol=1e-6)
    np.testing.assert_allclose(found.boxes[20], [0, 0, 32, 32])
    np.testing.assert_allclose(found.scores[[0, 5, 20]], [0, 0.4, 1], rtol=1e-6)


def test_a_size_that_noise_blew_up_stays_finite() -> None:
    answer = np.full((21, 6), 1e6, np.float32)
    assert np.isfinite(candidates(answer, SIZE).boxes).all()


@pytest.mark.parametrize(
    ("other", "share"),
    [
        ((0, 0, 10, 10), 1.0),
        ((5, 0, 15, 10), 50 / 150),
        ((10, 10, 20, 20), 0.0),
        ((30, 30, 40, 40), 0.0),
        ((0, 0, 0, 0), 0.0),
    ],
)
def test_overlap_is_intersection_over_union(other: Box, share: float) -> None:
    assert overlap(boxes(other), FIRST)[0] == pytest.approx(share)


def test_of_boxes_on_one_thing_the_best_remains() -> None:
    found = Detections(
        boxes((0, 0, 10, 10), (1, 0, 11, 10), (50, 50, 60, 60), (80, 80, 90, 90)),
        np.array([0.5, 0.9, 0.3, 0.05]),  # the last one is too weak
    )
    np.testing.assert_array_equal(strongest(found), boxes((1, 0, 11, 10), (50, 50, 60, 60)))


def test_nothing_found_is_no_box() -> None:
    found = Detections(boxes((0, 0, 10, 10)), np.array([0.01]))
    assert strongest(found).shape == (0, 4)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ([(0, 0, 10, 10), (20, 20, 30, 30)], 1.0),
        ([(20, 21, 30, 30), (0, 0, 10, 9)], 1.0),  # any order, a little off
        ([(0, 0, 10, 10)], 2 / 3),
        ([(0, 0, 10, 10), (0, 0, 10, 10)], 1 / 2),  # the same thing counts once
        ([], 0.0),
    ],
)
def test_f1_counts_what_was_found_missed_and_made_up(got: list[Box], expected: float) -> None:
    wanted = boxes((0, 0, 10, 10), (20, 20, 30, 30))
    assert f1_score(wanted, boxes(*got)) == pytest.approx(expected)


def test_nothing_wanted_and_nothing_found_is_full_agreement() -> None:
    assert f1_score(boxes(), boxes()) == 1
    assert f1_score(boxes(), boxes((0, 0, 1, 1))) == 0
