"""Items for a model from an .npz file: rows of arrays that go by the names of its inputs.

The file may come from a stranger: nothing is unpickled, headers are compared with the model, and
one row after the other is read, so that memory is taken for what is there and not for what a header
announces.
"""

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from isthmus import ConfigError, TensorSpec
from isthmus.regular_files import open_regular
from isthmus_edge.runtimes import AnyArray

__all__ = ["read_rows"]

_NOT_AN_INPUT = "sources"  # `isthmus build` reads from it where each row was taken from


def read_rows(path: Path, inputs: Sequence[TensorSpec]) -> Iterator[dict[str, AnyArray]]:
    """Each row of the file: an array [*shape] for each input, by its name.

    The file holds an array [n,*shape] for each input. Floats are converted to the input's floats,
    integers to wider ones. Raises ConfigError that says what the model wants.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive, ExitStack() as stack:
            columns = _columns(archive, inputs, stack)
            for _ in range(_count(columns)):
                yield {name: column.next_row() for name, column in columns.items()}
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{path}: cannot be read ({reason}); give an .npz file") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ConfigError(
            f"{path}: no .npz file, or not all of it ({error}); write it with numpy.savez"
        ) from error
    except ValueError as error:
        wanted = ", ".join(f"{s.name!r} {s.data_type} [{_listed(('n', *s.shape))}]" for s in inputs)
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"{path}: {reason}; the model takes {wanted}") from error


@dataclass(frozen=True, slots=True)
class _Column:
    """One array of the file, read row by row; `count` is what its header announces."""

    spec: TensorSpec
    member: IO[bytes]
    data_type: np.dtype[np.generic]
    count: int

    def next_row(self) -> AnyArray:
        row_bytes = self.spec.size * self.data_type.itemsize
        content = self.member.read(row_bytes)
        if len(content) != row_bytes:
            raise ValueError(f"array {self.spec.name!r} ends before its {self.count} rows")
        row = np.frombuffer(content, self.data_type).reshape(self.spec.shape)
        return row.astype(self.spec.data_type, copy=False)


def _columns(
    archive: zipfile.ZipFile, inputs: Sequence[TensorSpec], stack: ExitStack
) -> Mapping[str, _Column]:
    names = {member.removesuffix(".npy") for member in archive.namelist()}
    wanted = {spec.name for spec in inputs}
    if missing := sorted(wanted - names):
        raise ValueError(f"array {missing[0]!r} is missing")
    if strangers := sorted(names - wanted - {_NOT_AN_INPUT}):
        raise ValueError(f"array {strangers[0]!r} is none of its inputs")
    return {
        spec.name: _column(stack.enter_context(archive.open(f"{spec.name}.npy")), spec)
        for spec in inputs
    }


def _column(member: IO[bytes], spec: TensorSpec) -> _Column:
    version = npy.read_magic(member)
    if version not in {(1, 0), (2, 0)}:
        raise ValueError(f"array {spec.name!r} is of the unknown format {version}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, data_type = read(member)
    if not shape or shape[1:] != spec.shape or not _fits(data_type, np.dtype(spec.data_type)):
        raise ValueError(f"array {spec.name!r} is {data_type.name} [{_listed(shape)}]")
    if is_fortran and math.prod(shape[1:]) > 1:
        raise ValueError(f"array {spec.name!r} is in Fortran order (numpy.ascontiguousarray)")
    return _Column(spec, member, data_type, shape[0])


def _count(columns: Mapping[str, _Column]) -> int:
    counts = {name: column.count for name, column in columns.items()}
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{name!r} {count}" for name, count in counts.items())
        raise ValueError(f"its arrays have different numbers of rows: {listed}")
    return min(counts.values())


def _fits(found: np.dtype[np.generic], wanted: np.dtype[np.generic]) -> bool:
    """Floats to any float, integers to those that hold them, else the same."""
    both_float = found.kind == wanted.kind == "f"
    both_integer = {found.kind, wanted.kind} <= {"i", "u"}
    return both_float or (both_integer and np.can_cast(found, wanted, "safe")) or found == wanted


def _listed(shape: Sequence[int | str]) -> str:
    return ",".join(map(str, shape))
