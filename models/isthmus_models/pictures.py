"""Photographs that come inside pip packages, as uint8 RGB pictures.

Calibration and evaluation never share a photograph: ranges and biases fitted on the pictures that
judge them look better than they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isthmus.errors import ConfigError, PictureError
from isthmus_models.package_files import package_file

__all__ = [
    "CALIBRATION_PHOTOS",
    "DEMO_PHOTOS",
    "EVALUATION_PHOTOS",
    "DemoPicture",
    "Photo",
    "calibration_pictures",
    "demo_pictures",
    "evaluation_pictures",
]

UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph by name; `file` lies in the installed package `package`."""

    name: str
    package: str
    file: str

    @property
    def path(self) -> Path:
        """Where it lies; ConfigError if the package is missing."""
        return package_file(self.package, self.file)


@dataclass(frozen=True, slots=True)
class DemoPicture:
    """A photograph and the ImageNet labels that truly name what it shows."""

    name: str
    path: Path
    labels: frozenset[str]


def _skimage(name: str, suffix: str = "png") -> Photo:
    return Photo(name, "skimage", f"data/{name}.{suffix}")


_CHELSEA = _skimage("chelsea")
_COFFEE = _skimage("coffee")
_CAMERA = _skimage("camera")
_CHINA = Photo("china", "sklearn", "datasets/images/china.jpg")
_FLOWER = Photo("flower", "sklearn", "datasets/images/flower.jpg")
_HOPPER = Photo("grace_hopper", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg")

# What is in the picture, not what a network says about it: a tabby (whose other name in ImageNet,
# "tiger cat", is called by its definition here), espresso, a tower of the Summer Palace, a tripod.
DEMO_PHOTOS: dict[Photo, frozenset[str]] = {
    _CHELSEA: frozenset({"tabby cat", "a cat having a striped coat"}),
    _COFFEE: frozenset({"espresso"}),
    _CHINA: frozenset({"palace"}),
    _CAMERA: frozenset({"tripod"}),
}
EVALUATION_PHOTOS = (_CHELSEA, _COFFEE, _CHINA, _FLOWER, _HOPPER, _CAMERA)
# The second half is no everyday scene, but widens the ranges that quantisation sees.
CALIBRATION_PHOTOS = (
    _skimage("astronaut"),
    _skimage("motorcycle_left"),
    _skimage("rocket", "jpg"),
    _skimage("coins"),
    _skimage("grass"),
    _skimage("gravel"),
    _skimage("brick"),
    _skimage("ihc"),
    _skimage("retina", "jpg"),
    _skimage("hubble_deep_field", "jpg"),
)

_CALIBRATION_SEED = 1
_EVALUATION_SEED = 2
_LEAST_CROP = 0.5  # of the shorter side: smaller crops of one object show nothing to recognise


def demo_pictures() -> tuple[DemoPicture, ...]:
    """Four photographs of things that ImageNet has a name for; load them with `load_picture`."""
    return tuple(
        DemoPicture(photo.name, photo.path, labels) for photo, labels in DEMO_PHOTOS.items()
    )


def calibration_pictures(count: int, size: int) -> UInt8Array:
    """`count` crops, uint8 RGB [count,size,size,3], of the photos in CALIBRATION_PHOTOS.

    The first pictures are the same whatever `count` is. ConfigError for a count or size below 1
    or a package that is not installed.
    """
    return _crops(CALIBRATION_PHOTOS, count, size, _CALIBRATION_SEED)


def evaluation_pictures(count: int, size: int) -> UInt8Array:
    """As `calibration_pictures`, of EVALUATION_PHOTOS: natural photos that it never sees."""
    return _crops(EVALUATION_PHOTOS, count, size, _EVALUATION_SEED)


def _crops(photos: Sequence[Photo], count: int, size: int, seed: int) -> UInt8Array:
    """Crops that take turns over the photos, squares of varying place, scale and direction."""
    if count < 1 or size < 1:
        raise ConfigError(f"{count} pictures of {size} pixels: count and size must be 1 or more")
    images = [_open(photo.path) for photo in photos[:count]]
    random = np.random.default_rng(seed)
    return np.stack([_crop(images[i % len(images)], size, random) for i in range(count)])


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"{path}: cannot be decoded ({error}); reinstall its package") from error


def _crop(image: Image.Image, size: int, random: np.random.Generator) -> UInt8Array:
    scale, across, down, flip = random.random(4)
    side = min(image.size) * (_LEAST_CROP + (1 - _LEAST_CROP) * scale)
    left, top = (image.width - side) * across, (image.height - side) * down
    box = (left, top, left + side, top + side)
    square = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
    return square[:, ::-1] if flip < 0.5 else square
