"""Google's Magika (Apache-2.0): what kind of file some bytes are, and files to try it on.

The files are the standard library's own, which every interpreter carries. A file is a source, and
calibration and evaluation have folders of their own.
"""

import sysconfig
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from isthmus.errors import ConfigError, ModelError
from isthmus_models.drawn import Part
from isthmus_models.items import Items
from isthmus_models.lone_files import lone_file

__all__ = ["FILE_BYTES", "file_features", "file_kinds", "file_typer", "files"]

FILE_BYTES = 2048  # the first 1,024 and the last
_HALF = FILE_BYTES // 2
_BLOCK = 4096  # white space is stripped from as much
_PADDING = 256  # no byte
_FOLDER = "models/standard_v3_3"
_REQUIREMENT = "magika==1.0.3"
_FOLDERS: dict[Part, tuple[str, ...]] = {
    "calibration": ("asyncio", "email", "ensurepip", "http", "idlelib", "lib2to3"),
    "evaluation": ("ctypes", "json", "msilib", "pydoc_data", "unittest", "venv", "xml"),
}


class _Config(msgspec.Struct):
    target_labels_space: tuple[str, ...]


def file_typer() -> Path:
    """bytes int32 [N,2048], 0 to 256 -> target_label float32 [N,214], probabilities of kinds."""
    return lone_file("magika", f"{_FOLDER}/model.onnx", _REQUIREMENT)


@cache
def file_kinds() -> tuple[str, ...]:
    """The kind of file of each output; ModelError if the package is damaged."""
    path = lone_file("magika", f"{_FOLDER}/config.min.json", _REQUIREMENT)
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Config).target_labels_space
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"{path}: no list of kinds ({error}); reinstall magika") from error


def file_features(content: bytes) -> NDArray[np.int32]:
    """What Magika looks at, int32 [2048]: its own "features extraction v2"."""
    beginning = content[:_BLOCK].lstrip()[:_HALF]
    end = content[-_BLOCK:].rstrip()[-_HALF:]
    features = np.full(FILE_BYTES, _PADDING, np.int32)
    features[: len(beginning)] = list(beginning)
    features[FILE_BYTES - len(end) :] = list(end)
    return features


def files(part: Part, count: int) -> Items:
    """Files of the standard library, each its own source.

    ConfigError for a count below 1 or beyond what there is.
    """
    found = _files(part)
    if not 1 <= count <= len(found):
        raise ConfigError(f"{count} files; there are 1 to {len(found)}")
    root = Path(sysconfig.get_path("stdlib"))
    arrays = {"bytes": np.stack([file_features(path.read_bytes()) for path in found[:count]])}
    return arrays, tuple(path.relative_to(root).as_posix() for path in found[:count])


@cache
def _files(part: Part) -> tuple[Path, ...]:
    """Taking turns over the suffixes: most are sources in Python."""
    root = Path(sysconfig.get_path("stdlib"))
    kinds: dict[str, list[Path]] = {}
    for name in _FOLDERS[part]:
        for path in sorted(each for each in (root / name).rglob("*") if _is_usable(each)):
            kinds.setdefault(path.suffix, []).append(path)
    longest = max(map(len, kinds.values()), default=0)
    return tuple(
        paths[turn] for turn in range(longest) for paths in kinds.values() if turn < len(paths)
    )


def _is_usable(path: Path) -> bool:
    """Compiled files depend on who ran what before."""
    return path.is_file() and path.suffix != ".pyc" and path.stat().st_size > 64
