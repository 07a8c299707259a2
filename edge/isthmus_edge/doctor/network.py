"""Names, addresses and connections: the seam to the sockets, and what a connection tells."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Literal, Protocol

from isthmus_edge.doctor.finding import Finding, fail, note, warn

CONNECT_S = 3.0
CONNECTS = 5
_IP_MTU, _IPV6_MTU = 14, 24  # linux/in.h, linux/in6.h
_USUAL_MTU = 1280  # what every IPv6 link carries; below it something is encapsulated twice

__all__ = ["CONNECT_S", "Address", "Network", "Road", "SystemNetwork", "reach"]


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a host: `ip` without brackets."""

    family: Literal["IPv4", "IPv6"]
    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Road:
    """A connection that came about: `connect_ms` of each attempt, a round trip each."""

    address: Address
    connect_ms: tuple[float, ...]
    mtu_bytes: int | None


class Network(Protocol):
    """How hosts are found and reached."""

    def resolve(self, host: str, port: int) -> list[Address]:
        """All addresses; OSError if the name is not known, UnicodeError if it cannot be one."""
        ...

    def connect(self, address: Address, longest_s: float) -> socket.socket:
        """A TCP connection; OSError if there is none within that time."""
        ...


class SystemNetwork:
    """The real one."""

    def resolve(self, host: str, port: int) -> list[Address]:
        """In the order in which the system would try them."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        families: dict[int, Literal["IPv4", "IPv6"]] = {
            socket.AF_INET: "IPv4",
            socket.AF_INET6: "IPv6",
        }
        known = [
            Address(families[family], str(where[0]), port)
            for family, _, _, _, where in found
            if family in families
        ]
        return list(dict.fromkeys(known))

    def connect(self, address: Address, longest_s: float) -> socket.socket:
        """A socket that also reads and writes with this time limit."""
        return socket.create_connection((address.ip, address.port), longest_s)


def reach(network: Network, host: str, port: int) -> Iterator[Finding | Road]:
    """Findings about name and connection, and the road last; no road if there is none."""
    try:
        addresses = network.resolve(host, port)
    except OSError as error:
        yield fail("link.name", f"{host}: {_why(error)}", _NAME_WAY_OUT, host=host)
        return
    except UnicodeError as error:
        yield fail(
            "link.name", f"{host}: no host has such a name: {error}", _NAME_WAY_OUT, host=host
        )
        return
    listed = [f"{each.ip} ({each.family})" for each in addresses]
    yield note("link.name", f"{host} is {', '.join(listed)}", addresses=listed)
    yield from _connected(network, addresses)


def _connected(network: Network, addresses: list[Address]) -> Iterator[Finding | Road]:
    roads: list[Road] = []
    problems: list[tuple[Address, OSError]] = []
    for address in addresses:
        try:
            roads.append(_road(network, address))
        except OSError as error:
            problems.append((address, error))
    if not roads:
        yield _unreached(problems)
        return
    yield _told(roads, problems)
    yield roads[0]


def _road(network: Network, address: Address) -> Road:
    taken, mtu = [], None
    for _ in range(CONNECTS):
        begin = time.perf_counter()
        with network.connect(address, CONNECT_S) as connection:
            taken.append((time.perf_counter() - begin) * 1e3)
            mtu = _mtu_bytes(connection)
    return Road(address, tuple(taken), mtu)


def _told(roads: list[Road], problems: list[tuple[Address, OSError]]) -> Finding:
    road = roads[0]
    least, middle = min(road.connect_ms), median(road.connect_ms)
    text = f"{road.address.ip} connects in {least:.1f} ms (median {middle:.1f})"
    figures = {"connect_min_ms": round(least, 3), "connect_median_ms": round(middle, 3)}
    if road.mtu_bytes is not None:
        text += f", MTU {road.mtu_bytes}"
        figures["mtu_bytes"] = road.mtu_bytes
    if problems:
        address, error = problems[0]
        return warn(
            "link.tcp",
            f"{text}; {address.ip} ({address.family}) does not: {_why(error)}",
            "take the address that does not work out of the name's records, or name the one that "
            "does: each new connection may lose seconds on the other",
            **figures,
        )
    if road.mtu_bytes is not None and road.mtu_bytes < _USUAL_MTU:
        way_out = "look at tunnels on the way (VPN, PPPoE): small packets cost rate"
        return warn("link.tcp", text, way_out, **figures)
    return note("link.tcp", text, **figures)


def _unreached(problems: list[tuple[Address, OSError]]) -> Finding:
    address, error = problems[0]
    where = f"{address.ip} port {address.port}"
    if isinstance(error, ConnectionRefusedError):
        way_out = "is the port right, and does `isthmus cloud` run with --listen on it?"
        return fail("link.tcp", f"{where}: nothing listens there", way_out, reason="refused")
    if isinstance(error, TimeoutError):
        text = f"{where}: no answer within {CONNECT_S:g} s"
        way_out = "is the link up, and does a firewall on the way let the port pass?"
        return fail("link.tcp", text, way_out, reason="silent")
    way_out = "is the link up? look at `ip route` and `ip addr`"
    return fail("link.tcp", f"{where}: {_why(error)}", way_out, reason="unreachable")


def _why(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _mtu_bytes(connection: socket.socket) -> int | None:
    """What the kernel believes of the path; Linux alone tells it."""
    is_ipv6 = connection.family == socket.AF_INET6
    level = socket.IPPROTO_IPV6 if is_ipv6 else socket.IPPROTO_IP
    try:
        return connection.getsockopt(level, _IPV6_MTU if is_ipv6 else _IP_MTU)
    except OSError:
        return None


_NAME_WAY_OUT = "is the name right, and does this machine have a name server (/etc/resolv.conf)?"
