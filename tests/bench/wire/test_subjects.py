import numpy as np
import pytest
from tests.bench.wire import tiny

from isthmus.errors import ConfigError
from isthmus_bench.wire.boxes import candidates, f1_score, strongest
from isthmus_bench.wire.subjects import SUBJECT_NAMES, Subject, subjects
from isthmus_models.drawn import glyph_pictures
from isthmus_models.published import DETECTOR_SIZE, glyph_detector
from isthmus_partitioner.runtime import open_session, run_batches


@pytest.fixture
def subject() -> Subject:
    return Subject(tiny.RECIPE, evaluation=6, calibration=4)


@pytest.fixture(scope="module", params=SUBJECT_NAMES)
def real(request: pytest.FixtureRequest) -> Subject:
    """Each subject of the bench, on a few inputs."""
    (made,) = subjects([request.param], evaluation=3, calibration=2)
    return made


def test_what_crosses_is_an_array_for_each_tensor_and_input(subject: Subject) -> None:
    crossing = subject.activations("branches")
    assert (crossing.model, crossing.cut) == ("tiny", "branches")
    assert [tensor.shape for tensor in crossing.tensors] == [(6, 4, 8, 8)] * 2
    assert {tensor.dtype for tensor in crossing.tensors} == {np.dtype(np.float32)}
    assert crossing.mac_share == subject.cuts[0].mac_share


def test_what_is_fitted_comes_from_other_inputs(subject: Subject) -> None:
    (fitted,) = subject.activations("sum", fitted=True).tensors
    (judged,) = subject.activations("sum").tensors
    assert fitted.shape == (4, 4, 8, 8)
    assert not np.isclose(fitted[:4], judged[:4]).all(axis=(1, 2, 3)).any()


def test_tensors_that_were_not_changed_give_the_same_answers(subject: Subject) -> None:
    for cut in subject.cuts:
        found = subject.score_cut(cut.name, subject.activations(cut.name).tensors)
        assert found.error == pytest.approx(0, abs=1e-9)
        assert found.agreement == 1


def test_tensors_that_were_changed_give_other_answers(subject: Subject) -> None:
    (tensor,) = subject.activations("sum").tensors
    assert subject.score_cut("sum", [tensor * np.float32(0.5)]).error > 1e-6


def test_the_first_inputs_alone_can_be_scored(subject: Subject) -> None:
    left, right = subject.activations("branches").tensors
    assert subject.score_cut("branches", [left[:2], right[:2]]).error < 1e-9
    assert subject.score_cut("branches", [left[2:4], right[2:4]]).error > 1e-6


def test_pictures_are_scored_through_the_whole_network(subject: Subject) -> None:
    pictures = subject.pictures
    assert pictures is not None
    assert subject.score_pictures(pictures).error == 0
    assert subject.score_pictures(255 - pictures).error > 1e-6
    assert subject.input_bytes == 8 * 8 * 3


def test_every_head_has_its_time(subject: Subject) -> None:
    assert all(subject.head_ms(cut.name) > 0 for cut in subject.cuts)


@pytest.mark.parametrize("call", ["activations", "head_ms"])
def test_an_unknown_cut_is_refused_with_the_known_ones(subject: Subject, call: str) -> None:
    with pytest.raises(ConfigError, match="tiny has no cut 'b99'; known: branches, sum"):
        getattr(subject, call)("b99")


def test_an_unknown_subject_is_refused_before_any_is_made() -> None:
    with pytest.raises(ConfigError, match="no subject is called 'vgg'; known: efficientnet-lite0"):
        subjects(["efficientnet-lite0", "vgg"])


def test_a_real_subject_is_cut_at_growing_depth(real: Subject) -> None:
    shares = [cut.mac_share for cut in real.cuts]
    assert 3 <= len(shares) <= 6
    assert shares == sorted(shares)
    assert 0.02 < shares[0] < 0.25
    assert shares[-1] > 0.6


def test_a_real_subject_gets_its_answers_back_through_its_deepest_cut(real: Subject) -> None:
    cut = real.cuts[-1]
    crossing = real.activations(cut.name)
    assert [tensor.shape[1:] for tensor in crossing.tensors] == list(cut.shapes)
    found = real.score_cut(cut.name, crossing.tensors)
    assert found.error == pytest.approx(0, abs=1e-6)
    assert found.agreement == 1
    broken = [np.zeros_like(tensor) for tensor in crossing.tensors]
    assert real.score_cut(cut.name, broken).error > 0.01


def test_a_real_subject_reads_pictures_or_tokens(real: Subject) -> None:
    pictures = real.pictures
    if pictures is None:
        assert real.input_bytes == 2 * 128
        with pytest.raises(ConfigError, match="reads no pictures; score one of its cuts"):
            real.score_pictures(np.zeros((1, 8, 8, 3), np.uint8))
    else:
        assert real.input_bytes == pictures[0].size
        assert real.score_pictures(pictures[:1]).error == pytest.approx(0, abs=1e-6)


def test_the_detector_finds_most_of_what_was_drawn() -> None:
    """A mean F1 of 0.86 when this was written; things in the photographs look like glyphs too."""
    drawn = glyph_pictures("evaluation", 8)
    session = open_session(glyph_detector(), threads=1)
    answers = run_batches(session, {"picture": drawn.pictures})[0]
    found = [strongest(candidates(answer, DETECTOR_SIZE)) for answer in answers]
    scores = [
        f1_score(wanted.astype(np.float64), got)
        for wanted, got in zip(drawn.boxes, found, strict=True)
    ]
    assert np.mean(scores) > 0.7
