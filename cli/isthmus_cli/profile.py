"""`isthmus profile`: measure a model layer by layer, here or (by a kit) on another device."""

import argparse
import tempfile
from pathlib import Path

from isthmus import ConfigError, DeviceProfile, encode_profile
from isthmus.profiles import KIT_NAME
from isthmus_cli.console import print_json
from isthmus_cli.modelling import (
    add_model_arguments,
    files_read,
    folders_read,
    speeds_given,
    workbench_of,
)
from isthmus_cli.numbers import count
from isthmus_cli.progress import ProgressLine
from isthmus_cli.targets import require_file, require_folder
from isthmus_edge.profiling import ProfilingConfig, profile_kit, write_whole
from isthmus_partitioner import Workbench, render_profile
from isthmus_partitioner.profiles.profile import as_json

DESCRIPTION = """\
Choose which layers of an ONNX model run in int8 and which in fp32, and measure it on
this machine: the whole network in each precision, some prefixes of it, every layer.
Results are kept in --work for `isthmus plan` and `isthmus build`.

For a device that has neither onnx nor the model, --kit writes a directory to copy
there: `isthmus edge profile DIR -o edge.json` measures it with only `isthmus[edge]`,
and `isthmus plan MODEL --edge edge.json` plans for that device.
"""
EXAMPLES = """\
  isthmus profile efficientnet-lite0
  isthmus profile resnet.onnx -o here.json
  isthmus profile resnet.onnx --threads 8 -o cloud.json      # on the server
  isthmus profile --kit kit/ resnet.onnx                     # for the device
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_model_arguments(parser)
    add = parser.add_argument_group("profile").add_argument
    add("-o", "--out", type=Path, metavar="FILE", help="write the profile to a file, too")
    add("--kit", type=Path, metavar="DIR", help="write a profile kit for another device instead")
    add(
        "--threads",
        type=count,
        default=1,
        metavar="N",
        help="threads that compute one item, as on a server (default %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Profile and print, or write a kit."""
    _require_sense(options)
    workbench = workbench_of(options)
    if options.kit is not None:
        return _kit(workbench, options)
    if options.threads != 1:
        workbench = workbench.with_edge(_measured(workbench, options))
    profile = workbench.profile()
    if options.out is not None:
        write_whole(options.out, encode_profile(workbench.measured()))
    if options.json:
        print(as_json(profile))
        return 0
    print(render_profile(profile))
    if options.out is not None:
        print(f"\nwrote {options.out}")
    return 0


def _require_sense(options: argparse.Namespace) -> None:
    """ConfigError for flags that exclude each other, or a place that cannot be written."""
    if options.kit is not None:
        _require_only_a_kit(options)
        reads = (*files_read(options), *folders_read(options))
        require_folder(options.kit, KIT_NAME, "profile kit", reads)
    given = [*speeds_given(options), *(["--edge"] if options.edge is not None else [])]
    if options.threads > 1 and given:
        raise ConfigError(
            f"{given[0]}: with --threads {options.threads} this very machine is measured as the "
            f"device; leave {given[0]} or --threads out"
        )
    if options.out is not None:
        require_file(options.out, files_read(options))


def _require_only_a_kit(options: argparse.Namespace) -> None:
    for flag, is_given in (("-o", options.out is not None), ("--threads", options.threads > 1)):
        if is_given:
            raise ConfigError(
                f"{flag}: --kit writes a kit and measures nothing; leave one of the two out, "
                "and give -o and --threads to `isthmus edge profile` on the device"
            )


def _kit(workbench: Workbench, options: argparse.Namespace) -> int:
    kit = workbench.write_kit(options.kit)
    size_bytes = sum(path.stat().st_size for path in kit.iterdir())
    if options.json:
        print_json({"kit": str(kit), "size_bytes": size_bytes})
        return 0
    print(f"{kit}: {size_bytes / 1e6:.1f} MB; copy it to the device, and there:")
    print(f"  isthmus edge profile {kit.name} -o edge.json")
    return 0


def _measured(workbench: Workbench, options: argparse.Namespace) -> DeviceProfile:
    """With several threads, which is not what heads are timed with: nothing is kept."""
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        kit = workbench.write_kit(Path(folder) / "kit")
        with ProgressLine(quiet=options.quiet) as progress:
            return profile_kit(kit, ProfilingConfig(threads=options.threads), progress=progress)
