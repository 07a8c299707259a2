"""Sockets in the file system: who listens there, what a dead process left, who may open them."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from isthmus import ConfigError

MOST_PATH_BYTES = 107  # sockaddr_un of unix(7), less the null byte at its end
KNOCK_S = 1.0
_UNIX = "unix:"

__all__ = ["UnixSocket", "made_with"]


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A path where a socket is, or may be made. ConfigError for one that no socket can have."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_absolute() or "\0" in str(self.path):
            raise ConfigError(f"address {str(self)!r}: give an absolute path, unix:/PATH")
        size = len(os.fsencode(self.path))
        if size > MOST_PATH_BYTES:
            raise ConfigError(
                f"address {str(self)!r}: a socket's path has at most {MOST_PATH_BYTES} bytes, "
                f"this one has {size}; shorten it"
            )

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"

    @property
    def target(self) -> str:
        """What gRPC is told; it reads percent signs."""
        return f"{_UNIX}{quote(str(self.path))}"

    def make_folder(self, mode: int) -> None:
        """Make the folders that are missing, for this user alone.

        With a socket's `mode` that lets its group in, the group may pass through them.
        """
        with self._explained(), made_with(0o710 if mode & stat.S_IRGRP else 0o700):
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def bind(self, mode: int) -> socket.socket:
        """A socket there, in place of what a dead process left; `mode` says who may open it.

        ConfigError if the path is taken or cannot be used.
        """
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with self._explained():
                self._remove_if_dead()
                with made_with(mode):
                    made.bind(str(self.path))
        except ConfigError:
            made.close()
            raise
        return made

    def clear(self) -> None:
        """Leave the path free for a server that would not say what is wrong with it.

        ConfigError as `bind`.
        """
        self.bind(0o600).close()
        self.path.unlink(missing_ok=True)

    def identity(self) -> tuple[int, int]:
        """Device and inode: whose socket it is."""
        found = self.path.lstat()
        return found.st_dev, found.st_ino

    def remove(self, identity: tuple[int, int]) -> None:
        """Remove it, unless it is gone or another process's by now."""
        with suppress(OSError):
            if self.identity() == identity:
                self.path.unlink()

    def _remove_if_dead(self) -> None:
        if not os.path.lexists(self.path):
            return
        if not stat.S_ISSOCK(self.path.lstat().st_mode):
            raise ConfigError(
                f"cannot listen on {self}: a file that is no socket is in the way; "
                "move it away or give another path"
            )
        if self._is_answered():
            raise ConfigError(
                f"cannot listen on {self}: another process does already; stop that one, "
                "or give another path"
            )
        self.path.unlink(missing_ok=True)

    def _is_answered(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.settimeout(KNOCK_S)
            try:
                knock.connect(str(self.path))
            except (ConnectionRefusedError, FileNotFoundError):
                return False
            except TimeoutError:
                pass  # somebody is there, and busy
            return True

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {self}: {error.strerror}; give a path in a folder that exists "
                "and that this user may write to"
            ) from error


@contextmanager
def made_with(mode: int) -> Iterator[None]:
    """What is made within has at most this mode from the start: nobody slips in before a chmod.

    The umask is the whole process's; what other threads write meanwhile is only more private.
    """
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)
