"""Pictures instead: what they cost, and what our ladder costs at the same error."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.bench.wire import tiny
from tests.bench.wire.made_up import CUT

from isthmus.errors import ConfigError
from isthmus_bench.wire.equal_error import Point, Reading, reading
from isthmus_bench.wire.picture_rivals import PictureRival, picture_rivals
from isthmus_bench.wire.picture_rows import PictureFigures, equal_rows, measure_pictures
from isthmus_bench.wire.subjects import Subject
from isthmus_models.drawn import Part

UInt8Array = NDArray[np.uint8]

SHAPE = (tiny.SIZE, tiny.SIZE, 3)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject(tiny.RECIPE, evaluation=6, calibration=2)


def darkened(payload: bytes) -> UInt8Array:
    return np.frombuffer(payload, np.uint8).reshape(SHAPE) // 2


def growing(picture: UInt8Array) -> bytes:
    """Payloads of different lengths: as many bytes as the first pixel says."""
    return bytes(int(picture[0, 0, 0]))


RAW = PictureRival(
    "raw", lambda p: p.tobytes(), lambda b: np.frombuffer(b, np.uint8).reshape(SHAPE)
)
DARK = PictureRival("dark", lambda p: p.tobytes(), darkened)
GREY = PictureRival("grey", growing, lambda _: np.full(SHAPE, 128, np.uint8))


def test_a_picture_codec_costs_its_mean_bytes_and_the_error_of_what_arrives(
    subject: Subject,
) -> None:
    pictures = subject.pictures
    assert pictures is not None
    raw, dark, grey = measure_pictures(subject, [RAW, DARK, GREY])
    assert raw == PictureFigures("tiny", "raw", 192, 0.0, 1.0)
    half = subject.score_pictures(pictures // 2)
    assert dark == PictureFigures("tiny", "dark", 192, half.error, half.agreement)
    assert half.error > 0
    assert grey.bytes == pytest.approx(pictures[:, 0, 0, 0].mean())
    assert grey.error != dark.error


def test_the_real_codecs_have_figures_and_png_does_no_harm(subject: Subject) -> None:
    found = {each.codec: each for each in measure_pictures(subject, picture_rivals())}
    assert list(found) == [rival.name for rival in picture_rivals()]
    assert found["png"].error == 0
    assert found["jpeg 4:2:0 q75"].error > found["jpeg 4:4:4 q95"].error > 0
    assert found["jpeg 4:2:0 q75"].bytes < found["jpeg 4:2:0 q95"].bytes


def test_a_network_that_reads_no_pictures_has_no_figures() -> None:
    def tokens(_part: Part, number: int) -> NDArray[np.generic]:
        return np.zeros((number, 8), np.int64)

    assert measure_pictures(Subject(replace(tiny.RECIPE, inputs=tokens)), [RAW]) == ()


def picture(error: float, size: float = 1000.0) -> PictureFigures:
    return PictureFigures("efficientnet-lite0", "jpeg", size, error, 0.97)


# The curve of CUT: 900 bytes at an error of 0.001, 500 at 0.01, 100 at 0.1.
FINEST, MIDDLE, COARSEST = CUT.curve


@pytest.mark.parametrize(
    ("error", "ours", "says", "points"),
    [
        (math.sqrt(0.001 * 0.01), 700.0, "equal", (FINEST, MIDDLE)),
        (0.01, 500.0, "equal", (MIDDLE, MIDDLE)),
        (0.001, 900.0, "equal", (FINEST, FINEST)),
        (0.1, 100.0, "equal", (COARSEST, COARSEST)),
        (0.2, 100.0, "at most", (COARSEST, COARSEST)),
        (0.0001, 900.0, "at least", (FINEST, FINEST)),
    ],
)
def test_our_bytes_are_read_off_at_the_pictures_error(
    error: float, ours: float, says: Reading, points: tuple[Point, Point]
) -> None:
    (row,) = equal_rows(CUT, [picture(error, 2000.0)])
    assert (row.model, row.cut, row.mac_share) == ("efficientnet-lite0", "b07", 0.41)
    assert (row.codec, row.codec_bytes, row.error) == ("jpeg", 2000.0, error)
    assert row.our_bytes == pytest.approx(ours)
    assert row.ratio == pytest.approx(ours / 2000)
    assert row.reading == says
    assert (row.low_point, row.high_point) == points


def test_a_lossless_codec_makes_no_row() -> None:
    """No rung is at its error, and none needs to be."""
    rows = equal_rows(CUT, [picture(0.0), picture(0.02), picture(0.0)])
    assert [row.error for row in rows] == [0.02]


CURVE: list[Point] = [(0.1, 100.0), (0.001, 900.0), (0.01, 500.0)]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (0.0, "at least"),
        (0.00099, "at least"),
        (0.001, "equal"),
        (0.05, "equal"),
        (0.1, "equal"),
        (0.11, "at most"),
    ],
)
def test_a_reading_is_equal_between_the_points_and_a_bound_beyond_them(
    error: float, expected: Reading
) -> None:
    assert reading(error, CURVE) == expected


def test_beside_a_lossless_point_a_small_error_needs_at_least_the_finest_lossy_one() -> None:
    assert reading(1e-4, [(0.0, 5000.0), *CURVE]) == "at least"
    assert reading(0.0, [(0.0, 5000.0), *CURVE]) == "equal"
    assert reading(0.1, [(0.0, 5000.0)]) == "at most"


def test_a_reading_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 points"):
        reading(0.1, [])
