"""`isthmus list`: what is in a model store, and what is served."""

import argparse
from dataclasses import asdict

from isthmus_cli.console import print_json
from isthmus_cli.operator_flags import add_place, opened_place
from isthmus_cli.store_places import Row, size_text

SHORT = 12  # digits of a fingerprint that people compare

DESCRIPTION = """\
List the versions of a model store, the oldest of each model first: which one is active
(new devices get it), how many devices are on each, fingerprint, size, and whether a
signature is there. What cannot be used is listed with the reason.
"""
EXAMPLES = """\
  isthmus list --at 127.0.0.1:50051
  isthmus list lite0 --at cloud:50051 --tls-ca ca.pem --token-file anna.token --json
  isthmus list --store models/
"""

_HEAD = ("MODEL", "VERSION", "STATE", "DEVICES", "FINGERPRINT", "SIZE", "SIGNED")

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="only this model")
    add("--json", action="store_true", help="print all of it as JSON")
    add_place(parser, "--at")


def run(options: argparse.Namespace) -> int:
    """Ask and print."""
    with opened_place(options) as place:
        rows = place.versions(options.name)
    if options.json:
        print_json([asdict(row) for row in rows])
        return 0
    if not rows:
        print(f"no version of {options.name} is there" if options.name else "the store is empty")
        return 0
    table = [_HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    faults = ("", *(row.fault for row in rows))
    for cells, fault in zip(table, faults, strict=True):
        print("  ".join(map(str.ljust, cells, widths)).rstrip())
        if fault:
            print(f"    cannot be used: {fault}")
    return 0


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        row.version,
        "active" if row.active else "served" if row.loaded else "-",
        "-" if not row.loaded else str(row.streams),
        row.fingerprint[:SHORT] or "-",
        size_text(row.size_bytes) if row.size_bytes else "-",
        "yes" if row.signed else "no",
    )
