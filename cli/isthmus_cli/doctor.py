"""`isthmus doctor`: what this machine has and lacks, each line with the way out."""

import argparse
import os
import sys
from pathlib import Path

import msgspec

from isthmus import ConfigError
from isthmus_cli.console import print_json
from isthmus_cli.credentials import add_credentials, credentials_of
from isthmus_cli.progress import ProgressLine
from isthmus_edge.doctor import (
    Check,
    DoctorConfig,
    Finding,
    State,
    Summary,
    diagnose,
    summarise,
)

DESCRIPTION = """\
Look at this machine as a device or a server: processor, clock rate and heat, memory,
disks, packages, the runtimes that are installed (each is tried in a process of its own)
and how fast they are in int8 and fp32. With BUNDLE, whether it is whole, loads and fits;
with --cloud, the way there: name, connection, certificate, service, round trip, rates.
Each line is ok, warn or fail, with the way out. Status 1 if anything fails,
2 for wrong usage.
"""
EXAMPLES = """\
  isthmus doctor
  isthmus doctor lite0.bundle --cloud cloud.example:50051 --tls-ca ca.pem
  isthmus doctor --only runtimes,memory --json
"""

_COLOURS: dict[State, str] = {"ok": "32", "warn": "33", "fail": "31"}

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags; `run` finds the parser again."""
    parser.set_defaults(parser=parser)
    add = parser.add_argument
    add("bundle", type=Path, nargs="?", metavar="BUNDLE", help="look at this bundle, too")
    add("--cloud", metavar="HOST:PORT[,…]", help="look at the way to this service, too")
    add_credentials(parser)
    add("--state", type=Path, metavar="DIR", help="folder to be written (default: the present one)")
    add("--ntp", metavar="HOST", help="ask this time server how far the clock is off")
    add(
        "--only",
        action="append",
        default=[],
        metavar="CHECK[,CHECK]",
        help="nothing but these checks (the first word of each line, up to the dot)",
    )
    add("--quick", action="store_true", help="leave out what takes more than a moment")
    add("--json", action="store_true", help="print the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """Look, tell, and end with status 1 if anything fails, 2 if there is nothing of that name."""
    try:
        findings = _findings(options)
    except ConfigError as error:  # in the words of the command: all else is a finding
        options.parser.error(str(error))
    summary = summarise(findings)
    if options.json:
        found = [msgspec.to_builtins(finding) for finding in findings]
        print_json({"findings": found, "summary": msgspec.to_builtins(summary)})
    else:
        _tell(findings, summary)
    return summary.status


def _findings(options: argparse.Namespace) -> list[Finding]:
    config = _config(options)
    with ProgressLine(quiet=options.json or not sys.stderr.isatty()) as progress:
        findings = diagnose(config, _Steps(progress).begin)
        progress(1.0, "done")
    return findings


def _config(options: argparse.Namespace) -> DoctorConfig:
    given = {} if options.state is None else {"state": options.state}
    return DoctorConfig(
        bundle=options.bundle,
        cloud=options.cloud,
        credentials=credentials_of(options),
        insecure=options.insecure,
        only=tuple(name for names in options.only for name in names.split(",")),
        quick=options.quick,
        time_server=options.ntp,
        **given,
    )


class _Steps:
    """How far the doctor is: the number of checks differs, so the share only ever nears the end."""

    def __init__(self, progress: ProgressLine) -> None:
        self._progress = progress
        self._begun = 0

    def begin(self, check: Check) -> None:
        """The next check."""
        self._progress(self._begun / (self._begun + 6), check.question)
        self._begun += 1


def _tell(findings: list[Finding], summary: Summary) -> None:
    in_colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = max((len(finding.id) for finding in findings), default=0)
    for finding in findings:
        print(f"{_word(finding.state, in_colour)}  {finding.id:<{width}}  {finding.text}")
        if finding.way_out is not None:
            print(f"{'':{width + 8}}-> {finding.way_out}")
    print(f"{summary.ok} ok, {summary.warn} warn, {summary.fail} fail")


def _word(state: State, in_colour: bool) -> str:
    word = f"{state:<4}"
    return f"\x1b[{_COLOURS[state]}m{word}\x1b[0m" if in_colour else word
