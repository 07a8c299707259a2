"""The flags by which a device or an operator comes in to a service, and what they say."""

import argparse
from pathlib import Path

from isthmus_edge.stream.credentials import Credentials

__all__ = ["add_credentials", "credentials_of"]


def add_credentials(group: argparse._ActionsContainer, address: str = "--cloud") -> None:
    """Declare whom to trust for the service at the flag `address`, and what to show there."""
    add = group.add_argument
    add("--tls-ca", type=Path, metavar="PEM", help=f"certificate to trust for {address}")
    add("--tls-cert", type=Path, metavar="PEM", help="certificate of this device, to show there")
    add("--tls-key", type=Path, metavar="PEM", help="its key")
    add(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"this device's token for {address}; read anew for each connection",
    )
    add("--insecure", action="store_true", help="talk to another machine without TLS")


def credentials_of(options: argparse.Namespace) -> Credentials:
    """What these flags say, whoever declared them."""
    return Credentials(
        tls_ca=options.tls_ca,
        tls_certificate=options.tls_cert,
        tls_key=options.tls_key,
        token_file=options.token_file,
    )
