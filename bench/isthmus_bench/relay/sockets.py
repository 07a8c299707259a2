"""The relay's sockets: small buffers, so that what an application has sent has nearly left."""

import contextlib
import socket
import struct

from isthmus.errors import ConfigError

__all__ = ["close_with_rst", "fit_accepted", "open_listener", "small_socket"]

# What a sender may have standing before the link, twice this in Linux's counting: the smallest that
# still carried 200 Mbit/s on a busy machine.
_RECEIVE_BUFFER_BYTES = 16384
_SEND_BUFFER_BYTES = 65536


def open_listener(host: str, port: int) -> socket.socket:
    """A listening socket whose connections inherit its small receive buffer.

    Raises `ConfigError` if the address cannot be had.
    """
    listener = small_socket((host, port))
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"relay: cannot listen on {host}:{port} ({error.strerror}); give an address of this"
            " machine with a free port, or port 0 to have one picked"
        ) from error
    return listener


def small_socket(address: tuple[str, int]) -> socket.socket:
    """A socket for connections to or from an address of this family; does not block."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    small = socket.socket(family, socket.SOCK_STREAM)
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    fit_accepted(small)
    return small


def fit_accepted(end: socket.socket) -> None:
    """The settings that an accepted connection does not inherit from its listener."""
    end.setblocking(False)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


def close_with_rst(end: socket.socket) -> None:
    """Break the connection instead of ending its stream: lingering for zero seconds does it."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
