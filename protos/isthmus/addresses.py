"""Addresses of this machine and others: what stays here, and what is host and port."""

from ipaddress import ip_address

from isthmus.errors import ConfigError

__all__ = ["is_loopback", "split_address"]


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an IP address (IPv6 with or without brackets), is this machine.

    Beyond it, plain text needs an explicit word.
    """
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT" or "[IPv6]:PORT"; ConfigError if it is neither."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ConfigError(
            f"listen address {address!r} is not HOST:PORT with a port from 0 to 65535, "
            "for instance 127.0.0.1:50051"
        )
    return host, int(port)
