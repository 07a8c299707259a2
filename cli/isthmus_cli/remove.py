"""`isthmus remove`: take a version out of a model store."""

import argparse

from isthmus_cli.console import print_json
from isthmus_cli.operator_flags import add_place, add_version, opened_place

DESCRIPTION = """\
Remove a version from a model store, with all its files. The active version stays, and so
does one that devices are still on: activate another one first, and wait until they have
moved (`isthmus list` shows how many have not). So does a folder with files that no push
wrote: it is no version, and the path perhaps not the store's.
"""
EXAMPLES = """\
  isthmus remove lite0 2026-10-01 --at 127.0.0.1:50051
  isthmus remove lite0 2026-10-01 --store models/
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_version(parser)
    add_place(parser, "--at")


def run(options: argparse.Namespace) -> int:
    """Say it."""
    with opened_place(options) as place:
        place.remove(options.name, options.version)
    if options.json:
        print_json({"name": options.name, "removed": options.version})
    else:
        print(f"{options.name} {options.version} is removed")
    return 0
