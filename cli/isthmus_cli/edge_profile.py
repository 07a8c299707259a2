"""`isthmus edge profile`: measure a profile kit on this very device."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from isthmus import DeviceProfile, encode_profile
from isthmus_cli.console import sigterm_as_ctrl_c
from isthmus_cli.numbers import count, duration
from isthmus_cli.progress import ProgressLine
from isthmus_cli.targets import require_file
from isthmus_edge.profiling import ProfilingConfig, partial_of, profile_kit, write_whole
from isthmus_edge.profiling.kit import read_kit
from isthmus_edge.runtimes import RUNTIME_NAMES

DESCRIPTION = """\
Measure on this device what `isthmus profile --kit DIR MODEL` has put into the kit DIR: the
whole network in each precision, some prefixes of it, and every kernel, on every runtime that
is installed (ONNX Runtime, LiteRT, tflite-runtime). It takes turns over many rounds and
writes medians, spread, memory and conditions to a file, with which
`isthmus plan MODEL --edge FILE` plans for this device. Needs neither onnx nor the model.
What each network answers is compared with what ONNX Runtime gave for the same inputs where
the kit was written ("off by"); a runtime whose answers are garbage is left out with a note.

Ctrl-C keeps what was measured; the same command then goes on from there.
"""
EXAMPLES = """\
  isthmus edge profile kit/ -o edge.json
  isthmus edge profile kit/ -o edge.json --threads 4 --seconds 120
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "profile_table", "run"]

_DEFAULTS = ProfilingConfig()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("kit", type=Path, metavar="KIT", help="directory that `isthmus profile --kit` wrote")
    add("-o", "--out", type=Path, required=True, metavar="FILE", help="where the profile goes")
    add(
        "--threads",
        type=count,
        default=_DEFAULTS.threads,
        metavar="N",
        help="that compute one item (default %(default)s)",
    )
    add(
        "--runtime",
        choices=["auto", *RUNTIME_NAMES],
        default=_DEFAULTS.runtime,
        help="to measure (default %(default)s: all that are installed)",
    )
    add(
        "--rounds",
        type=count,
        default=_DEFAULTS.rounds,
        metavar="N",
        help="in which each network takes its turn (default %(default)s)",
    )
    add("--seconds", type=duration, metavar="S", help="end the rounds after this long")
    add("--json", action="store_true", help="print the profile as JSON instead of a table")
    add("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Measure, write, print."""
    sigterm_as_ctrl_c()
    config = ProfilingConfig(
        threads=options.threads,
        runtime=options.runtime,
        rounds=options.rounds,
        seconds=options.seconds,
    )
    read_kit(options.kit)  # what is no kit is said first
    require_file(options.out, [options.kit])
    partial = partial_of(options.out)
    try:
        with ProgressLine(quiet=options.quiet) as progress:
            profile = profile_kit(options.kit, config, partial=partial, progress=progress)
    except KeyboardInterrupt:
        if partial.exists():
            sys.stderr.write(
                f"isthmus edge profile: interrupted; what was measured is kept in {partial}, "
                "run the same command to go on\n"
            )
        raise
    data = encode_profile(profile)
    write_whole(options.out, data)
    partial.unlink(missing_ok=True)
    if options.json:
        print(data.decode(), end="")
    else:
        print("\n".join(profile_table(profile)))
        print(f"\nwrote {options.out}; plan with it: isthmus plan MODEL --edge {options.out}")
    return 0


def profile_table(profile: DeviceProfile) -> Iterator[str]:
    """Lines for people: the device, its networks with their prefixes, what to know of it."""
    there = profile.conditions
    yield f"{profile.model_name} on {there.device}"
    threads = "1 thread" if there.threads == 1 else f"{there.threads} threads"
    governor = f"governor {there.governor}, " if there.governor else ""
    warmth = "{:.0f} to {:.0f} °C, ".format(*profile.temperature_c) if profile.temperature_c else ""
    yield (
        f"{', '.join(map(' '.join, there.runtimes.items()))}, {threads}, {there.clock}, "
        f"{governor}{warmth}power: {there.power}, {profile.rounds} rounds"
    )
    yield ""
    yield f"{'network':<24} {'ms':>9}  {'p25 to p75':<19} {'memory':>9} {'drift':>6} {'off by':>6}"
    for network in profile.networks:
        spread = f"{network.low_ms:.2f} to {network.high_ms:.2f}"
        title = f"{network.name} on {network.runtime}"
        yield (
            f"{title:<24} {network.ms:>9.2f}  {spread:<19} "
            f"{network.memory_bytes / 1e6:>6.1f} MB {network.drift:>+6.0%} {network.error:>6.1%}"
        )
        for prefix in profile.prefixes:
            if (prefix.network, prefix.runtime) == (network.name, network.runtime):
                name = _shortened("  to " + ", ".join(prefix.tensors), 24)
                spread = f"{prefix.low_ms:.2f} to {prefix.high_ms:.2f}"
                yield f"{name:<24} {prefix.ms:>9.2f}  {spread:<19}".rstrip()
    for note in profile.notes:
        yield f"note: {note}"


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
