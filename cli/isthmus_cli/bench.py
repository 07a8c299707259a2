"""`isthmus bench WHAT`: the figures behind the documentation, for anybody to measure again."""

import argparse
import json
from pathlib import Path

from isthmus_bench.wire.bench import WireBenchConfig, run_wire_bench
from isthmus_bench.wire.report import wire_json, wire_lines
from isthmus_bench.wire.subjects import SUBJECT_NAMES
from isthmus_cli.console import Steps, write_file

DESCRIPTION = """\
Measure again what the documentation says. Every figure stands beside its baselines of the
same run.

  wire   our codec beside zlib, zstd, lz4, blosc2, ZFP, JPEG-LS, JPEG XL on the cut tensors of
         real networks; beside JPEG, WebP, AVIF and H.264 of the picture at equal error;
         rate control on a stepping budget; mutated frames. About fifteen minutes. Needs
         pip install 'isthmus[bench,wire-bench]'.
"""
EXAMPLES = """\
  isthmus bench wire
  isthmus bench wire --models efficientnet-lite0 --frames 0 --json wire.json
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]

_DEFAULTS = WireBenchConfig()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("what", choices=["wire"], help="what to measure")
    add(
        "--models",
        nargs="+",
        metavar="NAME",
        default=list(_DEFAULTS.models),
        help=f"some of {', '.join(SUBJECT_NAMES)} (default: all)",
    )
    add("--floor", type=float, default=_DEFAULTS.floor, help="agreement (default %(default)s)")
    add("--inputs", type=int, default=_DEFAULTS.inputs, help="a model (default %(default)s)")
    add("--frames", type=int, default=_DEFAULTS.frames, help="a clip, 0: none (%(default)s)")
    add(
        "--fuzz-frames",
        type=int,
        default=_DEFAULTS.fuzz_frames,
        help="mutated frames (default %(default)s)",
    )
    add("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    add("--quiet", action="store_true", help="no progress lines")


def run(options: argparse.Namespace) -> int:
    """Run the bench and print its report."""
    config = WireBenchConfig(
        models=tuple(options.models),
        floor=options.floor,
        inputs=options.inputs,
        frames=options.frames,
        fuzz_frames=options.fuzz_frames,
    )
    if options.json is not None:
        write_file(options.json, "")  # learn now, not at the end, if it cannot be written
    result = run_wire_bench(config, Steps(quiet=options.quiet))
    print("\n".join(wire_lines(result)))
    if options.json is not None:
        write_file(options.json, json.dumps(wire_json(result), indent=1) + "\n")
    return 0
