import numpy as np
import pytest

from isthmus.errors import ConfigError
from isthmus_models import evaluation_pictures
from isthmus_models.drawn import glyph_pictures, line_pictures
from isthmus_models.published import DETECTOR_SIZE, LINE_HEIGHT, LINE_WIDTH

EDGE = 6  # pixels that an outline and its blur reach beyond a glyph


def test_the_first_pictures_are_the_same_whatever_the_count() -> None:
    few, many = line_pictures("evaluation", 2), line_pictures("evaluation", 5)
    np.testing.assert_array_equal(few.pictures, many.pictures[:2])
    assert few.texts == many.texts[:2]
    np.testing.assert_array_equal(
        glyph_pictures("evaluation", 2).pictures, glyph_pictures("evaluation", 3).pictures[:2]
    )


def test_lines_of_the_two_parts_share_no_text() -> None:
    lines = line_pictures("evaluation", 24)
    assert lines.pictures.shape == (24, LINE_HEIGHT, LINE_WIDTH, 3)
    assert len(set(lines.texts)) == 24
    assert set(lines.texts).isdisjoint(line_pictures("calibration", 24).texts)


def test_a_line_is_ascii_of_whole_words_that_fits() -> None:
    for text in line_pictures("calibration", 24).texts:
        assert text.isascii()
        assert 0 < len(text) <= 24
        assert text == text.strip()


def test_glyphs_are_drawn_inside_their_boxes_and_nowhere_else() -> None:
    drawn = glyph_pictures("evaluation", 4)
    photos = evaluation_pictures(4, DETECTOR_SIZE)
    for picture, photo, boxes in zip(drawn.pictures, photos, drawn.boxes, strict=True):
        changed = np.any(picture != photo, axis=2)
        assert 3 <= len(boxes) <= 6
        for left, top, right, bottom in boxes.astype(int):
            assert 0 <= left < right <= DETECTOR_SIZE
            assert 0 <= top < bottom <= DETECTOR_SIZE
            assert changed[top:bottom, left:right].mean() > 0.2
            around = np.s_[max(top - EDGE, 0) : bottom + EDGE, max(left - EDGE, 0) : right + EDGE]
            changed[around] = False
        assert not changed.any()


@pytest.mark.parametrize("draw", [line_pictures, glyph_pictures])
def test_no_pictures_cannot_be_asked_for(draw: object) -> None:
    assert callable(draw)
    with pytest.raises(ConfigError, match="must be 1 or more"):
        draw("evaluation", 0)
