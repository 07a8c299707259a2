"""The flags of a service that say who may come in, and how many at once."""

import argparse
from pathlib import Path
from typing import Any

from isthmus_cloud import ServiceConfig

__all__ = ["add_door_flags", "door_settings"]


def add_door_flags(parser: argparse.ArgumentParser, defaults: ServiceConfig) -> None:
    """Declare them; `door_settings` reads them."""
    files = {
        "--tls-cert": ("PEM", "certificate of this service; a new one is taken up as it runs"),
        "--tls-key": ("PEM", "its key"),
        "--client-ca": ("PEM", "let in only certificates that one of these authorities signed"),
        "--tokens": ("FILE", "let in only tokens of this file, which `isthmus tokens` writes"),
    }
    for flag, (kind, text) in files.items():
        parser.add_argument(flag, type=Path, metavar=kind, help=text)
    words = {
        "--insecure": "serve beyond this machine without TLS",
        "--tokens-in-clear": "with --insecure: something else keeps the tokens secret on the way",
    }
    for flag, text in words.items():
        parser.add_argument(flag, action="store_true", help=text)
    counts = {
        "--max-connections": "connections at once, whoever it is; more are closed",
        "--max-streams": "devices that are served at once; more are refused",
        "--hello-s": "seconds in which a connection must be set up, and a stream begun",
    }
    for flag, text in counts.items():
        default = getattr(defaults, flag[2:].replace("-", "_"))
        parser.add_argument(
            flag,
            type=type(default),
            default=default,
            metavar="S" if flag.endswith("-s") else "N",
            help=f"{text} (default %(default)s)",
        )


def door_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of `ServiceConfig` that they set."""
    same = ("insecure", "client_ca", "tokens", "tokens_in_clear")
    limits = ("max_connections", "max_streams", "hello_s")
    pair = {"tls_certificate": options.tls_cert, "tls_key": options.tls_key}
    return pair | {name: getattr(options, name) for name in (*same, *limits)}
