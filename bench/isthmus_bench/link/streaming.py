"""A sender that never runs dry, and when its bytes arrived."""

import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Arrival", "Pair", "gaps_s", "mbit_by_second", "rate_mbps", "stream"]

_CHUNK = bytes(65536)
_SEND_BUFFER_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Arrival:
    """Bytes that came out of the link at a `time.monotonic()`."""

    at_s: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Both ends of one connection over the link."""

    edge: socket.socket
    cloud: socket.socket

    def close(self) -> None:
        """Close both ends."""
        self.edge.close()
        self.cloud.close()


def stream(pairs: Sequence[Pair], until_s: float) -> list[list[Arrival]]:
    """Send from every edge as fast as it takes it, until a `time.monotonic()`; what came of it."""
    arrivals: list[list[Arrival]] = [[] for _ in pairs]
    with selectors.DefaultSelector() as selector:
        for pair, came in zip(pairs, arrivals, strict=True):
            pair.edge.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            for end in (pair.edge, pair.cloud):
                end.setblocking(False)
            selector.register(pair.edge, selectors.EVENT_WRITE, None)
            selector.register(pair.cloud, selectors.EVENT_READ, came)
        while (left_s := until_s - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if key.data is None:
                    ready.send(_CHUNK)
                else:
                    size_bytes = len(ready.recv(1 << 20))
                    key.data.append(Arrival(time.monotonic(), size_bytes))
    return arrivals


def rate_mbps(arrivals: Sequence[Arrival], from_s: float) -> float:
    """Payload rate from the first arrival after `from_s` to the last one; 0 for fewer than two.

    The first one's bytes do not count: they travelled before the clock began.
    """
    counted = [arrival for arrival in arrivals if arrival.at_s >= from_s]
    if len(counted) < 2:
        return 0.0
    size_bytes = sum(arrival.size_bytes for arrival in counted[1:])
    return 8e-6 * size_bytes / (counted[-1].at_s - counted[0].at_s)


def gaps_s(arrivals: Sequence[Arrival]) -> list[float]:
    """Seconds between neighbours."""
    return [b.at_s - a.at_s for a, b in pairwise(arrivals)]


def mbit_by_second(arrivals: Sequence[Arrival], began_s: float, seconds: int) -> list[float]:
    """What came in each second after `began_s`, in Mbit."""
    mbit = [0.0] * seconds
    for arrival in arrivals:
        second = int((arrival.at_s - began_s) // 1)
        if 0 <= second < seconds:
            mbit[second] += 8e-6 * arrival.size_bytes
    return mbit
