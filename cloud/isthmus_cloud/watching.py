"""Who looks at the service: metrics, logs, traces, and the page that shows it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from isthmus.web import WebServer
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.core import Core
from isthmus_cloud.telemetry.dashboard import DashboardObserver, service_routes
from isthmus_cloud.telemetry.health import Health
from isthmus_cloud.telemetry.metrics import Levels
from isthmus_cloud.telemetry.observed import Observed, observed

__all__ = ["Watched", "page", "watched"]


@dataclass(frozen=True, slots=True)
class Watched:
    """A core, and what hears of it."""

    core: Core
    board: DashboardObserver
    seen: Observed


@asynccontextmanager
async def watched(config: ServiceConfig) -> AsyncIterator[Watched]:
    """A core that is looked at, as long as the context lasts."""

    def gauges() -> Mapping[str, float]:
        return {
            "streams": core.streams,
            "parked sessions": core.sessions.parked,
            "frames waiting": core.desk.waiting,
            "MB in flight": core.desk.bytes_in_flight / 1e6,
        }

    board = DashboardObserver("Isthmus cloud", gauges)
    async with observed(config.traces, [board]) as seen, Core(config, seen.observer) as core:
        seen.metrics.watch(
            Levels(
                streams=lambda: core.streams,
                sessions_parked=lambda: core.sessions.parked,
                frames_waiting=lambda: core.desk.waiting,
                bytes_in_flight=lambda: core.desk.bytes_in_flight,
            )
        )
        yield Watched(core, board, seen)


@asynccontextmanager
async def page(
    config: ServiceConfig, looked_at: Watched, health: Health, announce: Callable[[str], None]
) -> AsyncIterator[None]:
    """The dashboard, `/metrics` and probes on an address of their own, if one was given."""
    if config.web is None:
        yield
        return
    routes = service_routes(looked_at.board, looked_at.seen.metrics.text, lambda: health.is_ready)
    web = WebServer(config.web, routes)
    await web.start()
    try:
        announce(f"the dashboard is on {', '.join(web.addresses)}")
        yield
    finally:
        await web.stop()
