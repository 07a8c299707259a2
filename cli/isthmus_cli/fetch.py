"""`isthmus fetch`: have the device's half of a model's current bundle from a service."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from isthmus import ConfigError
from isthmus.sizes import size_text
from isthmus_cli.console import print_json, sigterm_as_ctrl_c
from isthmus_cli.credentials import add_credentials, credentials_of
from isthmus_cli.progress import ProgressLine
from isthmus_cli.seals import add_keys
from isthmus_edge.bundles import Fetched, Manner, Source, fetch

SHORT = 12  # digits of a fingerprint that people compare

DESCRIPTION = """\
Have the version of a model that is active in a service's store: the manifest, and those
files that a device needs. They come to DIR/MODEL/FINGERPRINT, which `isthmus edge` runs;
the last good one there stays until the new one is whole and verified, and the one before
it, too. A fetch that breaks off, or that Ctrl-C ends, goes on where it was when it is said
again, and what is there already does not come again. With --key only bundles are taken
that one of these keys has signed.

A daemon does the same by itself: `[bundle] from = "cloud"` in its file.
"""
EXAMPLES = """\
  isthmus fetch lite0 --from 127.0.0.1:50051 --into bundles/
  isthmus fetch lite0 --from cloud:50051 --tls-ca ca.pem --token-file pi.token --into bundles/
  isthmus fetch lite0 --from 127.0.0.1:50051 --into bundles/ --key signing-key.pub.pem
  isthmus fetch lite0 --from 127.0.0.1:50051 --into bundles/ --path --quiet    # for scripts
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="what the service's store calls it (`isthmus list`)")
    add(
        "--from",
        dest="address",
        required=True,
        metavar="HOST:PORT[,…]",
        help="where `isthmus cloud --store DIR` listens; of several the first that answers",
    )
    add("--into", type=Path, required=True, metavar="DIR", help="where this device keeps bundles")
    add_keys(
        parser, "take only what this public key has signed (may be repeated: any of them will do)"
    )
    add_credentials(parser.add_argument_group("how to come in to --from"), "--from")
    group = parser.add_argument_group("what is printed")
    group.add_argument("--quiet", action="store_true", help="no progress")
    how = group.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print the result as JSON")
    how.add_argument("--path", action="store_true", help="print the bundle's path and nothing else")


def run(options: argparse.Namespace) -> int:
    """Fetch, and say what came."""
    sigterm_as_ctrl_c()
    if os.path.isfile(options.into):  # noqa: PTH113 - whatever else is wrong, the fetch tells
        raise ConfigError(f"--into {options.into}: is a file; name a directory for bundles")
    source = Source(
        model=options.model,
        cloud=options.address,
        credentials=credentials_of(options),
        insecure=options.insecure,
        keys=tuple(options.key),
    )
    with ProgressLine(quiet=options.quiet) as progress, _resumable():
        fetched = fetch(source, options.into, Manner(progress=progress))
    _tell(fetched, options)
    return 0


def _tell(fetched: Fetched, options: argparse.Namespace) -> None:
    if options.json:
        print_json(asdict(fetched) | {"path": str(fetched.path)})
    elif options.path:
        print(fetched.path)
    else:
        came = f"{size_text(fetched.received_bytes)} came"
        if not fetched.received_bytes:
            came = "it was there already"
        named = f"{fetched.name} {fetched.version} ({fetched.fingerprint[:SHORT]})"
        print(f"{named} is whole, {came}: {fetched.path}")


@contextmanager
def _resumable() -> Iterator[None]:
    """Who ends a fetch learns that nothing of it is lost."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("\nisthmus fetch: ended; the same command goes on where it was\n")
        raise
