"""`isthmus build`: write the bundle that a device and the cloud run."""

import argparse
from pathlib import Path

from isthmus import open_bundle
from isthmus.manifest import MANIFEST_NAME
from isthmus_cli.console import print_json
from isthmus_cli.modelling import add_model_arguments, files_read, folders_read, workbench_of
from isthmus_cli.targets import require_folder
from isthmus_partitioner import render_plan

DESCRIPTION = """\
Write a bundle: the device's chain of segments, the cloud's tails, and a manifest with
the plan and the sha256 of every file. Does the steps of `isthmus profile` and
`isthmus plan` first, unless --work holds them.
"""
EXAMPLES = """\
  isthmus build efficientnet-lite0 --out lite0.bundle --edge-network-ms 150
  isthmus build resnet.onnx --mean 123.7 116.3 103.5 --std 58.4 57.1 57.4 --labels names.txt
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_model_arguments(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the bundle goes (default: MODEL.bundle)"
    )


def run(options: argparse.Namespace) -> int:
    """Build and print where it lies."""
    out = options.out or Path(f"{Path(options.model).stem}.bundle")
    require_folder(out, MANIFEST_NAME, "bundle", (*files_read(options), *folders_read(options)))
    workbench = workbench_of(options)
    workbench.build(out)
    bundle = open_bundle(out, "cloud")
    if options.json:
        kept = [candidate.id for candidate in bundle.manifest.kept]
        print_json({"bundle": str(out), "fingerprint": bundle.fingerprint, "kept": kept})
        return 0
    print(render_plan(workbench.plan()))
    print(f"\nbundle {out}, fingerprint {bundle.fingerprint[:12]}")
    print(f"next: isthmus cloud {out} --listen 127.0.0.1:50051")
    return 0
