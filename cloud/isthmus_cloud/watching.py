"""Who looks at the service: metrics, logs, traces, and the page that shows it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from isthmus import ConfigError
from isthmus.web import WebConfig, WebServer, read_token
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.core import Core
from isthmus_cloud.file_stamps import FileStamp, stamp_of
from isthmus_cloud.telemetry.dashboard import DashboardObserver, service_routes
from isthmus_cloud.telemetry.health import Health
from isthmus_cloud.telemetry.metrics import Levels
from isthmus_cloud.telemetry.observed import Observed, observed

LOOK_S = 1.0

__all__ = ["Page", "Watched", "page", "watched"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watched:
    """A core, and what hears of it; a `board` only where there is a page to show it."""

    core: Core
    board: DashboardObserver | None
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

    def words() -> Mapping[str, str]:
        return _providers(core)

    board = None if config.web is None else DashboardObserver("Isthmus cloud", gauges, words)
    boards = [] if board is None else [board]
    async with observed(config.traces, boards) as seen, Core(config, seen.observer) as core:
        seen.metrics.watch(
            Levels(
                streams=lambda: core.streams,
                sessions_parked=lambda: core.sessions.parked,
                frames_waiting=lambda: core.desk.waiting,
                bytes_in_flight=lambda: core.desk.bytes_in_flight,
            )
        )
        yield Watched(core, board, seen)


class Page:
    """The page's server, whose certificate and token are those of their files, as they are now.

    They may have changed since `config` was made of them, so that the first look reads them, too.
    """

    def __init__(self, server: WebServer, config: WebConfig, token_file: Path | None) -> None:
        self._server = server
        self._config = config
        self._token_file = token_file
        self._seen: tuple[FileStamp | None, ...] | None = None

    async def look(self) -> None:
        """Take up what has changed; what cannot be used is told once, and all stays as it was."""
        stamps, before = await asyncio.to_thread(self._stamps), self._seen
        if stamps == before:
            return
        token = self._config.token
        is_whole = await asyncio.to_thread(self._read_token)
        try:
            await self._server.renew(self._config)
        except ConfigError as error:
            _logger.warning("%s; the page keeps the certificate before", error)
            is_whole = False
        if is_whole and (before is not None or self._config.token != token):  # else as at the start
            _logger.info("the page has its certificate and its token from their files again")
        self._seen = stamps  # not where it failed in another way: that is looked at again

    async def keep_looking(self) -> None:
        """Every `LOOK_S`, until it is cancelled; what fails is logged, and looked at again."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except Exception:
                _logger.exception("the page's files could not be looked at; it stays as it was")

    def _read_token(self) -> bool:
        """False where it stays because there is none to be read; a new certificate holds still."""
        if self._token_file is None:
            return True
        try:
            self._config = replace(self._config, token=read_token(self._token_file))
        except ConfigError as error:
            _logger.warning("%s; the page keeps the token before", error)
            return False
        return True

    def _stamps(self) -> tuple[FileStamp | None, ...]:
        config = self._config
        files = (self._token_file, config.tls_certificate, config.tls_key)
        return tuple(stamp_of(path) for path in files if path is not None)


@asynccontextmanager
async def page(
    config: ServiceConfig, looked_at: Watched, health: Health, announce: Callable[[str], None]
) -> AsyncIterator[None]:
    """The dashboard, `/metrics` and probes on an address of their own, if one was given."""
    if config.web is None or looked_at.board is None:
        yield
        return
    routes = service_routes(looked_at.board, looked_at.seen.metrics.text, health)
    web = WebServer(config.web, routes)
    await web.start()
    looking = asyncio.create_task(Page(web, config.web, config.web_token_file).keep_looking())
    try:
        announce(f"the dashboard is on {', '.join(web.addresses)}")
        yield
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        await web.stop()


def _providers(core: Core) -> Mapping[str, str]:
    """What computes: once, or of each model where they differ."""
    found = {each.name: each.answerer.provider for each in core.deployments.active}
    if len(set(found.values())) == 1:
        return {"on": next(iter(found.values()))}
    return {f"{name} on": provider for name, provider in found.items()}
