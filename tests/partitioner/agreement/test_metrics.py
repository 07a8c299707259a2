"""Which metric a task has, and how answers of each kind are compared."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from isthmus import ConfigError, TensorSpec
from isthmus.agreement.classification import Classes, Lines
from isthmus.agreement.detection import Detections
from isthmus.agreement.distance import Tensors, Vectors
from isthmus_partitioner.agreement.metrics import Answers, Metric, Task, metric_for

FloatArray = NDArray[np.float32]


def spec(name: str, *shape: int, data_type: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, data_type=data_type, shape=shape)  # type: ignore[arg-type]


def probabilities(random: np.random.Generator, *shape: int) -> FloatArray:
    raised = np.exp(random.normal(0, 2, shape))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)


def no_boxes(answers: Answers) -> list[NDArray[np.float64]]:
    return [np.zeros((0, 6)) for _ in answers["y"]]


CLASSES, LINE, VECTOR = spec("y", 7), spec("y", 6, 9), spec("y", 16)
INDEX = spec("index", data_type="int64")

# kind: (metric, answers to 12 items)
KINDS: dict[str, tuple[Metric, Callable[[np.random.Generator], FloatArray]]] = {
    "probabilities": (Classes("y"), lambda random: probabilities(random, 12, 7)),
    "logits": (Classes("y"), lambda random: random.normal(0, 3, (12, 7)).astype(np.float32)),
    "lines": (Lines("y"), lambda random: probabilities(random, 12, 6, 9)),
    "tensors": (
        Tensors((spec("y", 4, 5),)),
        lambda random: random.normal(0, 1, (12, 4, 5)).astype(np.float32),
    ),
    "vectors": (
        Vectors("y"),
        lambda random: random.normal(0, 1, (12, 16)).astype(np.float32),
    ),
}
each_kind = pytest.mark.parametrize(("metric", "make"), KINDS.values(), ids=KINDS)
Make = Callable[[np.random.Generator], FloatArray]


@each_kind
def test_the_same_answers_agree_fully(metric: Metric, make: Make) -> None:
    answers = {"y": make(np.random.default_rng(0))}
    close = metric.closeness(answers, {"y": answers["y"].copy()})
    assert (close.agreement, close.high) == (1, 1)
    assert close.divergence == pytest.approx(0, abs=1e-12)
    assert 0.7 < close.low < 0.8  # Wilson for 12 of 12: 12 / (12 + 1.96^2)


@each_kind
def test_the_divergence_grows_with_the_noise(metric: Metric, make: Make) -> None:
    random = np.random.default_rng(0)
    reference = make(random)
    noise = random.normal(0, 1, reference.shape)
    is_distribution = np.allclose(reference.sum(axis=-1), 1)
    found = []
    for level in (0.01, 0.1, 1):
        answers = reference * np.exp(level * noise)
        if is_distribution:
            answers /= answers.sum(axis=-1, keepdims=True)
        close = metric.closeness({"y": reference}, {"y": answers.astype(np.float32)})
        assert close.low <= close.agreement <= close.high
        found.append(close.divergence)
    assert 0 < found[0] < found[1] < found[2]


@each_kind
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_answer_that_is_no_number_does_not_agree_and_costs_a_number(
    metric: Metric, make: Make, value: float
) -> None:
    reference = make(np.random.default_rng(0))
    answers = reference.copy()
    answers[3] = value
    close = metric.closeness({"y": reference}, {"y": answers})
    assert close.agreement == pytest.approx(11 / 12)
    assert np.isfinite(close.divergence)
    assert close.divergence > 0.05


@each_kind
def test_items_of_one_source_make_the_interval_wider(metric: Metric, make: Make) -> None:
    random = np.random.default_rng(0)
    reference = np.concatenate([make(random) for _ in range(10)])
    answers = reference.copy()
    answers[:24] = make(random)[[0] * 24]  # all answers to two sources are wrong
    sources = [f"source {row // 12}" for row in range(120)]
    alone = metric.closeness({"y": reference}, {"y": answers})
    grouped = metric.closeness({"y": reference}, {"y": answers}, sources)
    assert (alone.agreement, alone.divergence) == (grouped.agreement, grouped.divergence)
    assert grouped.low < alone.low - 0.05


def test_kl_is_that_of_the_textbook() -> None:
    reference = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], np.float32)
    answers = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]], np.float32)
    expected = 0.7 * np.log(0.7 / 0.5) + 0.2 * np.log(0.2 / 0.3) + 0.1 * np.log(0.1 / 0.2)
    close = Classes("y").closeness({"y": reference}, {"y": answers})
    assert close.divergence == pytest.approx(expected / 2, rel=1e-5)


def test_logits_are_compared_as_the_probabilities_they_stand_for() -> None:
    logits = np.array([[1.0, -2, 3], [0, 0.5, -1]], np.float32)
    close = Classes("y").closeness({"y": logits}, {"y": logits + 5})
    assert close.divergence == pytest.approx(0, abs=1e-6)


def test_an_impossible_answer_costs_much_but_not_infinitely() -> None:
    reference, answers = (np.array([row], np.float32) for row in ([1, 0, 0], [0, 1, 0]))
    assert 5 < Classes("y").closeness({"y": reference}, {"y": answers}).divergence < 50


def test_classes_may_have_dimensions_of_one_around_them() -> None:
    reference = np.array([[0.7, 0.3], [0.2, 0.8]], np.float32).reshape(2, 2, 1, 1)
    close = Classes("y").closeness({"y": reference}, {"y": reference[:, ::-1]})
    assert close.agreement == 0


def one_hot(*places: int) -> FloatArray:
    return np.eye(4, dtype=np.float32)[list(places)] * 0.96 + 0.01


def test_texts_are_equal_if_they_read_the_same() -> None:
    """- 1 1 2 and 1 - 2 2 both read 12; 1 - 1 2 reads 112, 1 2 - 2 reads 122."""
    reference = np.stack([one_hot(0, 1, 1, 2), one_hot(1, 0, 1, 2), one_hot(1, 1, 0, 2)])
    answers = np.stack([one_hot(1, 0, 2, 2), one_hot(1, 1, 0, 2), one_hot(1, 2, 0, 2)])
    close = Lines("y", blank=0).closeness({"y": reference}, {"y": answers})
    assert close.agreement == pytest.approx(1 / 3)


def test_the_blank_is_what_the_reference_has_most_often() -> None:
    reference = one_hot(3, 3, 1, 3, 3, 2, 3, 3)[None]
    moved = one_hot(1, 3, 3, 3, 2, 3, 3, 3)[None]
    other = one_hot(1, 1, 3, 3, 1, 3, 3, 2)[None]
    assert Lines("y").closeness({"y": reference}, {"y": moved}).agreement == 1
    assert Lines("y").closeness({"y": reference}, {"y": other}).agreement == 0


def test_each_output_of_a_tensor_metric_weighs_the_same() -> None:
    metric = Tensors((spec("large", 2), spec("small", 2)))
    reference = {"large": np.array([[1e6, 0.0]]), "small": np.array([[1e-6, 0.0]])}
    turned = reference | {"small": np.array([[0.0, 1e-6]])}
    close = metric.closeness(reference, turned)
    assert close.agreement == 0
    assert close.divergence == pytest.approx(1)  # 2 of a total energy of 2


@pytest.mark.parametrize(("degrees", "agreement"), [(8, 1), (8.2, 0)])
def test_tensors_agree_up_to_a_cosine_of_a_hundredth_less_than_one(
    degrees: float, agreement: float
) -> None:
    turn = np.radians(degrees)
    reference, answers = np.array([[1.0, 0.0]]), np.array([[np.cos(turn), np.sin(turn)]])
    for metric in (Tensors((spec("y", 2),)), Vectors("y")):
        close = metric.closeness({"y": reference}, {"y": answers})
        assert close.agreement == agreement
        assert close.divergence == pytest.approx(2 - 2 * np.cos(turn))


def test_only_the_direction_of_a_vector_counts() -> None:
    reference = np.array([[3.0, 4.0]])
    assert Vectors("y").closeness({"y": reference}, {"y": 7 * reference}).divergence == 0
    assert Tensors((spec("y", 2),)).closeness({"y": reference}, {"y": 7 * reference}).divergence > 1


def test_answers_of_nothing_but_zeros_are_the_same() -> None:
    nothing, something = np.zeros((1, 3)), np.ones((1, 3))
    metric = Tensors((spec("y", 3),))
    for reference, answers, expected in (
        (nothing, nothing, (1, 0)),
        (nothing, something, (0, 1)),
        (something, nothing, (0, 1)),
    ):
        close = metric.closeness({"y": reference}, {"y": answers})
        assert (close.agreement, close.divergence) == expected


def test_masked_places_that_both_hold_as_infinite_are_left_out() -> None:
    reference = np.array([[1.0, -np.inf, 2.0]])
    close = Tensors((spec("y", 3),)).closeness({"y": reference}, {"y": reference.copy()})
    assert (close.agreement, close.divergence) == (1, 0)


def test_integers_have_to_be_the_same() -> None:
    metric = Tensors((CLASSES, INDEX))
    floats = np.ones((4, 7))
    reference = {"y": floats, "index": np.arange(4)}
    answers = {"y": floats, "index": np.array([0, 1, 2, 7])}
    assert metric.closeness(reference, answers).agreement == 0.75


def test_where_no_output_is_a_float_the_divergence_is_the_share_of_other_values() -> None:
    metric = Tensors((spec("ids", 4, data_type="int64"),))
    reference = np.arange(8).reshape(2, 4)
    answers = reference.copy()
    answers[1, 0] = 9
    close = metric.closeness({"ids": reference}, {"ids": answers})
    assert (close.agreement, close.divergence) == (0.5, 1 / 8)


@pytest.mark.parametrize(
    ("outputs", "reference", "expected"),
    [
        ((CLASSES,), None, Classes("y")),
        ((INDEX, CLASSES), None, Classes("y")),
        ((spec("y", 7, 1, 1),), None, Classes("y")),
        ((CLASSES, spec("state", 2, 8)), None, Tensors((CLASSES, spec("state", 2, 8)))),
        ((spec("y", 1),), None, Tensors((spec("y", 1),))),
        ((VECTOR,), np.ones((3, 16)) / 4, Vectors("y")),
        ((VECTOR,), np.eye(16), Classes("y")),  # as sure as can be, and of length 1
        ((LINE,), np.full((3, 6, 9), 1 / 9), Lines("y")),
        ((LINE,), np.ones((3, 6, 9)), Tensors((LINE,))),
        ((LINE,), None, Tensors((LINE,))),
        ((INDEX,), None, Tensors((INDEX,))),
    ],
)
def test_the_metric_is_guessed_from_shapes_and_answers(
    outputs: tuple[TensorSpec, ...], reference: FloatArray | None, expected: Metric
) -> None:
    answers = None if reference is None else {"y": reference}
    assert metric_for("auto", outputs, reference=answers) == expected


@pytest.mark.parametrize(
    ("task", "outputs", "expected"),
    [
        ("classify", (spec("x", 2, 3), CLASSES), Classes("y")),
        ("text", (CLASSES, spec("z", 6, 9)), Lines("z")),
        ("embed", (spec("x", 1), VECTOR), Vectors("y")),
        ("tensor", (CLASSES,), Tensors((CLASSES,))),
    ],
)
def test_a_task_takes_the_first_output_that_fits_it(
    task: Task, outputs: tuple[TensorSpec, ...], expected: Metric
) -> None:
    assert metric_for(task, outputs) == expected


@pytest.mark.parametrize("task", ["classify", "text", "embed"])
def test_a_task_that_no_output_fits_is_refused_with_what_there_is(task: Task) -> None:
    with pytest.raises(ConfigError, match=rf"'{task}'.*'index' int64 \[\].*'tensor'"):
        metric_for(task, (INDEX,))


def test_detection_needs_to_know_where_the_boxes_are() -> None:
    with pytest.raises(ConfigError, match="layout"):
        metric_for("detect", (spec("y", 100, 6),))
    tasks: tuple[Task, ...] = ("auto", "detect")
    for task in tasks:
        assert metric_for(task, (spec("y", 100, 6),), decode=no_boxes) == Detections(no_boxes)


@settings(max_examples=40)
@given(st.integers(1, 200), st.data())
def test_the_interval_holds_the_agreement(count: int, data: st.DataObject) -> None:
    wrong = data.draw(st.integers(0, count))
    reference = np.tile(np.array([[0.9, 0.1]]), (count, 1))
    answers = reference.copy()
    answers[:wrong] = answers[:wrong, ::-1]
    close = Classes("y").closeness({"y": reference}, {"y": answers})
    assert 0 <= close.low <= close.agreement <= close.high <= 1
