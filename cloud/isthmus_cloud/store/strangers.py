"""What in a folder of the store no push has written: the store removes nothing of that.

A wrong path of the store (one level too high or too low, or somebody's home) makes versions of
folders that are none, and a version that goes takes all its files along.
"""

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NoReturn

from isthmus.manifest import LABELS_NAME, MANIFEST_NAME
from isthmus.signing import SIGNATURE_NAME

_OWN = frozenset({MANIFEST_NAME, SIGNATURE_NAME, f".{SIGNATURE_NAME}.partial"})  # of each version
_HALVES = ("device", "cloud")
_BUILT = re.compile(r"(device|cloud)/[^/]+\.(onnx|data|tflite|npy)|record/[^/]+\.json")

LOOK = "see that the path is that of the store, which holds NAME/VERSION"

__all__ = ["LOOK", "stranger_in"]


def stranger_in(folder: Path, paths: Collection[str] | None) -> str | None:
    """A file below `folder` that is none of a version's; None if there is none, as in an empty one.

    `paths` are the files of its manifest; None where that cannot be read: then those count that
    `isthmus build` writes, if a manifest or a half of a bundle is there. OSError if a folder cannot
    be looked into.
    """
    is_version = paths is not None or any(
        os.path.lexists(folder / name) for name in (MANIFEST_NAME, *_HALVES)
    )
    for path in _files(folder):
        if not is_version or not _belongs(path, paths):
            return _shown(path)
    return None


def _belongs(path: str, paths: Collection[str] | None) -> bool:
    if path in _OWN:
        return True
    if paths is not None:
        return path in paths
    return path == LABELS_NAME or _BUILT.fullmatch(path) is not None


def _files(folder: Path) -> Iterator[str]:
    """Files below it in order, by their paths. A link to a folder is none: what it leads to stays
    when the link goes."""
    for place, folders, names in os.walk(folder, onerror=_raise):
        folders.sort()
        for name in sorted(names):
            yield (Path(place) / name).relative_to(folder).as_posix()


def _shown(path: str) -> str:
    """One line of text, whatever the name is made of."""
    return path if path.isprintable() else path.encode("unicode_escape").decode("ascii")


def _raise(error: OSError) -> NoReturn:
    raise error
