"""Pictures as items, for networks that take the picture itself or a float image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isthmus import ConfigError, TensorSpec, load_picture, picture_files
from isthmus.picture_files import PICTURE_SUFFIXES
from isthmus_partitioner.config import UInt8Array
from isthmus_partitioner.runtime import AnyArray
from isthmus_partitioner.samples import Samples, limited

__all__ = ["MOST_PICTURES", "PictureInput", "Scale", "picture_input", "pictures_in"]

MOST_PICTURES = 200  # more make no interval that anybody needs, and every rung runs all of them
_LEAST_SIDE = 8
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of ITU-R BT.601


@dataclass(frozen=True, slots=True)
class Scale:
    """What a float image is made by: (pixel - mean) / std, pixels 0-255, one value or three."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def grey(self) -> "Scale":
        """The same for one channel."""
        return Scale((float(np.mean(self.mean)),), (float(np.mean(self.std)),))


@dataclass(frozen=True, slots=True)
class PictureInput:
    """How an input takes a picture: `channels` 1 (grey) or 3, at the front or at the end."""

    spec: TensorSpec
    height: int
    width: int
    channels: int
    channels_first: bool

    @property
    def is_float(self) -> bool:
        """Whether it wants scaled pixels."""
        return self.spec.data_type != "uint8"

    def samples(
        self, pictures: UInt8Array, sources: Sequence[str], scale: Scale | None = None
    ) -> Samples:
        """Pictures uint8 RGB [n,height,width,3] as the input takes them.

        A float input gets them by `scale`, a uint8 one as they are.
        """
        pixels: AnyArray = _grey(pictures) if self.channels == 1 else pictures
        if self.is_float:
            pixels = _scaled(pixels, scale or Scale())
        elif self.channels == 1:
            pixels = np.rint(pixels.astype(np.float32)).astype(np.uint8)
        if self.channels_first:
            pixels = np.moveaxis(pixels, -1, 1)
        rows = np.ascontiguousarray(pixels, dtype=self.spec.data_type)
        return Samples({self.spec.name: rows}, tuple(sources))


def picture_input(spec: TensorSpec) -> PictureInput | None:
    """How this input takes pictures; None if it does not look as if it did.

    It does if it is uint8 or float, [C,H,W] or [H,W,C] with one or three channels.
    """
    is_pixels = spec.data_type == "uint8" or spec.data_type.startswith("float")
    if not is_pixels or len(spec.shape) != 3:
        return None
    first = spec.shape[0] in {1, 3}
    channels, height, width = spec.shape if first else (spec.shape[2], *spec.shape[:2])
    if channels not in {1, 3} or min(height, width) < _LEAST_SIDE:
        return None
    return PictureInput(spec, height, width, channels, first)


def pictures_in(
    folder: Path, height: int, width: int, most: int = MOST_PICTURES
) -> tuple[UInt8Array, tuple[str, ...], tuple[str, ...]]:
    """The pictures in a folder: uint8 RGB [n,height,width,3], their sources, notes.

    Each sub-folder with pictures is a source; where there is none, each file is one. Of more than
    `most` pictures some are taken from each source, and a note says so. Raises ConfigError for a
    folder that is not there, PictureError for one without pictures, or a picture that cannot be
    decoded.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; --pictures takes a folder of pictures")
    files, sources = _files_in(folder)
    chosen = limited(sources, most)
    notes = (
        (f"{folder}: {len(chosen)} of {len(files)} pictures were used, some of each source",)
        if len(chosen) < len(files)
        else ()
    )
    pictures = [load_picture(files[row], height, width) for row in chosen]
    return np.stack(pictures), tuple(sources[row] for row in chosen), notes


def _files_in(folder: Path) -> tuple[list[Path], list[str]]:
    by_scene = sorted(path for path in folder.iterdir() if path.is_dir() and _has_pictures(path))
    if not by_scene:
        files = picture_files([folder])
        return files, [file.name for file in files]
    scenes = {scene.name: picture_files([scene]) for scene in by_scene}
    if _has_pictures(folder):  # what lies beside the scenes is one, too
        scenes["."] = picture_files([folder])
    files = [file for found in scenes.values() for file in found]
    return files, [scene for scene, found in scenes.items() for _ in found]


def _has_pictures(folder: Path) -> bool:
    return any(
        path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES for path in folder.iterdir()
    )


def _grey(pictures: UInt8Array) -> NDArray[np.float32]:
    return (pictures.astype(np.float32) @ _GREY)[..., None]


def _scaled(pixels: AnyArray, scale: Scale) -> AnyArray:
    mean, std = (np.asarray(each, np.float32) for each in (scale.mean, scale.std))
    return (pixels.astype(np.float32) - mean) / std
