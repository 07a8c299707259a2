"""Results kept between commands: JSON records that know what they were made from."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from isthmus import BundleError
from isthmus_partitioner.folders import whole_file

__all__ = ["load_record", "save_record", "writing"]

Record = TypeVar("Record")


class _Kept(msgspec.Struct, Generic[Record], frozen=True):
    key: str
    value: Record


def save_record(path: Path, key: str, value: msgspec.Struct) -> None:
    """Write a record; `key` stands for everything that it was made from."""
    data = msgspec.json.format(msgspec.json.encode(_Kept(key, value)), indent=1)
    with whole_file(path) as file:
        file.write(data + b"\n")


def load_record(path: Path, key: str, kind: type[Record]) -> Record | None:
    """The record, or None where there is none of this key and layout, and it has to be made.

    A directory that cannot be read shows when the new record is written.
    """
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept[kind])  # type: ignore[valid-type]
    except (OSError, UnicodeDecodeError, RecursionError, msgspec.DecodeError):
        return None
    return kept.value if kept.key == key else None


@contextlib.contextmanager
def writing(work: Path) -> Iterator[None]:
    """Make the work directory; a full disk or a missing right becomes a BundleError.

    What the block writes into it has to name its file in an OSError, as `whole_file` does: an error
    without a name is taken for one of the temporary folder, which libraries use.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise BundleError(_explained(error, work)) from error


def _explained(error: OSError, work: Path) -> str:
    reason = error.strerror or str(error)
    temporary = Path(tempfile.tempdir or "TMPDIR")
    place = Path(error.filename2 or error.filename or temporary)
    if place.is_relative_to(temporary) and not place.is_relative_to(work):
        return (
            f"{temporary}: the temporary folder cannot be used ({reason}); "
            "make room, or name another in TMPDIR"
        )
    return (
        f"{work}: the work directory cannot be used ({reason}: {place}); "
        "make room, or choose another directory"
    )
