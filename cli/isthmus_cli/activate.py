"""`isthmus activate`: which version of a model new devices get."""

import argparse
from dataclasses import asdict

from isthmus_cli.console import print_json
from isthmus_cli.operator_flags import add_place, add_version, opened_place

DESCRIPTION = """\
Make a version of a model the active one: new devices get it. The service loads it first,
under load, while the old one serves on; devices that are on the old one are offered the
new one, and the old one is unloaded when the last of them has moved. If it cannot be
loaded, the old one stays. With --store only the pointer in the folder moves: a service
that runs on it is told by SIGHUP.
"""
EXAMPLES = """\
  isthmus activate lite0 2026-11-23 --at 127.0.0.1:50051
  isthmus activate lite0 2026-11-23 --store models/
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_version(parser)
    add_place(parser, "--at")


def run(options: argparse.Namespace) -> int:
    """Say it, and print what was active before."""
    with opened_place(options) as place:
        moved = place.activate(options.name, options.version)
    if options.json:
        print_json(asdict(moved))
    else:
        print(moved.text)
    return 0
