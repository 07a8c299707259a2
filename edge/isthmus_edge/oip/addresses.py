"""Where the endpoint listens: a unix socket, or a port of this machine that nobody else reaches."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from isthmus import ConfigError, is_loopback

MOST_PATH_BYTES = 107  # sockaddr_un of unix(7), less the null byte at its end
KNOCK_S = 1.0
_UNIX = "unix:"

__all__ = ["Address", "Loopback", "UnixSocket", "parse_address", "socket_mode_for"]


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A socket in the file system."""

    path: Path

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"

    @property
    def target(self) -> str:
        """What gRPC is told; it reads percent signs."""
        return f"{_UNIX}{quote(str(self.path))}"

    def clear(self) -> None:
        """Remove what a dead process left; ConfigError if the path is taken or cannot be used."""
        try:
            if self.path.is_symlink() or self.path.exists():
                self._remove_if_dead()
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.bind(str(self.path))  # gRPC would not say what is wrong
            self.path.unlink()
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {self}: {error.strerror}; give a path in a folder that exists "
                "and that this user may write to"
            ) from error

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
        if not stat.S_ISSOCK(self.path.lstat().st_mode):
            raise ConfigError(
                f"cannot listen on {self}: a file that is no socket is in the way; "
                "move it away or give another path"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.settimeout(KNOCK_S)
            try:
                knock.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink()
                return
            except TimeoutError:
                pass  # somebody is there, and busy
        raise ConfigError(
            f"cannot listen on {self}: another process does already; stop that one, "
            "or give another path"
        )


@dataclass(frozen=True, slots=True)
class Loopback:
    """A TCP port of this machine; 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """What gRPC is told."""
        return str(self)

    def check_free(self) -> None:
        """Bind once ourselves: gRPC says neither what is wrong nor who is there."""
        try:
            family, _, _, _, address = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {self}: {error.strerror}; choose another port, or 0 for a free "
                "one"
            ) from error


Address = UnixSocket | Loopback


def parse_address(text: str) -> Address:
    """``unix:/path`` or ``HOST:PORT`` of this machine; ConfigError for anything else.

    Other machines reach the cloud service, which has certificates; this endpoint has none.
    """
    if text.startswith(_UNIX):
        path = Path(text.removeprefix(_UNIX))
        size = len(os.fsencode(path))
        if not path.is_absolute() or "\0" in text:
            raise ConfigError(f"address {text!r}: give an absolute path, unix:/PATH")
        if size > MOST_PATH_BYTES:
            raise ConfigError(
                f"address {text!r}: a socket's path has at most {MOST_PATH_BYTES} bytes, "
                f"this one has {size}; shorten it"
            )
        return UnixSocket(path)
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not port.isascii() or int(port) > 65535:
        raise ConfigError(f"address {text!r}: use unix:/PATH or HOST:PORT, as 127.0.0.1:8001")
    if not is_loopback(host):
        raise ConfigError(
            f"address {text!r} can be reached from other machines, and this endpoint has no TLS: "
            "listen on 127.0.0.1, [::1] or unix:/PATH; other machines use `isthmus cloud`"
        )
    return Loopback(host.strip("[]"), int(port))


@contextmanager
def socket_mode_for(mode: int) -> Iterator[None]:
    """Sockets made within have at most this mode from the start: nobody slips in before chmod.

    The umask is the whole process's; what other threads write meanwhile is only more private.
    """
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)
