"""`isthmus export`: what a bundle's tails look like to servers of other makers."""

import argparse
from pathlib import Path

from isthmus import open_bundle
from isthmus_cli.console import print_json
from isthmus_cloud.engines.triton_repository import ExportedModel, write_repository

DESCRIPTION = """\
Write the parts of a bundle's tails for another server to run. `triton` makes a model
repository of them, or adds them to one: each part is a model with its configuration.
A service that is started with `--engine triton://HOST:PORT` then has them run there.
Names hold the bundle's fingerprint, so several bundles and versions may lie in one
repository, and none answers for another.
"""
EXAMPLES = """\
  isthmus export triton lite0.bundle --out models
  tritonserver --model-repository models     # where Triton is installed
  isthmus cloud lite0.bundle --engine triton://127.0.0.1:8001
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("form", choices=["triton"], metavar="triton", help="for NVIDIA's Triton server")
    add("bundle", type=Path, metavar="BUNDLE", help="directory that `isthmus build` wrote")
    add(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="the model repository: made if need be, other models in it stay",
    )
    add("--json", action="store_true", help="print what was written as JSON")


def run(options: argparse.Namespace) -> int:
    """Write, and print what."""
    bundle = open_bundle(options.bundle, "cloud")
    models = write_repository(bundle, options.out)
    if options.json:
        print_json({"repository": str(options.out), "models": [_listed(each) for each in models]})
        return 0
    width = max(len(each.name) for each in models)
    for each in models:
        state = "written" if each.is_new else "is there already"
        print(f"{each.name:<{width}}  {each.size_bytes / 1e6:7.2f} MB  {state}  ({each.part})")
    print(
        f"\n{len(models)} models in {options.out}; let Triton load them, then: "
        f"isthmus cloud {options.bundle} --engine triton://HOST:8001"
    )
    return 0


def _listed(model: ExportedModel) -> dict[str, str | int | bool]:
    return {
        "name": model.name,
        "part": model.part,
        "size_bytes": model.size_bytes,
        "is_new": model.is_new,
    }
