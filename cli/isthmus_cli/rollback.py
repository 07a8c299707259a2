"""`isthmus rollback`: back to the version that was active before."""

import argparse
from dataclasses import asdict

from isthmus_cli.console import print_json
from isthmus_cli.operator_flags import add_model, add_place, opened_place

DESCRIPTION = """\
Make the version of a model active again that was active before this one. It is loaded
first, like any other; no frame is lost. Said again, it goes back one more; the version
that was left stays in the store, and `isthmus activate` can name it.
"""
EXAMPLES = """\
  isthmus rollback lite0 --at 127.0.0.1:50051
  isthmus rollback lite0 --store models/
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_model(parser)
    add_place(parser, "--at")


def run(options: argparse.Namespace) -> int:
    """Say it, and print what is active now."""
    with opened_place(options) as place:
        moved = place.rollback(options.name)
    if options.json:
        print_json(asdict(moved))
    else:
        print(moved.text)
    return 0
