import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isthmus import load_picture, picture_files
from isthmus.errors import ConfigError, PictureError
from isthmus_models import (
    calibration_pictures,
    demo_pictures,
    evaluation_pictures,
)
from isthmus_models.package_files import package_file
from isthmus_models.pictures import CALIBRATION_PHOTOS, DEMO_PHOTOS, EVALUATION_PHOTOS


def save_gradient(path: Path, width: int = 40, height: int = 30) -> Path:
    row = np.linspace(0, 255, width).astype(np.uint8)
    pixels = np.broadcast_to(row[None, :, None], (height, width, 3))
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)
    return path


def test_calibration_and_evaluation_share_no_source() -> None:
    """By file and by content, and no crop of one is a crop of the other."""
    calibration = {photo.path.read_bytes() for photo in CALIBRATION_PHOTOS}
    evaluation = {photo.path.read_bytes() for photo in EVALUATION_PHOTOS}
    assert len(calibration) == len(CALIBRATION_PHOTOS)
    assert len(evaluation) == len(EVALUATION_PHOTOS)
    assert not calibration & evaluation


def test_no_demo_picture_is_calibrated_on() -> None:
    assert not set(DEMO_PHOTOS) & set(CALIBRATION_PHOTOS)


@pytest.mark.parametrize("pictures", [calibration_pictures, evaluation_pictures])
def test_pictures_are_uint8_squares_and_the_same_each_time(pictures: type) -> None:
    first = pictures(13, 32)
    assert (first.shape, first.dtype) == ((13, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(first, pictures(13, 32))
    np.testing.assert_array_equal(first[:5], pictures(5, 32))


@pytest.mark.parametrize("pictures", [calibration_pictures, evaluation_pictures])
def test_no_two_pictures_are_alike(pictures: type) -> None:
    assert len({picture.tobytes() for picture in pictures(40, 32)}) == 40


@pytest.mark.parametrize(("count", "size"), [(0, 32), (4, 0), (-1, 32)])
def test_a_count_or_size_below_one_is_refused(count: int, size: int) -> None:
    with pytest.raises(ConfigError, match="must be 1 or more"):
        evaluation_pictures(count, size)


def test_demo_pictures_are_four_that_exist_and_load() -> None:
    pictures = demo_pictures()
    assert len({picture.name for picture in pictures}) == 4
    for picture in pictures:
        assert picture.labels
        assert load_picture(picture.path, 64).shape == (64, 64, 3)


def test_pictures_are_found_without_importing_their_packages() -> None:
    """A fresh interpreter: scikit-image alone would take seconds."""
    program = (
        "import sys, isthmus_models as models; models.demo_pictures();"
        "models.calibration_pictures(1, 8); models.evaluation_pictures(1, 8);"
        "print(sorted({'skimage', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "[]\n"


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.bmp", "c.webp", "d.jpg"):
        save_gradient(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    found = picture_files([tmp_path])
    assert [path.name for path in found] == ["a.bmp", "b.PNG", "c.webp", "d.jpg"]
    assert {load_picture(path, 16).shape for path in found} == {(16, 16, 3)}


def test_an_empty_folder_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(PictureError, match="no pictures in this folder"):
        picture_files([tmp_path])


def test_the_centre_square_of_a_picture_is_loaded(tmp_path: Path) -> None:
    """Of 40 columns from 0 to 255 the square at 8/(8+32) of 30 rows keeps the middle six."""
    picture = load_picture(save_gradient(tmp_path / "wide.png"), 8)
    assert 100 < picture.min() < picture.max() < 155
    assert abs(picture.mean() - 127.5) < 2


def test_a_missing_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"gone\.png: no such file"):
        load_picture(tmp_path / "gone.png", 8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp"])
def test_a_truncated_picture_is_refused(tmp_path: Path, suffix: str) -> None:
    path = save_gradient(tmp_path / f"whole.{suffix}", 400, 300)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(PictureError, match=f"whole.{suffix}: cannot be decoded"):
        load_picture(path, 8)


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("not a picture")
    with pytest.raises(PictureError, match="cannot be decoded as a picture"):
        load_picture(path, 8)


def test_an_absurdly_large_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """Ten thousand megapixels, of which the file holds the header alone."""
    path = save_gradient(tmp_path / "huge.bmp")
    header = bytearray(path.read_bytes())
    header[18:26] = (100_000).to_bytes(4, "little") * 2
    path.write_bytes(header)
    with pytest.raises(PictureError, match=r"huge\.bmp.*(pixels|decompression bomb)"):
        load_picture(path, 8)


def test_a_missing_package_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(ConfigError, match=r"no_such_package is not installed; pip install"):
        package_file("no_such_package", "photo.png")


def test_a_file_that_a_package_does_not_hold_is_named() -> None:
    with pytest.raises(ConfigError, match=r"package PIL holds no photo\.png"):
        package_file("PIL", "photo.png")
