"""Which addresses stay on this machine: beyond them, plain text needs an explicit word."""

from ipaddress import ip_address

__all__ = ["is_loopback"]


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an IP address (IPv6 with or without brackets), is this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
