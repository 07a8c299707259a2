"""Items that a user saved as arrays: .npz files with rows for each input.

The files may come from a stranger: nothing is unpickled, and what an array's header announces is
compared with the network and a limit before memory is taken for it.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from isthmus import ConfigError, TensorSpec
from isthmus_partitioner.runtime import AnyArray
from isthmus_partitioner.samples import Samples, joined

__all__ = ["SOURCES", "read_arrays"]

SOURCES = "sources"
MOST_BYTES = 1 << 31
_MOST_HEADER_BYTES = 16_384
_SUFFIX = ".npy"
# RuntimeError: an encrypted member; NotImplementedError: a compression that this Python lacks.
_ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)


def read_arrays(files: Sequence[Path], inputs: Sequence[TensorSpec]) -> Samples:
    """The rows in .npz files, for networks with these inputs.

    Every file holds an array [n,*shape] for each input, by its name, and may hold an array
    `sources` of n strings; without it the file is one source. Floats are converted to the input's
    floats, integers to wider ones.

    Raises ConfigError that names the file and lists what the network wants, or the first row that
    holds NaN or infinity.
    """
    if not files:
        raise ConfigError("no file of inputs was given; name .npz files")
    left = MOST_BYTES
    parts = []
    for file in files:
        part = _File(file, tuple(inputs), left).samples()
        left -= sum(array.nbytes for array in part.arrays.values())
        parts.append(part)
    return joined(parts)


@dataclass(frozen=True, slots=True)
class _Header:
    """What a member of the archive says of itself; its values begin after `start` bytes."""

    shape: tuple[int, ...]
    is_fortran: bool
    data_type: np.dtype[np.generic]
    start: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.data_type.itemsize

    def __str__(self) -> str:
        return f"{self.data_type.name} {list(self.shape)}"


@dataclass(frozen=True, slots=True)
class _File:
    """One archive; no more than `most` bytes are taken from it."""

    path: Path
    inputs: tuple[TensorSpec, ...]
    most: int

    def samples(self) -> Samples:
        """All rows."""
        with self._opened() as archive:
            headers = {name: self._header(archive, name) for name in self._names(archive)}
            count = self._checked(headers)
            arrays = {
                spec.name: self._converted(spec, self._read(archive, spec.name, headers[spec.name]))
                for spec in self.inputs
            }
            return Samples(arrays, self._sources(archive, headers, count))

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(f"{self.path}: cannot be read ({reason}); name .npz files") from error
        except _ARCHIVE_ERRORS as error:
            raise ConfigError(
                f"{self.path}: no .npz file, or not all of it ({error}); write it with numpy.savez"
            ) from error

    def _names(self, archive: zipfile.ZipFile) -> list[str]:
        """Of the arrays: all inputs, and perhaps the sources."""
        members = set(archive.namelist())
        wanted = {spec.name for spec in self.inputs}
        missing = sorted(name for name in wanted if name + _SUFFIX not in members)
        strangers = sorted(members - {name + _SUFFIX for name in (*wanted, SOURCES)})
        if missing or strangers:
            wrong = [f"misses {name!r}" for name in missing]
            wrong += [
                f"holds {name.removesuffix(_SUFFIX)!r}, which is no input" for name in strangers[:3]
            ]
            raise self._refused(", ".join(wrong))
        return [member.removesuffix(_SUFFIX) for member in sorted(members)]

    def _header(self, archive: zipfile.ZipFile, name: str) -> _Header:
        with archive.open(f"{name}{_SUFFIX}") as member:
            start = io.BytesIO(member.read(_MOST_HEADER_BYTES))
        try:
            version = npy.read_magic(start)
            if version > (2, 0):
                raise ValueError(f"version {version} of the format")
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            header = _Header(*read(start), start.tell())
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise self._refused(f"array {name!r} cannot be read ({reason})") from error
        if header.data_type.hasobject:
            raise self._refused(f"array {name!r} holds Python objects, which are not unpickled")
        return header

    def _checked(self, headers: Mapping[str, _Header]) -> int:
        """How many rows all of them have."""
        for spec in self.inputs:
            header = headers[spec.name]
            if header.shape[1:] != spec.shape or not header.shape:
                raise self._refused(f"{spec.name!r} is {header}")
            if not _fits(header.data_type, np.dtype(spec.data_type)):
                raise self._refused(f"{spec.name!r} is {header}")
        counts = {headers[spec.name].shape[0] for spec in self.inputs}
        if len(counts) != 1 or 0 in counts:
            described = ", ".join(f"{each.name!r} {headers[each.name]}" for each in self.inputs)
            raise self._refused(f"needed is the same number of rows, 1 or more, in {described}")
        nbytes = sum(header.nbytes for header in headers.values())
        if nbytes > self.most:
            raise ConfigError(
                f"{self.path}: {nbytes:,} bytes of arrays where {self.most:,} are left of "
                f"{MOST_BYTES:,}; give fewer rows"
            )
        return counts.pop()

    def _sources(
        self, archive: zipfile.ZipFile, headers: Mapping[str, _Header], count: int
    ) -> tuple[str, ...]:
        header = headers.get(SOURCES)
        if header is None or any(spec.name == SOURCES for spec in self.inputs):
            return (self.path.name,) * count
        if header.shape != (count,) or header.data_type.kind != "U":
            raise self._refused(f"{SOURCES!r} is {header}, not a string for each of {count} rows")
        return tuple(str(source) for source in self._read(archive, SOURCES, header))

    def _read(self, archive: zipfile.ZipFile, name: str, header: _Header) -> AnyArray:
        with archive.open(f"{name}{_SUFFIX}") as member:
            member.seek(header.start)
            content = member.read(header.nbytes)
        if len(content) != header.nbytes:
            raise self._refused(f"array {name!r} has {len(content):,} of {header.nbytes:,} bytes")
        array = np.frombuffer(content, header.data_type)
        return array.reshape(header.shape, order="F" if header.is_fortran else "C")

    def _converted(self, spec: TensorSpec, array: AnyArray) -> AnyArray:
        """As the network takes it; nothing can be fitted to or compared on NaN or infinity."""
        with np.errstate(over="ignore"):
            converted: AnyArray = array.astype(spec.data_type, copy=False)
        if converted.dtype.kind == "f" and not np.isfinite(converted).all():
            row = next(row for row, item in enumerate(converted) if not np.isfinite(item).all())
            raise ConfigError(
                f"{self.path}: {spec.name!r} holds NaN or infinity as {spec.data_type}, first in "
                f"row {row} (counted from 0); leave such rows out, or replace the values"
            )
        return converted

    def _refused(self, what: str) -> ConfigError:
        wanted = ", ".join(
            f"{spec.name!r} {spec.data_type} {['n', *spec.shape]}".replace("'n'", "n")
            for spec in self.inputs
        )
        return ConfigError(
            f"{self.path}: {what}; the network wants {wanted}, and {SOURCES!r} may name where "
            "each row comes from"
        )


def _fits(found: np.dtype[np.generic], wanted: np.dtype[np.generic]) -> bool:
    """Floats to any float, integers to those that hold them, else the same."""
    both_float = found.kind == wanted.kind == "f"
    both_integer = {found.kind, wanted.kind} <= {"i", "u"}
    return both_float or (both_integer and np.can_cast(found, wanted, "safe")) or found == wanted
