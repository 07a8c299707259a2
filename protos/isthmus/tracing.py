"""How one frame's trace spans two machines: the W3C trace context that crosses, and where spans go.

A *span* is a named stretch of time; spans with one trace id make a tree. The device's span of a
frame is named to the service in `Frame.traceparent`, in the form of https://www.w3.org/TR/trace-context/:

    00-<trace id: 32 hex digits>-<span id: 16>-<flags: 2, of which the last bit means "sampled">

Nothing here needs OpenTelemetry; `span_export` loads it, and only who has switched traces on calls
that.
"""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from isthmus.errors import ConfigError

if TYPE_CHECKING:
    from isthmus.otlp import SpanExport

APPLICATION = "application"  # spans go where the program's own tracer provider sends them
_EXPORT = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.grpc")
_SAMPLED = 0x01
_LENGTH = 55
_MOST_CHARACTERS = 256  # of later versions: who reads one may keep it for a while
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)

__all__ = [
    "APPLICATION",
    "TraceContext",
    "TraceSettings",
    "format_traceparent",
    "parse_traceparent",
    "span_export",
    "trace_settings",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """One span, as others name it: 128 and 64 bits, neither of them 0."""

    trace_id: int
    span_id: int
    is_sampled: bool


def parse_traceparent(text: str) -> TraceContext | None:
    """The context that a stranger's header names; None where it names none.

    A header that is not as the standard says is no error: a frame is answered with or without it.
    Of versions after 00, the fields that are known are read, as the standard asks for.
    """
    found = _FORM.match(text)
    if found is None:
        return None
    version, trace_id, span_id, flags = (int(digits, 16) for digits in found.groups())
    rest = text[_LENGTH:]
    is_whole = not rest if version == 0 else not rest or rest.startswith("-")
    if len(text) > _MOST_CHARACTERS or not is_whole or version == 0xFF:
        return None
    if not trace_id or not span_id:
        return None
    return TraceContext(trace_id=trace_id, span_id=span_id, is_sampled=bool(flags & _SAMPLED))


def format_traceparent(context: TraceContext) -> str:
    """The header for a context, 55 characters."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.is_sampled:02x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """Where spans are sent, and of how many frames.

    `endpoint` is an OTLP collector's gRPC address, ``http://HOST:PORT`` in the clear or
    ``https://HOST:PORT``. `share` of the traces that begin in this process are recorded; one that
    began elsewhere is recorded if it is recorded there. ConfigError names what cannot be used.
    """

    endpoint: str
    share: float = 1.0

    def __post_init__(self) -> None:
        if not _is_address(self.endpoint):
            raise ConfigError(
                f"traces {self.endpoint!r} is no address of an OTLP collector; use "
                "http://HOST:PORT (in the clear) or https://HOST:PORT, for instance "
                "http://127.0.0.1:4317"
            )
        if not 0 <= self.share <= 1:
            raise ConfigError(f"trace_share is {self.share}; it must lie between 0 and 1")


def trace_settings(traces: str, share: float) -> TraceSettings | None:
    """How to export spans for a setting `traces`: None for "application", where the tracer provider
    that the program has set up does that.

    Raises ConfigError for what is neither that nor a collector's address, and where OpenTelemetry
    is not installed.
    """
    if traces == APPLICATION:
        _require("opentelemetry.trace")
        return None
    settings = TraceSettings(endpoint=traces, share=share)
    _require(*_EXPORT)
    return settings


def span_export(settings: TraceSettings, service: str) -> "SpanExport":
    """OpenTelemetry at work: spans of `service` ("isthmus-cloud") leave for the collector.

    Raises ConfigError where it is not installed.
    """
    _require(*_EXPORT)
    from isthmus.otlp import SpanExport  # noqa: PLC0415 (an extra, and slow to load)

    return SpanExport(settings, service)


def _require(*modules: str) -> None:
    """ConfigError, with the way to get them, for what is not installed; loads nothing but their
    parents."""
    for module in modules:
        try:
            is_there = find_spec(module) is not None
        except ModuleNotFoundError:  # of a parent
            is_there = False
        if not is_there:
            raise ConfigError(
                f"traces need OpenTelemetry, of which {module} is not installed; "
                "pip install 'isthmus[telemetry]', or leave traces off"
            )


def _is_address(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:  # a port that is none
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port is not None
