"""`isthmus cloud`: serve the tails of a bundle."""

import argparse
import logging
from pathlib import Path

from isthmus_cli.console import drop_output
from isthmus_cli.door_flags import add_door_flags, door_settings
from isthmus_cloud import ServiceConfig, run_service

DESCRIPTION = """\
Serve the tails of a bundle to devices: checks every file of the bundle, loads all
tails, prints one line with the address when devices may come, and drains on
SIGTERM or Ctrl-C (a second one forces). CUDA is used where ONNX Runtime offers it.
"""
EXAMPLES = """\
  isthmus cloud lite0.bundle --listen 127.0.0.1:50051
  isthmus cloud lite0.bundle --listen 0.0.0.0:50051 --tls-cert server.pem --tls-key server.key
  isthmus cloud lite0.bundle --listen 0.0.0.0:443 --tls-cert s.pem --tls-key s.key --tokens t.jsonl
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    defaults = ServiceConfig(bundle=Path())
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="directory that `isthmus build` wrote")
    add("--listen", default=defaults.listen, metavar="HOST:PORT", help="port 0 takes a free one")
    add_door_flags(parser, defaults)
    _add_capacity(parser, defaults)
    add("--provider", choices=["auto", "cpu", "cuda"], default=defaults.provider)
    _add_times(parser, defaults)
    add("--verbose", action="store_true", help="log every connection and refused frame")


def _add_capacity(parser: argparse.ArgumentParser, defaults: ServiceConfig) -> None:
    add = parser.add_argument
    add(
        "--window",
        type=int,
        default=defaults.window,
        help="frames in flight a device (default %(default)s)",
    )
    add(
        "--workers",
        type=int,
        default=defaults.workers,
        help="tails that run at once (default %(default)s)",
    )
    add(
        "--threads",
        type=int,
        default=defaults.threads,
        help="threads of one tail (default: all cores)",
    )
    add(
        "--decoders",
        type=int,
        default=defaults.decoders,
        help="threads that help to decode a batch (default %(default)s)",
    )
    add(
        "--max-batch",
        type=int,
        default=defaults.max_batch,
        metavar="N",
        help="frames that run together at most, of those that wait; how many pay is measured when "
        "a tail is loaded; 1 runs each by itself (default %(default)s)",
    )
    add(
        "--linger-ms",
        type=float,
        default=defaults.linger_s * 1e3,
        metavar="MS",
        help="hold a batch back for so long until it is full, as far as deadlines allow (default "
        "%(default)s: a free worker takes what is there)",
    )
    add(
        "--no-joins",
        action="store_true",
        help="do not run frames together that were cut at different depths",
    )
    add(
        "--max-waiting",
        type=int,
        default=defaults.max_waiting,
        metavar="N",
        help="frames of all devices that wait at most; more are refused (default %(default)s)",
    )
    add(
        "--max-bytes-in-flight",
        type=int,
        default=defaults.max_bytes_in_flight,
        metavar="BYTES",
        help="memory for the frames of all devices (default %(default)s)",
    )


def _add_times(parser: argparse.ArgumentParser, defaults: ServiceConfig) -> None:
    add = parser.add_argument
    add(
        "--drain-grace",
        type=float,
        default=defaults.drain_grace_s,
        metavar="S",
        help="seconds to finish in (default %(default)s)",
    )
    add(
        "--idle-s",
        type=float,
        default=defaults.idle_s,
        metavar="S",
        help="end a stream on which nothing was heard for so long; a device that has nothing to "
        "send beats about twice a second (default %(default)s)",
    )
    add(
        "--resume-s",
        type=float,
        default=defaults.resume_s,
        metavar="S",
        help="after a stream broke, go on with its frames and keep their results for so long: a "
        "device that comes back gets them without sending again; 0 keeps none (default "
        "%(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING)
    config = ServiceConfig(
        bundle=options.bundle,
        listen=options.listen,
        **door_settings(options),
        window=options.window,
        threads=options.threads,
        workers=options.workers,
        decoders=options.decoders,
        max_batch=options.max_batch,
        linger_s=options.linger_ms / 1e3,
        joins=not options.no_joins,
        max_waiting=options.max_waiting,
        max_bytes_in_flight=options.max_bytes_in_flight,
        drain_grace_s=options.drain_grace,
        provider=options.provider,
        idle_s=options.idle_s,
        resume_s=options.resume_s,
    )
    run_service(config, _announce)
    return 0


def _announce(line: str) -> None:
    """Print; a reader who has gone (`| head -1`) must not keep the service from draining."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        drop_output()
