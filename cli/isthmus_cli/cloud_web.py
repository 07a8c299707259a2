"""The flags of `isthmus cloud` for its page: the dashboard, `/metrics` and probes."""

import argparse
from collections.abc import Callable
from pathlib import Path

from isthmus import ConfigError, is_loopback
from isthmus.addresses import split_address
from isthmus.web import WebConfig
from isthmus.web.config import read_token

__all__ = ["add_web_flags", "web_settings"]

Add = Callable[..., argparse.Action]


def add_web_flags(add: Add) -> None:
    """Declare them; `web_settings` reads them."""
    add(
        "--http",
        metavar="HOST:PORT",
        help="show the dashboard (/), /metrics, /livez and /readyz there: in plain text on this "
        "machine, unless it takes a token; with the service's certificate and a token beyond it",
    )
    add(
        "--http-token-file",
        type=Path,
        metavar="FILE",
        help="whoever wants to look must show the token in this file; a new one holds within a "
        "second",
    )
    add(
        "--http-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name of this machine by which requests without a token may come (Prometheus that "
        "asks `cloud:8080`, say); may be given several times",
    )
    add(
        "--http-insecure",
        action="store_true",
        help="everybody who reaches that address may look",
    )


def web_settings(options: argparse.Namespace) -> WebConfig | None:
    """Where the page is, None for nowhere; ConfigError for flags that do not go together."""
    if options.http is None:
        given = [flag for flag, value in _beside(options).items() if value]
        if given:
            raise ConfigError(
                f"{', '.join(given)}: there is no page without an address; add --http HOST:PORT, "
                "for instance --http 127.0.0.1:8080"
            )
        return None
    token_file = options.http_token_file
    stays_here = is_loopback(split_address(options.http)[0])
    if not stays_here:
        _check_beyond(options)
    is_plain = stays_here and token_file is None  # the certificate is of another name
    return WebConfig(
        listen=options.http,
        tls_certificate=None if is_plain else options.tls_cert,
        tls_key=None if is_plain else options.tls_key,
        token=None if token_file is None else read_token(token_file),
        insecure=options.http_insecure,
        hosts=tuple(options.http_host),
    )


def _beside(options: argparse.Namespace) -> dict[str, object]:
    return {
        "--http-token-file": options.http_token_file,
        "--http-host": options.http_host,
        "--http-insecure": options.http_insecure,
    }


def _check_beyond(options: argparse.Namespace) -> None:
    """Beyond this machine, in the words of the command line."""
    if options.http_insecure:
        return
    has_tls = options.tls_cert is not None and options.tls_key is not None
    lacks = [] if has_tls else ["--tls-cert PEM --tls-key PEM"]
    if options.http_token_file is None:
        lacks.append("--http-token-file FILE")
    if lacks:
        raise ConfigError(
            f"--http {options.http} would show the inside of the service to the network: add "
            f"{' and '.join(lacks)}, or --http-insecure where everybody on the network may look, "
            "or take --http 127.0.0.1:PORT and come through a tunnel (ssh -L)"
        )
