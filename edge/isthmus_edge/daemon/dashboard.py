"""The daemon's live page: `[dashboard] listen = "127.0.0.1:8080"`.

The same page as the cloud service's, from the device's side. It shows what `isthmus edge status`
says, and a minute of answers; nothing can be changed through it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from isthmus.web import (
    Feed,
    Reply,
    Request,
    Route,
    WebConfig,
    WebServer,
    encode_board,
    live_page,
    probe,
)
from isthmus_edge.answer import Stats
from isthmus_edge.daemon.boards import FrameWatch, Watched
from isthmus_edge.daemon.serving import Answering
from isthmus_edge.daemon.status import Status
from isthmus_edge.policy.vitals import Vitals, read_vitals

PERIOD_S = 1.0  # a device has better things to do

AskStatus = Callable[[], Awaitable[Status]]
LastStats = Callable[[], Stats | None]

__all__ = ["Dashboard", "device_routes"]


class Dashboard:
    """One page of one daemon. `start` and `stop` within the daemon's loop."""

    def __init__(self, config: WebConfig, status: AskStatus, stats: LastStats) -> None:
        self._watch = FrameWatch()
        self._server = WebServer(config, device_routes(self._watch, status, stats))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it can be looked at, as URLs."""
        return self._server.addresses

    async def start(self) -> None:
        """Listen; ConfigError for an address in use."""
        await self._server.start()

    async def stop(self) -> None:
        """End; who looks is told that the connection is lost."""
        await self._server.stop()

    def watched(self, agent: Answering) -> Answering:
        """The agent, with its answers noted for the page."""
        return Watched(agent, self._watch)


def device_routes(
    watch: FrameWatch,
    status: AskStatus,
    stats: LastStats,
    vitals: Callable[[], Vitals] = read_vitals,
) -> dict[str, Route]:
    """For a `WebServer`: the page, its events, `/livez`, and `/readyz`: 200 while it runs."""

    async def page(_request: Request) -> Reply:
        return live_page()

    async def message() -> bytes:
        told = await status()
        return await asyncio.to_thread(_message, watch, told, stats(), vitals)

    async def ready(request: Request) -> Reply:
        told = await status()
        return await probe(lambda: told.state in {"running", "reloading"})(request)

    return {
        "/": Route(page),
        "/events": Route(Feed(message, PERIOD_S)),
        "/livez": Route(probe(lambda: True), is_open=True),
        "/readyz": Route(ready, is_open=True),
    }


def _message(
    watch: FrameWatch, status: Status, stats: Stats | None, vitals: Callable[[], Vitals]
) -> bytes:
    return encode_board(watch.fill(status, stats, vitals(), time.time()))
