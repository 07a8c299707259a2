"""Arrays of a kit's `.npz` files: looked at before memory is taken for what they announce."""

import tokenize
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isthmus import BundleError, TensorSpec
from isthmus_edge.profiling.session import AnyArray

__all__ = ["WAY_OUT", "ArrayFile"]

WAY_OUT = "copy the kit again, or write it again with `isthmus profile --kit DIR MODEL`"

# What zipfile and numpy raise for a file that is none, or for a header that is no Python literal.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    SyntaxError,
    RecursionError,
    zipfile.BadZipFile,
    tokenize.TokenError,
)


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """One `.npz` of a kit; `what` its arrays are, for people."""

    path: Path
    what: str

    def read(self, specs: Mapping[str, TensorSpec], items: int) -> list[AnyArray]:
        """The arrays of these names, each [items,*shape].

        BundleError where the file holds or announces anything else.
        """
        try:
            with zipfile.ZipFile(self.path) as archive:
                entries = [archive.getinfo(f"{name}.npy") for name in specs]
                for entry, spec in zip(entries, specs.values(), strict=True):
                    self._check_announced(archive, entry, spec, items)
                return [_array(archive, entry) for entry in entries]
        except _UNREADABLE as error:
            raise BundleError(f"{self.path}: cannot be read ({error}); {WAY_OUT}") from error

    def _check_announced(
        self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, spec: TensorSpec, items: int
    ) -> None:
        """ValueError unless header and size are those of the array [items,*shape]."""
        what = f"{self.what} {spec.name!r}"
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise ValueError(f"{what} is packed")  # its true size would show too late
        with archive.open(entry) as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"{what} is an array of an unknown format")
            shape, _, data_type = np.lib.format.read_array_header_1_0(file)
            held_bytes = entry.file_size - file.tell()
        if shape != (items, *spec.shape) or data_type != np.dtype(spec.data_type):
            raise ValueError(
                f"{what} is {data_type} {list(shape)}, "
                f"announced was {spec.data_type} {[items, *spec.shape]}"
            )
        if held_bytes != spec.nbytes * items:
            raise ValueError(f"{what} has {held_bytes} bytes instead of {spec.nbytes * items}")


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> AnyArray:
    with archive.open(entry) as file:
        array: AnyArray = np.lib.format.read_array(file, allow_pickle=False)
    return array
