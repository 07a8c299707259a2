"""The flags of `isthmus cloud` for logs and traces."""

import argparse
from typing import get_args

from isthmus import ConfigError
from isthmus.tracing import TraceSettings
from isthmus_cloud.telemetry.logs import LogFormat

TRACE_SHARE = 0.01

__all__ = ["add_telemetry_flags", "trace_settings"]


def add_telemetry_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them; `trace_settings` reads those of traces."""
    add = parser.add_argument_group("logs and traces").add_argument
    add(
        "--log-format",
        choices=get_args(LogFormat),
        default="auto",
        help="of the log on stderr (default: text on a terminal, else json)",
    )
    add(
        "--traces",
        metavar="URL",
        help="send spans to this OTLP collector, http://HOST:PORT or https://HOST:PORT; needs "
        "pip install 'isthmus[telemetry]'",
    )
    add(
        "--trace-share",
        type=float,
        metavar="SHARE",
        help="of the frames whose devices do not trace; those of devices that do are all traced "
        f"(default {TRACE_SHARE})",
    )


def trace_settings(options: argparse.Namespace) -> TraceSettings | None:
    """Where spans go, None for nowhere; ConfigError for an address or a share that is none."""
    share = options.trace_share
    if options.traces is None:
        if share is not None:
            raise ConfigError(
                f"--trace-share {share}: there are no traces without a collector; add --traces URL"
            )
        return None
    return TraceSettings(endpoint=options.traces, share=TRACE_SHARE if share is None else share)
