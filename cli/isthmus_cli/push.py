"""`isthmus push`: put a bundle into a model store."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from isthmus.sizes import size_text
from isthmus_cli.console import print_json, sigterm_as_ctrl_c
from isthmus_cli.operator_flags import add_place, opened_place
from isthmus_cli.progress import ProgressLine
from isthmus_cli.store_places import Pushed, outgoing

SHORT = 12  # digits of a fingerprint that people compare

DESCRIPTION = """\
Put a bundle into a model store as a version that devices can be given. Every file is
compared with the manifest here before it is sent, and there before the version is seen.
A push that breaks off, or that Ctrl-C ends, goes on where it was when it is said again.
A version never changes: to push the same bundle again mends what is damaged there and
brings a new signature, and does nothing else; another bundle needs another --version.
With --activate new devices get it at once, without it they get what they got before; the
service says if the store calls the version active and new devices do not get it. A
signature that `isthmus keys sign` made goes with it.
"""
EXAMPLES = """\
  isthmus push lite0.bundle --to 127.0.0.1:50051
  isthmus push lite0.bundle --to cloud:50051 --tls-ca ca.pem --token-file anna.token --activate
  isthmus push lite0.bundle --to 127.0.0.1:50051 --name lite0 --version 2026-11-23
  isthmus push lite0.bundle --store models/
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="directory that `isthmus build` wrote")
    add("--name", metavar="NAME", help="what the model is called there (default: as in the bundle)")
    add(
        "--version",
        metavar="VERSION",
        help=f"default: the first {SHORT} digits of the bundle's fingerprint",
    )
    add("--activate", action="store_true", help="make it the active version when it is there")
    add("--quiet", action="store_true", help="no progress")
    add("--json", action="store_true", help="print the result as JSON")
    add_place(parser, "--to")


def run(options: argparse.Namespace) -> int:
    """Check, send, and activate if that is wanted."""
    sigterm_as_ctrl_c()
    bundle, model = outgoing(options.bundle)
    name = model if options.name is None else options.name
    version = bundle.fingerprint[:SHORT] if options.version is None else options.version
    with opened_place(options) as place:
        with ProgressLine(quiet=options.quiet) as progress, _resumable():
            pushed = place.push(bundle, name, version, progress)
        if not options.json:
            print(_text(pushed))
            if pushed.way_out and not options.activate:
                print(f"    {pushed.way_out}")
        moved = place.activate(name, version) if options.activate else None
    if options.json:
        print_json({"pushed": asdict(pushed), "activated": moved and asdict(moved)})
    elif moved is not None:
        print(moved.text)
    return 0


def _text(pushed: Pushed) -> str:
    """What is there now, and how much of it came."""
    there, came = "was there already", "nothing sent"
    if not pushed.was_there:
        there = "is there"
        came = f"{size_text(pushed.sent_bytes)} of {size_text(pushed.size_bytes)} sent"
    how = "signed" if pushed.signed else "not signed"
    return f"{pushed.name} {pushed.version} {there}: {pushed.fingerprint[:SHORT]}, {how}, {came}"


@contextmanager
def _resumable() -> Iterator[None]:
    """Who ends a push learns that nothing of it is lost."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("\nisthmus push: ended; the same command goes on where it was\n")
        raise
