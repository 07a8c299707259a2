"""`isthmus list`: what is in a model store, and what is served."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from isthmus import BundleError
from isthmus.sizes import size_text
from isthmus_cli.console import print_json
from isthmus_cli.operator_flags import add_place, opened_place
from isthmus_cli.store_places import Row

SHORT = 12  # digits of a fingerprint that people compare

DESCRIPTION = """\
List the versions of a model store, the oldest of each model first: its state, how many
devices are on each, fingerprint, size, whether a signature is there, and whether the
version can be used: "yes" if the manifest can be read and every file is there in its
size, "verified" with --verify, which reads all of them for their sha256, and "no" with
the reason. A model of which nobody can read which versions there are has one line,
without a version. With --verify it ends with status 1 if one cannot be used. `isthmus
push` of the same bundle mends a damaged version.

The state is "active" if the store says that new devices get it, and they do; "unloaded"
if the store says so, but they do not (it was unloaded, or could not be loaded); "given"
if they get it, but the store does not say so (any more); "served" if devices are still on
it, or were a minute ago; "-" if it is in the store, and no more. A version that is served
and was taken out of the store is listed, too. A folder (--store) knows of no service:
there "active" is what the store says.
"""
EXAMPLES = """\
  isthmus list --at 127.0.0.1:50051
  isthmus list lite0 --at cloud:50051 --tls-ca ca.pem --token-file anna.token --json
  isthmus list --store models/ --verify
"""

_HEAD = ("MODEL", "VERSION", "STATE", "DEVICES", "FINGERPRINT", "SIZE", "SIGNED", "USABLE")

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="only this model")
    add("--verify", action="store_true", help="read every file, and compare its sha256")
    add("--json", action="store_true", help="print all of it as JSON")
    add_place(parser, "--at")


def run(options: argparse.Namespace) -> int:
    """Ask and print; BundleError afterwards if all was read and a version cannot be used."""
    with opened_place(options) as place:
        rows = place.versions(options.name, verify=options.verify)
    if options.json:
        print_json([asdict(row) | {"usable": row.usable, "state": row.state} for row in rows])
    elif rows:
        _print_table(rows)
    else:
        print(f"no version of {options.name} is there" if options.name else "the store is empty")
    unusable = [row for row in rows if not row.usable]
    if options.verify and unusable:
        first = unusable[0]
        title = f"{first.name} {first.version}".rstrip()
        raise BundleError(
            f"{len(unusable)} of {len(rows)} versions cannot be used, the first is {title}: "
            f"{first.fault}"
        )
    return 0


def _print_table(rows: Sequence[Row]) -> None:
    table = [_HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    below = ("", *map(_below, rows))
    for cells, text in zip(table, below, strict=True):
        print("  ".join(map(str.ljust, cells, widths)).rstrip())
        if text:
            print(f"    {text}")


def _below(row: Row) -> str:
    """What is wrong with it, and what helps."""
    return f"cannot be used: {row.fault}" if row.fault else row.way_out


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        row.version or "-",
        row.state,
        "-" if not row.loaded else str(row.streams),
        row.fingerprint[:SHORT] or "-",
        size_text(row.size_bytes) if row.size_bytes else "-",
        "yes" if row.signed else "no",
        "verified" if row.verified else "yes" if row.usable else "no",
    )
