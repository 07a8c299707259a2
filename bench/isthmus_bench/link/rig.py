"""A relay with a listener behind it, and connections over both."""

import socket
from typing import Self

from isthmus_bench.link.streaming import Pair
from isthmus_bench.relay import LinkShape, Relay

__all__ = ["Rig", "direct_pair"]

_PATIENCE_S = 10.0


class Rig:
    """Use it as a context manager; `relay` is what is measured."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_PATIENCE_S)
        try:
            self.relay = Relay(_address(self._listener))
        except BaseException:
            self._listener.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.relay.close()
        self._listener.close()

    def begin(self, shape: LinkShape) -> None:
        """Give the link this shape and break what connections are left from before."""
        self.relay.shape(shape)
        self.relay.reset()

    def dial(self) -> socket.socket:
        """The edge's end of a new connection; whether it gets through is another question."""
        host, port = self.relay.address.split(":")
        edge = socket.create_connection((host, int(port)), _PATIENCE_S)
        edge.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return edge

    def join(self) -> Pair:
        """A new connection that got through."""
        return _accepted(self.dial(), self._listener)


def direct_pair() -> Pair:
    """A connection over plain loopback, for comparison."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        edge = socket.create_connection(listener.getsockname(), _PATIENCE_S)
        edge.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _accepted(edge, listener)


def _accepted(edge: socket.socket, listener: socket.socket) -> Pair:
    cloud, _ = listener.accept()
    cloud.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for end in (edge, cloud):
        end.settimeout(_PATIENCE_S)
    return Pair(edge, cloud)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"{host}:{port}"
