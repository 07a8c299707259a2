"""A kit as a device reads it: a stranger's directory, trusted after every byte was checked."""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from isthmus import BundleError, TensorSpec, check_file
from isthmus.profiles import INPUTS_NAME, KIT_NAME, Kit, decode_kit
from isthmus_edge.profiling.session import AnyArray, Feed

__all__ = ["OpenKit", "open_kit", "read_kit"]

_MAX_KIT_BYTES = 4 * 1024 * 1024
_WAY_OUT = "copy the kit again, or write it again with `isthmus profile --kit DIR MODEL`"


@dataclass(frozen=True, slots=True)
class OpenKit:
    """A kit on disk; `sha256` is its fingerprint."""

    folder: Path
    kit: Kit
    sha256: str

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return self.folder / name

    def items(self) -> tuple[Feed, ...]:
        """Each real input, as the graph takes it: a batch of one. BundleError if damaged."""
        path = self.file(INPUTS_NAME)
        try:
            arrays = _arrays(path, self.kit)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path}: cannot be read ({error}); {_WAY_OUT}") from error
        return tuple(
            {
                spec.name: array[row : row + 1].reshape(spec.graph_shape)
                for spec, array in zip(self.kit.inputs, arrays, strict=True)
            }
            for row in range(self.kit.items)
        )


def open_kit(folder: Path) -> OpenKit:
    """Read `kit.json` and check size and sha256 of every file; BundleError names the wrong one."""
    opened = read_kit(folder)
    for entry in opened.kit.files:
        check_file(opened.file(entry.path), entry, KIT_NAME, _WAY_OUT)
    return opened


def read_kit(folder: Path) -> OpenKit:
    """Read `kit.json` alone; BundleError if it is missing or wrong."""
    path = folder / KIT_NAME
    try:
        if path.stat().st_size > _MAX_KIT_BYTES:
            raise BundleError(f"{path}: larger than any kit's; {_WAY_OUT}")
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{folder}: no profile kit here ({error.strerror}: {KIT_NAME}); write one with "
            "`isthmus profile --kit DIR MODEL` where the model is, and copy it here"
        ) from error
    return OpenKit(folder, decode_kit(data, str(path)), hashlib.sha256(data).hexdigest())


def _arrays(path: Path, kit: Kit) -> list[AnyArray]:
    """Every input [items,*shape]; ValueError if the file announces anything but that."""
    names = [f"input_{index}" for index in range(len(kit.inputs))]
    with zipfile.ZipFile(path) as archive:
        for name, spec in zip(names, kit.inputs, strict=True):
            with archive.open(f"{name}.npy") as file:
                _check_announced(file, spec, kit.items)
    with np.load(path, allow_pickle=False) as arrays:
        return [arrays[name] for name in names]


def _check_announced(file: IO[bytes], spec: TensorSpec, items: int) -> None:
    """Look at the header of an array before memory is taken for what it announces."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"input {spec.name!r} is an array of an unknown format")
    shape, _, data_type = np.lib.format.read_array_header_1_0(file)
    if shape != (items, *spec.shape) or data_type != np.dtype(spec.data_type):
        raise ValueError(
            f"input {spec.name!r} is {data_type} {list(shape)}, "
            f"announced was {spec.data_type} {[items, *spec.shape]}"
        )
