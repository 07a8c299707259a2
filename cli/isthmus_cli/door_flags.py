"""The flags of a service that say who may come in, and how many at once."""

import argparse
from pathlib import Path
from typing import Any

from isthmus_cloud import ServiceConfig

__all__ = ["add_door_flags", "door_settings"]


def add_door_flags(parser: argparse.ArgumentParser, defaults: ServiceConfig) -> None:
    """Declare them; `door_settings` reads them."""
    add = parser.add_argument
    add("--tls-cert", type=Path, metavar="PEM", help="certificate of this service; a new one is "
        "taken up without a restart")  # fmt: skip
    add("--tls-key", type=Path, metavar="PEM", help="its key")
    add("--client-ca", type=Path, metavar="PEM", help="let in only who has a certificate that one "
        "of these authorities has signed (mTLS)")  # fmt: skip
    add("--tokens", type=Path, metavar="FILE", help="let in only who has a token of this file, "
        "which `isthmus tokens` writes")  # fmt: skip
    add("--insecure", action="store_true", help="serve beyond this machine without TLS")
    add("--tokens-in-clear", action="store_true", help="with --tokens and --insecure: something "
        "else keeps the tokens secret on the way")  # fmt: skip
    add("--max-connections", type=int, default=defaults.max_connections, metavar="N",
        help="connections at once, whoever it is; more are closed (default %(default)s)")  # fmt: skip
    add("--max-streams", type=int, default=defaults.max_streams, metavar="N",
        help="devices that are served at once; more are refused (default %(default)s)")  # fmt: skip
    add("--hello-s", type=float, default=defaults.hello_s, metavar="S",
        help="a connection must be set up, and a stream begun, in so long (default %(default)s)")  # fmt: skip


def door_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of `ServiceConfig` that they set."""
    return {
        "tls_certificate": options.tls_cert,
        "tls_key": options.tls_key,
        "client_ca": options.client_ca,
        "tokens": options.tokens,
        "insecure": options.insecure,
        "tokens_in_clear": options.tokens_in_clear,
        "max_connections": options.max_connections,
        "max_streams": options.max_streams,
        "hello_s": options.hello_s,
    }
