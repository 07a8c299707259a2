"""The tokens file on disk: read within bounds, changed by one at a time, and read again when it
changes. All of it blocks for a moment: not for the event loop."""

import fcntl
import logging
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from isthmus import ConfigError
from isthmus_cloud.file_stamps import stamp_of
from isthmus_cloud.security.tokens import Entry, decode_tokens, encode_tokens

MOST_FILE_BYTES = 32 * 1024 * 1024  # some 100,000 identities
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH

__all__ = ["TokensFile", "change_tokens", "read_tokens"]

_logger = logging.getLogger(__name__)


class TokensFile:
    """The identities of a file, as it was when it was last read in order."""

    def __init__(self, path: Path, changed: Callable[[Sequence[Entry]], None]) -> None:
        """Reads it and calls `changed`; ConfigError if that cannot be done."""
        self._path = path
        self._changed = changed
        self._seen = stamp_of(path)
        changed(read_tokens(path))

    def refresh(self) -> None:
        """Read it again if it has changed since, and call `changed`.

        A file that is gone or broken is told once; who may come in stays as it was.
        """
        stamp = stamp_of(self._path)
        if stamp == self._seen:
            return
        try:
            entries = read_tokens(self._path)
        except ConfigError as error:
            _logger.warning("%s; those who could come in before still can", error)
        else:
            self._changed(entries)
            _logger.info("%s was read again: %d identities", self._path, len(entries))
        self._seen = stamp  # not where it failed in another way: that is looked at again


def read_tokens(path: Path) -> tuple[Entry, ...]:
    """The identities of a file; ConfigError if it cannot be read, is too large, has a line that is
    wrong, or may be changed by others than its owner: they could let themselves in.

    Others may read it: nothing in it lets anybody in.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # FIFOs wait
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(
                    f"{path} is not a file; give the name of one, which `isthmus tokens add NAME "
                    "--file FILE` makes"
                )
            if mode & OTHERS_MAY_WRITE:
                raise ConfigError(
                    f"{path} may be written by others than its owner (mode "
                    f"{stat.S_IMODE(mode):04o}), who could let themselves in; `chmod go-w {path}`"
                )
            content = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {_why_unread(path, error)}") from error
    if len(content) > MOST_FILE_BYTES:
        raise ConfigError(f"{path} has more than {MOST_FILE_BYTES:,} bytes; is it a tokens file?")
    return decode_tokens(content, str(path))


def change_tokens(
    path: Path, change: Callable[[tuple[Entry, ...]], Sequence[Entry]], *, makes: bool = False
) -> Sequence[Entry]:
    """Write what `change` makes of the entries, whole or not at all; gives what was written.

    It `makes` the file, of no entries, where there is none; else there has to be one. Others who
    change it at the same time wait. Mode and owner stay; a new file is its owner's alone.
    ConfigError if it cannot be read or written.
    """
    real = Path(os.path.realpath(path))  # a link stays one
    try:
        with _locked(real.parent):
            old = real.stat() if real.exists() else None
            entries = change(() if makes and old is None else read_tokens(real))
            _write(real, encode_tokens(entries), old)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}; its directory has to be there with room, "
            "and this user has to have the right to write into it"
        ) from error
    return entries


def _why_unread(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"it is not there; `isthmus tokens add NAME --file {path}` makes it"
    if isinstance(error, PermissionError):
        return "this user may not; it is to be readable by whoever runs the service"
    return f"{error.strerror}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        os.fsync(handle)  # the new name
    finally:
        os.close(handle)


def _write(path: Path, content: bytes, old: os.stat_result | None) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            if old is not None:
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
