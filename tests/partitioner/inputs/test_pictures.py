"""Pictures from a folder, as each kind of input takes them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isthmus import ConfigError, PictureError, TensorSpec
from isthmus_partitioner.inputs.pictures import Scale, picture_input, pictures_in

SIZE = (8, 10)


def spec(data_type: str, *shape: int) -> TensorSpec:
    return TensorSpec(name="x", data_type=data_type, shape=shape)  # type: ignore[arg-type]


def paint(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 16), (grey, grey, grey)).save(path)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 8, 10), (8, 10, 3, True)),
        ((8, 10, 3), (8, 10, 3, False)),
        ((1, 8, 10), (8, 10, 1, True)),
        ((8, 10, 1), (8, 10, 1, False)),
    ],
)
@pytest.mark.parametrize("data_type", ["uint8", "float32", "float16"])
def test_an_input_that_looks_like_a_picture_is_taken_for_one(
    data_type: str, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    found = picture_input(spec(data_type, *shape))
    assert found is not None
    assert (found.height, found.width, found.channels, found.channels_first) == expected
    pictures = np.full((2, *SIZE, 3), 100, np.uint8)
    samples = found.samples(pictures, ("a", "b"))
    assert samples.sources == ("a", "b")
    assert samples.arrays["x"].shape == (2, *shape)
    assert samples.arrays["x"].dtype.name == data_type
    np.testing.assert_allclose(samples.arrays["x"].astype(np.float32), 100, rtol=1e-3)


@pytest.mark.parametrize(
    "other",
    [
        spec("float32", 4, 8, 10),
        spec("float32", 3, 8),
        spec("float32", 3, 2, 10),
        spec("int64", 3, 8, 10),
    ],
)
def test_other_inputs_are_not(other: TensorSpec) -> None:
    assert picture_input(other) is None


def test_a_float_image_is_scaled_channel_by_channel() -> None:
    found = picture_input(spec("float32", 3, *SIZE))
    assert found is not None
    pictures = np.broadcast_to(np.array([10, 20, 30], np.uint8), (1, *SIZE, 3))
    scaled = found.samples(pictures, ("a",), Scale((10, 10, 10), (1, 2, 4))).arrays["x"]
    np.testing.assert_array_equal(scaled[0, :, 0, 0], [0, 5, 5])


def test_a_grey_input_gets_the_brightness() -> None:
    found = picture_input(spec("float32", 1, *SIZE))
    assert found is not None
    pictures = np.broadcast_to(np.array([255, 0, 0], np.uint8), (1, *SIZE, 3))
    scale = Scale((100, 130, 70), (25, 50, 75)).grey()
    assert scale == Scale((100,), (50,))
    value = found.samples(pictures, ("a",), scale).arrays["x"][0, 0, 0, 0]
    assert value == pytest.approx((255 * 0.299 - 100) / 50, rel=1e-5)


def test_each_file_of_a_folder_is_a_source(tmp_path: Path) -> None:
    for index in range(3):
        paint(tmp_path / f"{index}.png", 50 * index)
    (tmp_path / "notes.txt").write_text("no picture")
    pictures, sources, notes = pictures_in(tmp_path, *SIZE)
    assert sources == ("0.png", "1.png", "2.png")
    assert notes == ()
    assert pictures.shape == (3, *SIZE, 3)
    np.testing.assert_array_equal(pictures[:, 0, 0, 0], [0, 50, 100])


def test_each_sub_folder_is_a_source(tmp_path: Path) -> None:
    for scene, count in (("beach", 2), ("attic", 1)):
        for index in range(count):
            paint(tmp_path / scene / f"{index}.png", 10)
    (tmp_path / "empty").mkdir()
    assert pictures_in(tmp_path, *SIZE)[1] == ("attic", "beach", "beach")
    paint(tmp_path / "beside.png", 10)
    assert pictures_in(tmp_path, *SIZE)[1] == ("attic", "beach", "beach", ".")


def test_of_too_many_pictures_some_of_each_source_are_taken(tmp_path: Path) -> None:
    for scene, count in (("a", 9), ("b", 2)):
        for index in range(count):
            paint(tmp_path / scene / f"{index}.png", 10)
    pictures, sources, notes = pictures_in(tmp_path, *SIZE, most=5)
    assert (len(pictures), sources) == (5, ("a", "a", "a", "b", "b"))
    assert ["5 of 11 pictures" in note for note in notes] == [True]


def test_a_folder_that_holds_no_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        pictures_in(tmp_path / "nowhere", *SIZE)
    with pytest.raises(PictureError, match="no pictures"):
        pictures_in(tmp_path, *SIZE)
