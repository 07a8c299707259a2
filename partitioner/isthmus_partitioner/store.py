"""Results kept between commands: JSON records that know what they were made from."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from isthmus import BundleError

__all__ = ["load_record", "save_record", "writing"]

Record = TypeVar("Record")


class _Kept(msgspec.Struct, Generic[Record], frozen=True):
    key: str
    value: Record


def save_record(path: Path, key: str, value: msgspec.Struct) -> None:
    """Write a record; `key` stands for everything that it was made from."""
    data = msgspec.json.format(msgspec.json.encode(_Kept(key, value)), indent=1)
    partial = path.with_suffix(".partial")
    partial.write_bytes(data + b"\n")
    partial.replace(path)


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
    """Make the work directory; a full disk or a missing right becomes a BundleError."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise BundleError(
            f"{work}: the work directory cannot be used ({reason}: {error.filename or work}); "
            "make room, or choose another directory"
        ) from error
