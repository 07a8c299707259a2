from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from tests.sessions import calm_session

from isthmus.errors import ConfigError
from isthmus_models import evaluation_pictures
from isthmus_models.drawn import glyph_pictures, line_pictures
from isthmus_models.package_files import package_file
from isthmus_models.published import (
    DETECTOR_SIZE,
    RESNET_SIZE,
    glyph_detector,
    line_reader,
    line_reader_alphabet,
    resnet50_thin,
)


def open_session(model: onnx.ModelProto) -> ort.InferenceSession:
    return calm_session(model.SerializeToString())


def answers(session: ort.InferenceSession, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(session.run(None, {"picture": pictures})[0], np.float32)


def line(places: NDArray[np.float32], alphabet: tuple[str, ...]) -> str:
    best = places.argmax(axis=1)
    return "".join(
        alphabet[index]
        for index, before in zip(best, [0, *best[:-1]], strict=True)
        if index not in {0, before}
    )


def test_everyday_photographs_are_found_harmless() -> None:
    found = answers(open_session(resnet50_thin()), evaluation_pictures(6, RESNET_SIZE))
    assert found.shape == (6, 2)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert found[:, 0].min() > 0.9


def test_most_lines_are_read_as_they_were_written_spaces_aside() -> None:
    """The reader is known to lose spaces; 9 of 12 when this was written."""
    drawn = line_pictures("evaluation", 12)
    alphabet = line_reader_alphabet()
    places = answers(open_session(line_reader()), drawn.pictures)
    assert places.shape == (12, 40, len(alphabet))
    read = [line(each, alphabet).replace(" ", "") for each in places]
    assert (
        sum(got == text.replace(" ", "") for got, text in zip(read, drawn.texts, strict=True)) > 6
    )


@pytest.mark.parametrize(
    ("make", "draw"),
    [
        (resnet50_thin, lambda: evaluation_pictures(3, RESNET_SIZE)),
        (glyph_detector, lambda: glyph_pictures("evaluation", 3).pictures),
        (line_reader, lambda: line_pictures("evaluation", 3).pictures),
    ],
    ids=["resnet", "detector", "reader"],
)
def test_a_batch_of_three_equals_three_single_pictures(
    make: Callable[[], onnx.ModelProto], draw: Callable[[], NDArray[np.uint8]]
) -> None:
    session, pictures = open_session(make()), draw()
    singles = [answers(session, picture[None]) for picture in pictures]
    np.testing.assert_allclose(
        answers(session, pictures), np.concatenate(singles), rtol=1e-3, atol=1e-5
    )


def test_the_detector_has_a_row_for_each_cell_of_three_grids() -> None:
    found = answers(open_session(glyph_detector()), glyph_pictures("evaluation", 1).pictures)
    cells = sum((DETECTOR_SIZE // stride) ** 2 for stride in (8, 16, 32))
    assert found.shape == (1, cells, 6)


def test_a_missing_package_is_named_with_the_extra_that_installs_it() -> None:
    with pytest.raises(ConfigError, match=r"no_such_weights is not installed.*\[wire-bench\]"):
        package_file("no_such_weights", "model.onnx", extra="wire-bench")
