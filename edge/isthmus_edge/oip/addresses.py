"""Where the endpoint listens: a unix socket, or a port of this machine that nobody else reaches."""

import socket
from dataclasses import dataclass
from pathlib import Path

from isthmus import ConfigError, is_loopback
from isthmus_edge.unix_sockets import UnixSocket

_UNIX = "unix:"

__all__ = ["Address", "Loopback", "parse_address"]


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
        return UnixSocket(Path(text.removeprefix(_UNIX)))
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not port.isascii() or int(port) > 65535:
        raise ConfigError(f"address {text!r}: use unix:/PATH or HOST:PORT, as 127.0.0.1:8001")
    if not is_loopback(host):
        raise ConfigError(
            f"address {text!r} can be reached from other machines, and this endpoint has no TLS: "
            "listen on 127.0.0.1, [::1] or unix:/PATH; other machines use `isthmus cloud`"
        )
    return Loopback(host.strip("[]"), int(port))
