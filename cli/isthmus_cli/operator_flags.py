"""The flags that operators' verbs share: which store, and how to come in to the service."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isthmus import ConfigError, is_loopback
from isthmus_cli.credentials import credentials_of
from isthmus_cli.folders import named_folder
from isthmus_cli.numbers import duration
from isthmus_cli.store_places import StorePlace
from isthmus_cli.store_remote import RemoteStore

TIMEOUT_S = 600.0  # to load a large version takes its time

__all__ = ["add_model", "add_place", "add_version", "opened_place"]


def add_model(parser: argparse.ArgumentParser) -> None:
    """Declare which model a verb changes, and how it tells what it did."""
    parser.add_argument("name", metavar="NAME", help="the model, as `isthmus list` shows it")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_version(parser: argparse.ArgumentParser) -> None:
    """The same, and which of its versions."""
    add_model(parser)
    parser.add_argument("version", metavar="VERSION", help="one of its versions")


def add_place(parser: argparse.ArgumentParser, *addresses: str) -> None:
    """Declare the flag of the service's address, by these names, and all that goes with it."""
    names = "/".join(addresses)
    group = parser.add_argument_group("which store")
    one = group.add_mutually_exclusive_group(required=True)
    one.add_argument(
        *addresses,
        dest="address",
        metavar="HOST:PORT",
        help="the store of the service that listens there (`isthmus cloud --store DIR`)",
    )
    one.add_argument(
        "--store",
        type=named_folder,
        metavar="DIR",
        help="the store in this folder, without a service; one that runs on it sees changes of "
        "what is active when it starts again, or at SIGHUP",
    )
    add = parser.add_argument_group(f"how to come in to {names}").add_argument
    add("--tls-ca", type=Path, metavar="PEM", help="certificate to trust")
    add("--tls-cert", type=Path, metavar="PEM", help="certificate of this operator, to show there")
    add("--tls-key", type=Path, metavar="PEM", help="its key")
    add(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="this operator's token (`isthmus tokens add NAME --role operator`)",
    )
    add("--insecure", action="store_true", help="talk to another machine without TLS")
    add(
        "--timeout",
        type=duration,
        default=TIMEOUT_S,
        metavar="S",
        help="wait so long for an answer; a push takes as long as its bytes do (default "
        "%(default)g)",
    )


@contextmanager
def opened_place(options: argparse.Namespace) -> Iterator[StorePlace]:
    """The store that the flags name, for as long as the context lasts.

    ConfigError for flags that do not go together, or an address that may not be used.
    """
    if options.store is not None:
        yield _folder(options.store)
        return
    _check_address(options)
    credentials = credentials_of(options)
    with RemoteStore(options.address, credentials, options.timeout) as place:
        yield place


def _folder(root: Path) -> StorePlace:
    """Loaded here only: an operator who pushes to a service needs no runtime."""
    try:
        from isthmus_cli.store_local import LocalStore  # noqa: PLC0415 (see above)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--store needs {error.name}, which is not installed; "
            "install it: pip install 'isthmus[cloud]'"
        ) from error
    return LocalStore(root)


def _check_address(options: argparse.Namespace) -> None:
    host, _, port = options.address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ConfigError(
            f"address {options.address!r}: use HOST:PORT, for instance 127.0.0.1:50051"
        )
    if options.tls_ca is None and not options.insecure and not is_loopback(host):
        read = ", and the token could be read on the way" if options.token_file else ""
        raise ConfigError(
            f"{options.address} is not this machine{read}: give the service's certificate "
            "(--tls-ca PEM), or allow plain text (--insecure)"
        )
