from collections.abc import Callable

import pytest

from isthmus.errors import ConfigError
from isthmus_models.prose import (
    calibration_chapters,
    calibration_passages,
    evaluation_chapters,
    evaluation_passages,
)

Passages = Callable[[int, int], tuple[str, ...]]
both_parts = pytest.mark.parametrize("passages", [calibration_passages, evaluation_passages])


@both_parts
def test_passages_have_the_words_that_were_asked_for(passages: Passages) -> None:
    found = passages(24, 126)
    assert len(set(found)) == 24
    assert {len(passage.split()) for passage in found} == {126}
    assert found[:5] == passages(5, 126)


@both_parts
def test_passages_are_prose_and_no_markup(passages: Passages) -> None:
    letters = [sum(c.isalpha() or c == " " for c in text) / len(text) for text in passages(24, 126)]
    assert min(letters) > 0.85
    assert not any("**" in text or "::=" in text for text in passages(24, 126))


def test_the_chapter_of_each_passage_is_known() -> None:
    from_calibration, from_evaluation = calibration_chapters(30, 12), evaluation_chapters(30, 12)
    assert (len(from_calibration), len(from_evaluation)) == (30, 30)
    assert len(set(from_calibration)) == 4
    assert len(set(from_evaluation)) == 7
    assert set(from_calibration).isdisjoint(from_evaluation)
    assert from_evaluation[:5] == evaluation_chapters(5, 12)


def test_the_two_parts_share_no_passage() -> None:
    evaluated = evaluation_passages(100, 12)
    assert set(evaluated).isdisjoint(calibration_passages(100, 12))


@both_parts
def test_more_passages_than_there_are_cannot_be_asked_for(passages: Passages) -> None:
    with pytest.raises(ConfigError, match=r"there are \d+ passages of 126 words, not 100000"):
        passages(100_000, 126)


@both_parts
@pytest.mark.parametrize("request_", [(0, 8), (8, 0)])
def test_nothing_cannot_be_asked_for(passages: Passages, request_: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="both must be 1 or more"):
        passages(*request_)
