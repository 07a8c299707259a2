"""`isthmus inspect`: what a bundle is, and whether it is whole."""

import argparse
from pathlib import Path

import msgspec

from isthmus import BundleError
from isthmus_cli.seals import add_keys, seal_of
from isthmus_partitioner.report.inspection import inspect_bundle, render_inspection

DESCRIPTION = """\
Show what a bundle is: model, inputs and outputs, chains of segments, cuts with their
tensors, the graphs of their tails and whether frames can go through them together,
every candidate with its figures and the reason for its fate, and every file with its
size and whether it is what the manifest says; and whether the bundle is signed, with
--key by whom. Nothing of the bundle is run.
Ends with status 1 if a file is missing or damaged, or the signature is not one of --key.
"""
EXAMPLES = """\
  isthmus inspect lite0.bundle
  isthmus inspect lite0.bundle --key keys/signing-key.pub.pem
  isthmus inspect lite0.bundle --json
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="directory that `isthmus build` wrote")
    add_keys(
        parser, "require that this public key has signed it (may be repeated: any of them will do)"
    )
    add("--json", action="store_true", help="print manifest, files and signature as JSON")


def run(options: argparse.Namespace) -> int:
    """Print everything; BundleError afterwards if a file or the signature is not right."""
    inspection = inspect_bundle(options.bundle)
    seal = seal_of(options.bundle, options.key)
    if options.json:
        shown = msgspec.to_builtins(inspection) | {"signature": msgspec.to_builtins(seal)}
        print(msgspec.json.format(msgspec.json.encode(shown), indent=1).decode())
    else:
        print(f"{render_inspection(inspection)}\n{seal.text}")
    if inspection.damaged:
        first = inspection.damaged[0]
        raise BundleError(
            f"{options.bundle / first.path}: {first.state}; {len(inspection.damaged)} of "
            f"{len(inspection.files)} files are not what the manifest says; copy the bundle "
            "again, or build it again with `isthmus build`"
        )
    if seal.is_wrong:
        raise BundleError(seal.reason)
    return 0
