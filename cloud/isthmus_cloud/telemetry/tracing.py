"""Traces of the service: who does not switch them on does not load OpenTelemetry either."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from isthmus.tracing import TraceSettings, span_export

if TYPE_CHECKING:
    from isthmus_cloud.telemetry.spans import SpanObserver

__all__ = ["tracing"]


@asynccontextmanager
async def tracing(settings: TraceSettings) -> "AsyncIterator[SpanObserver]":
    """An observer whose spans leave for the collector; at the end what is left is sent, for at most
    a few seconds.

    Raises ConfigError where OpenTelemetry is not installed.
    """
    export = await asyncio.to_thread(span_export, settings, "isthmus-cloud")
    try:
        from isthmus_cloud.telemetry.spans import SpanObserver  # noqa: PLC0415 (needs the extra)

        yield SpanObserver(export.provider)
    finally:
        await asyncio.to_thread(export.close)
