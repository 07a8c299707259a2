"""Boxes: from answers to them, and how well two sets of them agree."""

import numpy as np
import pytest
from numpy.typing import NDArray

from isthmus import ConfigError, TensorSpec
from isthmus.agreement.detection import Detections, f1_score, strongest
from isthmus.agreement.layouts import LAYOUTS, decoder

SIZE = 32  # 16 cells of stride 8, 4 of stride 16, 1 of stride 32
Box = tuple[float, float, float, float, float, float]

HERE: Box = (0, 0, 10, 10, 0.9, 0)
THERE: Box = (20, 20, 30, 30, 0.8, 1)


def boxes(*rows: Box) -> NDArray[np.float64]:
    return np.array(rows, np.float64).reshape(-1, 6)


def compared(wanted: list[list[Box]], got: list[list[Box]]) -> tuple[float, float]:
    """Agreement and divergence where a decoder hands out these boxes."""
    table = {"wanted": [boxes(*rows) for rows in wanted], "got": [boxes(*rows) for rows in got]}
    metric = Detections(lambda answers: table[str(answers["which"][0])])
    close = metric.closeness({"which": np.array(["wanted"])}, {"which": np.array(["got"])})
    return close.agreement, close.divergence


def test_the_metric_says_which_overlap_it_wants() -> None:
    assert Detections(lambda _answers: []).name == "F1 at IoU 0.5"


def test_a_box_that_was_lost_or_made_up_counts_with_its_weight() -> None:
    both = [[HERE], [HERE]]
    assert compared(both, both) == (1, 0)
    assert compared(both, [[], [HERE]]) == pytest.approx((1 / 2, 1 / 2))
    far = (80, 80, 90, 90, 0.45, 0)
    assert compared(both, [[HERE, far], [HERE]]) == pytest.approx(((2 / 3 + 1) / 2, 1 / 4))


def test_a_box_that_moved_counts_with_what_it_no_longer_covers() -> None:
    moved = (0, 2, 10, 12, 0.9, 0)  # 80 of 120 pixels are common
    assert compared([[HERE]], [[moved]]) == pytest.approx((1, 1 / 3))
    weaker = (0, 0, 10, 10, 0.6, 0)
    assert compared([[HERE]], [[weaker]]) == pytest.approx((1, 1 / 3))


def test_a_box_of_another_class_is_another_thing() -> None:
    assert f1_score(boxes(HERE), boxes((*HERE[:5], 1))) == 0


def test_nothing_wanted_and_nothing_found_is_full_agreement() -> None:
    assert compared([[]], [[]]) == (1, 0)
    assert compared([[]], [[HERE]])[0] == 0


def test_one_thing_counts_once_and_the_order_does_not_matter() -> None:
    assert f1_score(boxes(HERE, THERE), boxes(THERE, HERE)) == 1
    assert f1_score(boxes(HERE, THERE), boxes(HERE, HERE)) == 0.5


def test_of_boxes_on_one_thing_the_best_remains_in_each_class() -> None:
    near = (1, 0, 11, 10, 0.5, 0)
    other = (1, 0, 11, 10, 0.5, 1)
    weak = (50, 50, 60, 60, 0.05, 0)
    np.testing.assert_array_equal(strongest(boxes(near, HERE, other, weak)), boxes(HERE, other))


def output(*shape: int) -> tuple[TensorSpec, ...]:
    index = TensorSpec(name="count", data_type="int64", shape=(1,))
    return (index, TensorSpec(name="y", data_type="float32", shape=shape))


def test_every_layout_finds_the_same_box() -> None:
    """Centre (8, 12), size 16 x 8, class 1 of 2 with a score of 0.72."""
    yolox = np.zeros((21, 7), np.float32)
    yolox[5] = [0, 0.5, np.log(2), 0, 0.9, 0.1, 0.8]  # second row and column of stride 8
    yolov5 = np.zeros((4, 7), np.float32)
    yolov5[2] = [8, 12, 16, 8, 0.9, 0.1, 0.8]
    yolov8 = np.zeros((6, 4), np.float32)
    yolov8[:, 3] = [8, 12, 16, 8, 0.1, 0.72]
    done = np.zeros((3, 6), np.float32)
    done[0] = [0, 8, 16, 16, 0.72, 1]
    answers = {"yolox": yolox, "yolov5": yolov5, "yolov8": yolov8, "boxes": done}
    assert set(answers) == set(LAYOUTS)
    for layout, answer in answers.items():
        decode = decoder(layout, output(*answer.shape), SIZE, SIZE)
        (found,) = decode({"y": answer[None]})
        np.testing.assert_allclose(found, [[0, 8, 16, 16, 0.72, 1]], atol=1e-5, err_msg=layout)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_noise_becomes_boxes_that_are_numbers(layout: str, value: float) -> None:
    shape = {"yolov8": (6, 21), "boxes": (21, 6)}.get(layout, (21, 7))
    decode = decoder(layout, output(*shape), SIZE, SIZE)
    (found,) = decode({"y": np.full((1, *shape), value, np.float32)})
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("layout", "shape", "words"),
    [
        ("yolo", (21, 6), "'yolo'; known: boxes, yolov5, yolov8, yolox"),
        ("yolox", (20, 6), "20 rows, not 21 cells"),
        ("yolox", (21, 5), r"'y' \[21, 5\]"),
        ("boxes", (21, 7), "7 columns, not 6"),
        ("yolov8", (21,), "no float output"),
    ],
)
def test_a_layout_that_the_outputs_do_not_have_is_refused(
    layout: str, shape: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        decoder(layout, output(*shape), SIZE, SIZE)
