"""Directories and files that a reader sees whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from isthmus import BundleError

__all__ = ["whole_file", "whole_folder"]


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to fill, which becomes `path` when the block ends well and vanishes when it does not.

    It lies beside `path` under a temporary name, then is renamed. Lets OSError pass, always with
    the name of a file: a full disk gives it none.
    """
    partial = _beside(path)
    try:
        with partial.open("xb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        with suppress(OSError):  # there is none where all went well, or nothing could be written
            partial.unlink()


@contextmanager
def whole_folder(out: Path, marker: str, what: str) -> Iterator[Path]:
    """A folder to fill, which becomes `out` when the block ends well and vanishes when it does not.

    It lies beside `out` under a temporary name, is synced, then renamed. What is at `out` is
    replaced if it is empty or holds the file `marker`, the sign of such a folder; BundleError if it
    is anything else, or if there is no room. `what` names the thing in messages.
    """
    _check_target(out, marker, what)
    partial = _beside(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        yield partial
        _sync(partial)
        _replace(out, partial)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BundleError(
            f"{out}: the {what} cannot be written "
            f"({reason}: {error.filename2 or error.filename or out}); "
            "make room, or choose another directory"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def _check_target(out: Path, marker: str, what: str) -> None:
    if out.is_dir():
        is_ours = (out / marker).is_file() or not any(out.iterdir())
    else:
        is_ours = not out.exists()
    if not is_ours:
        raise BundleError(
            f"{out}: exists and is not a {what} (it has no {marker}); "
            "choose another directory, or remove it"
        )


def _sync(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _replace(out: Path, partial: Path) -> None:
    """Rename; a directory cannot be renamed over a full one, so the old steps aside first."""
    if not out.exists():
        partial.rename(out)
        return
    old = partial.with_suffix(".old")
    out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
