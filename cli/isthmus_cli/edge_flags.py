"""The flags of `isthmus edge`, and what they say of an agent."""

import argparse
from pathlib import Path
from typing import Any, get_args

from isthmus_cli.credentials import add_credentials
from isthmus_cli.numbers import count, duration
from isthmus_edge import AgentConfig
from isthmus_edge.runtimes import RuntimeChoice

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
# Flags that go with --config; all others are for BUNDLE PICTURE….
_OF_DAEMON = {"config", "log_format"}

__all__ = ["add_flags", "agent_config", "check_usage", "size"]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them; `check_usage` finds the parser again."""
    parser.usage = (
        "isthmus edge BUNDLE PICTURE… [--cloud HOST:PORT] [options]\n"
        "       isthmus edge BUNDLE --inputs NPZ [--cloud HOST:PORT] [options]\n"
        "       isthmus edge --config FILE [--log-format text|json]\n"
        "       isthmus edge check | status | profile --help"
    )
    parser.set_defaults(parser=parser)
    add = parser.add_argument
    add("bundle", type=Path, nargs="?", metavar="BUNDLE", help="what `isthmus build` wrote")
    add("pictures", type=Path, nargs="*", metavar="PICTURE", help="picture files or folders")
    add("--inputs", type=Path, metavar="NPZ", help="rows of arrays, in place of pictures")
    _add_daemon(parser.add_argument_group("as a daemon"))
    _add_cloud(parser.add_argument_group("the cloud"))
    _add_wishes(parser.add_argument_group("what is wanted, or decided in the policy's place"))
    _add_device(parser.add_argument_group("this device"))
    _add_output(parser.add_argument_group("what is printed, and told to others"))


def _add_daemon(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--config", type=Path, metavar="FILE", help="run the daemon that this TOML file describes")
    add(
        "--log-format",
        choices=["text", "json"],
        help="of the daemon's log (default: [log] format; text on a terminal, else json)",
    )


def _add_cloud(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--cloud",
        metavar="HOST:PORT[,…]",
        help="where `isthmus cloud` listens; of several, or with dns:NAME:PORT of all that a name "
        "stands for, one is taken by lot, and the next when it ends",
    )
    add(
        "--no-balance",
        action="store_true",
        help="of several in --cloud take the first that answers, in their order, and stay there "
        "until it ends (default: one by lot, and move where there is clearly less to do); "
        "in the daemon's file: [agent] balance = false",
    )
    add_credentials(group)
    add(
        "--require-cloud",
        action="store_true",
        help="end with an error if --cloud cannot be reached, or refuses this device, at the "
        "start (default: answer here, and go on trying)",
    )


def _add_wishes(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--objective", choices=["latency", "throughput"], default="latency")
    add(
        "--power",
        choices=["full", "saver"],
        default="full",
        help="saver: of what is in time, the way that costs this device least energy",
    )
    add(
        "--audit-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the frames, also sent raw for the cloud to compare with the unsplit model",
    )
    add(
        "--candidate",
        metavar="ID[@RUNG]",
        help="pin one candidate of the plan, or one rung of it (0 is the finest), and do not adapt",
    )
    add("--fixed-rung", action="store_true", help="always the coarsest rung above the floor")
    add(
        "--video",
        choices=["auto", "off"],
        default="auto",
        help="off: never send a frame as the difference to the one before (default %(default)s)",
    )
    add("--deadline-ms", type=duration, help="finish on the device rather than be later than this")


def _add_device(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--runtime",
        choices=get_args(RuntimeChoice),
        default="auto",
        help="auto: for each head the installed one that was fastest when it was measured",
    )
    add(
        "--max-memory",
        type=size,
        metavar="SIZE",
        help="that loading the heads may take, as 300MB; those that do not fit are left out",
    )


def _add_output(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--top", type=count, default=3, metavar="K", help="classes to print (default %(default)s)")
    add("--repeat", type=count, default=1, metavar="N", help="go N times over the items")
    add("--stats", action="store_true", help="print a table at the end: memory, link, audits …")
    add("--json", action="store_true", help="print answers and statistics as JSON")
    add("--verbose", action="store_true", help="log switches and the state of the link")
    add(
        "--traces",
        metavar="URL",
        help="send spans of every frame to this OTLP collector, http://HOST:PORT or "
        "https://HOST:PORT; needs pip install 'isthmus[telemetry]'",
    )
    add(
        "--trace-share",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="of the frames, with --traces (default: all)",
    )


def check_usage(options: argparse.Namespace) -> None:
    """End with the usage and status 2 unless the flags make one of the three commands."""
    parser: argparse.ArgumentParser = options.parser
    if options.config is not None:
        if strangers := _given(options, parser):
            parser.error(
                f"{', '.join(strangers)}: not beside --config; the file says it (see `isthmus edge "
                "check --help`)"
            )
        return
    if options.log_format is not None:
        parser.error("--log-format: is for the daemon; give --config FILE too")
    if options.bundle is None:
        parser.error("give BUNDLE and PICTURE…, or --config FILE")
    if not options.pictures and options.inputs is None:
        parser.error("one of the arguments PICTURE --inputs is required")
    if options.pictures and options.inputs is not None:
        parser.error("argument --inputs: not allowed with argument PICTURE")


def _given(options: argparse.Namespace, parser: argparse.ArgumentParser) -> list[str]:
    """What was given and is not for the daemon."""
    names = {
        action.dest: (action.option_strings or [str(action.metavar)])[0]
        for action in parser._actions
        if action.dest not in {"help", *_OF_DAEMON}
    }
    return [
        flag
        for dest, flag in names.items()
        if getattr(options, dest) not in (parser.get_default(dest), [])
    ]


def agent_config(options: argparse.Namespace) -> AgentConfig:
    """The agent that the flags ask for."""
    settings: dict[str, Any] = {
        "bundle": options.bundle,
        "cloud": options.cloud,
        "tls_ca": options.tls_ca,
        "tls_certificate": options.tls_cert,
        "tls_key": options.tls_key,
        "token_file": options.token_file,
        "insecure": options.insecure,
        "balance": not options.no_balance,
        "require_cloud": options.require_cloud,
        "objective": options.objective,
        "power": options.power,
        "audit_share": options.audit_share,
        "candidate": options.candidate,
        "rate_control": not options.fixed_rung,
        "video": options.video,
        "answer_top_k": options.top,
        "runtime": options.runtime,
        "max_memory_bytes": options.max_memory,
        "traces": options.traces,
        "trace_share": options.trace_share,
    }
    return AgentConfig(**settings)


def size(text: str) -> int:
    """Bytes: a whole number, with KB, MB or GB behind it if need be."""
    unit = next((unit for unit in ("KB", "MB", "GB") if text.upper().endswith(unit)), "")
    digits = text[: len(text) - len(unit)].strip()
    if not digits.isascii() or not digits.isdigit() or int(digits) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give bytes, or as 300MB")
    return int(digits) * _UNITS[unit]
