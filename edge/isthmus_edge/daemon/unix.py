"""Paths of unix sockets: whose they are, and whether a dead process left one behind."""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from isthmus import ConfigError

MOST_BYTES = 107  # sockaddr_un of unix(7), less the null byte at its end

__all__ = ["clear_the_way", "default_control", "known_controls", "unlinked"]


def clear_the_way(path: Path, what: str) -> None:
    """Make the folder and remove a socket that nobody listens on any more.

    ConfigError if somebody does, if what lies there is no socket, or if the path cannot be used.
    """
    if len(os.fsencode(path)) > MOST_BYTES:
        raise ConfigError(f"{path}: {what} has a path of more than {MOST_BYTES} bytes; shorten it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _exists(path):
            return
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"{path}: is no socket, and in the way of {what}; move it away")
        if _is_answered(path):
            raise ConfigError(
                f"{path}: {what} is in use by another process; stop that one, or give another path"
            )
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{path}: {what} cannot be made ({error.strerror}); give a path in a folder that this "
            "user may write to"
        ) from error


def unlinked(path: Path) -> None:
    """Remove a socket of ours; one that is gone already, or cannot be removed, is no matter."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def default_control() -> Path | None:
    """Where this process listens for `isthmus edge status` unless told; None where nothing fits."""
    return next(iter(known_controls(only_ours=True)), None)


def known_controls(*, only_ours: bool = False) -> list[Path]:
    """Where a daemon of this machine may be asked, the likeliest first.

    systemd names RUNTIME_DIRECTORY to a service and XDG_RUNTIME_DIR to a user; /run/isthmus is the
    first of them as others see it, and root's own.
    """
    folders = []
    if "RUNTIME_DIRECTORY" in os.environ:
        folders.append(Path(os.environ["RUNTIME_DIRECTORY"].partition(":")[0]))
    if not only_ours or os.geteuid() == 0:
        folders.append(Path("/run/isthmus"))
    if "XDG_RUNTIME_DIR" in os.environ:
        folders.append(Path(os.environ["XDG_RUNTIME_DIR"], "isthmus"))
    return [folder / "control.sock" for folder in folders]


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(1.0)
        try:
            knock.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except TimeoutError:
            return True  # somebody is there, and busy
    return True
