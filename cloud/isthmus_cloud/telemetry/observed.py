"""All that listens to the service, put together: metrics and logs always, traces if asked for."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from isthmus.tracing import TraceSettings
from isthmus_cloud.telemetry.happenings import Observer, Observers
from isthmus_cloud.telemetry.logs import LogObserver
from isthmus_cloud.telemetry.metrics import PrometheusObserver
from isthmus_cloud.telemetry.tracing import tracing

__all__ = ["Observed", "observed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """`observer` is for the core; `metrics` for whoever serves them."""

    observer: Observers
    metrics: PrometheusObserver


@asynccontextmanager
async def observed(
    traces: TraceSettings | None = None, others: Iterable[Observer] = ()
) -> AsyncIterator[Observed]:
    """As long as the context lasts; then what is left of logs and spans is told.

    Raises ConfigError where traces are wanted and OpenTelemetry is not installed.
    """
    metrics, log = PrometheusObserver(), LogObserver()
    async with AsyncExitStack() as ends:
        ends.callback(log.flush)
        observers: list[Observer] = [metrics, log, *others]
        if traces is not None:
            observers.append(await ends.enter_async_context(tracing(traces)))
        yield Observed(observer=Observers(observers), metrics=metrics)
