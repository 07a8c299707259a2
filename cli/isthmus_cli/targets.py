"""Where a verb writes: what cannot be, or would destroy what is read, is refused at once."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from isthmus import ConfigError

__all__ = ["require_apart", "require_file", "require_folder"]


def require_file(out: Path, reads: Iterable[Path]) -> None:
    """ConfigError unless the file `out` of -o can be written, is none of `reads`, and in none."""
    for path in reads:
        if _is_in(out, path):
            where = f"in {path}, which" if path.is_dir() else "what"
            raise ConfigError(
                f"{out}: cannot be written, it is {where} this command reads; choose another file "
                "with -o"
            )
    try:
        is_file = out.is_file() or not out.exists()
        if is_file:
            _try(out.parent)
    except OSError as error:
        raise ConfigError(
            f"{out}: cannot be written ({error.strerror}); with -o, choose a file in a directory "
            "that is there and can be written to"
        ) from error
    if not is_file:
        what = "a directory" if out.is_dir() else "no ordinary file"
        raise ConfigError(f"{out}: is {what}; choose another file with -o")


def require_folder(out: Path, marker: str, what: str, reads: Iterable[Path]) -> None:
    """ConfigError unless `out` can be made, or replaced without losing any of `reads`.

    What is there is replaced if it is empty or holds the file `marker`, the sign of a `what`.
    """
    for path in reads:
        if _is_in(path, out):
            raise ConfigError(
                f"{out}: would be replaced, and this command reads {path}; choose another directory"
            )
    try:
        is_empty = out.is_dir() and not any(out.iterdir())
        is_ours = is_empty or not out.exists() or (out / marker).is_file()
        if is_ours:
            _try(next(parent for parent in out.absolute().parents if parent.exists()))
    except OSError as error:
        raise ConfigError(
            f"{out}: the {what} cannot be written ({error.strerror}); choose another directory"
        ) from error
    if not is_ours:
        raise ConfigError(
            f"{out}: exists and is not a {what} (it has no {marker}); choose another directory, "
            "or remove it"
        )


def require_apart(work: Path, reads: Iterable[Path]) -> None:
    """ConfigError if one of `reads` lies in the work directory, where it could be replaced."""
    for path in reads:
        if _is_in(path, work):
            raise ConfigError(
                f"{path}: lies in {work}, where results of the steps are kept and replaced; "
                "choose another directory with --work"
            )


def _is_in(inner: Path, outer: Path) -> bool:
    """Whether they are the same, or `inner` lies below `outer`, whatever links lead there."""
    real, folder = Path(os.path.realpath(inner)), Path(os.path.realpath(outer))
    return real.is_relative_to(folder)


def _try(folder: Path) -> None:
    """Write to a file without a name; OSError if that cannot be done in the folder."""
    with tempfile.TemporaryFile(dir=folder):
        pass
