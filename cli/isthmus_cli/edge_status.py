"""`isthmus edge status`: ask a running daemon how it is."""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from isthmus_cli.console import print_json
from isthmus_edge.daemon import Status, ask_status
from isthmus_edge.daemon.settings import read_config
from isthmus_edge.daemon.status import SupplyStatus

DESCRIPTION = """\
Ask the daemon that `isthmus edge --config` started: since when it runs, which bundle and
candidate, the link, what was answered, memory, its sources and the last events. It is
asked through its control socket, which only its user and root may open. Ends with 1 if no
daemon answers, or if its agent does not.
"""
EXAMPLES = """\
  isthmus edge status
  isthmus edge status --config edge.toml
  isthmus edge status --socket /run/isthmus/control.sock --json
"""

EVENTS_SHOWN = 8

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run", "status_lines"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the daemon's file, which may name its control socket ([service] control)",
    )
    where.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="its control socket (default: $RUNTIME_DIRECTORY, /run/isthmus or "
        "$XDG_RUNTIME_DIR/isthmus, control.sock there)",
    )
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")


def run(options: argparse.Namespace) -> int:
    """Ask and print; 1 if the daemon is there and its agent does not answer."""
    socket = options.socket
    if options.config is not None:
        socket = read_config(options.config).service.control
    status = ask_status(socket)
    if options.json:
        print_json(msgspec.to_builtins(status))
    else:
        print("\n".join(status_lines(status)))
    return 0 if status.agent is None or status.agent.answers else 1


def status_lines(status: Status) -> Iterator[str]:
    """For people."""
    yield (
        f"isthmus edge {status.version}: {status.state} for {_span(status.uptime_s)}, "
        f"pid {status.pid}, {status.rss_bytes / 1e6:.1f} MB"
    )
    yield f"config    {status.config}, {status.reloads} reloads"
    if status.reload_fault is not None:
        yield f"          the last reload was refused: {status.reload_fault}"
    if status.bundle is not None:
        fingerprint = status.bundle["fingerprint"][:12]
        yield f"bundle    {status.bundle['model']} {fingerprint}, {status.bundle['path']}"
    if status.supply is not None:
        yield f"supply    {_supply(status.supply)}"
    yield from _agent_lines(status)
    yield f"endpoint  {', '.join(status.endpoint) or 'none'}"
    if status.dashboard:
        yield f"dashboard {', '.join(status.dashboard)}"
    for source in status.sources:
        counts = (
            f"{source.taken} taken, {source.answered} answered, {source.errors} errors, "
            f"{source.unreadable} unreadable, {source.unwritten} not written, "
            f"{source.dropped} dropped"
        )
        detail = f": {source.detail}" if source.detail else ""
        yield f"source    {source.name} ({source.kind}) {source.state}{detail}; {counts}"
    if status.output is not None:
        fault = f"; failing: {status.output.fault}" if status.output.fault else ""
        yield f"output    {status.output.written} written, {status.output.unwritten} not{fault}"
    for event in status.events[-EVENTS_SHOWN:]:
        yield f"event     {_event(event)}"


def _agent_lines(status: Status) -> Iterator[str]:
    agent, counts = status.agent, status.counts
    if agent is None or counts is None:
        return
    if not agent.answers:
        yield "agent     does not answer; what follows is old"
    link = agent.link
    rate = "" if link.bandwidth_bps is None else f", {link.bandwidth_bps / 1e6:.2f} Mbit/s"
    trip = "" if link.rtt_ms is None else f", round trip {link.rtt_ms:.1f} ms"
    yield f"link      {link.state}{rate}{trip}"
    if link.cloud is not None:
        named = f", {link.model} {link.version}".rstrip() if link.model else ""
        yield f"cloud     {link.cloud}{named}"
    if agent.update is not None:
        offered = agent.update
        which = f"{offered.model} {offered.version} {offered.fingerprint[:12]}"
        yield f"update    {which} is the cloud's active version; this device runs its own still"
    is_pinned = agent.candidate is not None and agent.switches == 0  # else it came by a switch
    how = " (pinned)" if is_pinned else f", {agent.switches} switches"
    yield f"candidate {agent.candidate or 'none yet'}{how}"
    yield (
        f"frames    {counts.accepted} accepted, {counts.answered_cloud} answered by the cloud, "
        f"{counts.answered_device} by the device, {counts.errors} errors, {counts.pending} pending"
    )


def _supply(supply: SupplyStatus) -> str:
    which = f"{supply.model} {supply.version} {supply.fingerprint[:12]}".rstrip()
    share = "" if supply.share is None else f", {supply.share:.0%}"
    fault = "" if supply.fault is None else f": {supply.fault}"
    return f"{which}: {supply.state}{share}{fault}"


def _span(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{hours:.1f} h"


def _event(event: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(event["time_s"], UTC).isoformat(timespec="seconds")
    rest = {name: event[name] for name in event if name not in {"time_s", "level", "event"}}
    shown = ", ".join(f"{name} {value}" for name, value in rest.items())
    return f"{when} {event['level']} {event['event']}" + (f": {shown}" if shown else "")
