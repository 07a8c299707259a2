"""Who looks at the service: metrics, logs, traces, and the page that shows it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from isthmus import ConfigError
from isthmus.web import WebConfig, WebServer, read_token
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.core import Core
from isthmus_cloud.file_stamps import FileStamp, stamp_of
from isthmus_cloud.looking import looking
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
                replicas=lambda: core.deployments.replicas,
            )
        )
        yield Watched(core, board, seen)


class Page:
    """The page's server, whose certificate and token are those of their files, as they are now.

    They may have changed since `config` was made of them, so that the first look reads them, too.
    """

    def __init__(self, server: WebServer, config: WebConfig, token_file: Path | None) -> None:
        self._server = server
        self._token = config.token
        self._parts: list[_Part] = []
        if token_file is not None:
            self._parts.append(_Part("token", (token_file,), partial(self._use_token, token_file)))
        if config.tls_certificate is not None and config.tls_key is not None:
            files = (config.tls_certificate, config.tls_key)
            self._parts.append(_Part("certificate", files, self._renew_certificate))

    async def look(self) -> None:
        """Take up what has changed; what cannot be used is told once, and stays as it was.

        What fails in another way is logged, and looked at again; the other part does not wait.
        """
        for part in self._parts:
            try:
                await part.look()
            except Exception:
                _logger.exception("the page's %s could not be looked at; it stays", part.name)

    async def _use_token(self, file: Path) -> bool:
        before, self._token = self._token, await asyncio.to_thread(read_token, file)
        self._server.use_token(self._token)
        return self._token != before

    async def _renew_certificate(self) -> bool:
        await self._server.renew_certificate()
        return False


@dataclass(slots=True)
class _Part:
    """What the page has from `files`. `take_up` reads them, and says whether it is another, as far
    as it knows; ConfigError if they cannot be used."""

    name: str
    files: tuple[Path, ...]
    take_up: Callable[[], Awaitable[bool]]
    _seen: tuple[FileStamp | None, ...] | None = None

    async def look(self) -> None:
        """See `Page.look`, of this part alone."""
        stamps, before = await asyncio.to_thread(self._stamps), self._seen
        if stamps == before:
            return
        try:
            is_another = await self.take_up()
        except ConfigError as error:
            _logger.warning("%s; the page keeps the %s before", error, self.name)
        else:
            if is_another or before is not None:  # else as at the start
                paths = " and ".join(map(str, self.files))
                _logger.info("the page has its %s from %s again", self.name, paths)
        self._seen = stamps  # not where it failed in another way: that is looked at again

    def _stamps(self) -> tuple[FileStamp | None, ...]:
        return tuple(map(stamp_of, self.files))


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
    files = Page(web, config.web, config.web_token_file)
    try:
        announce(f"the dashboard is on {', '.join(web.addresses)}")
        async with looking(files.look, LOOK_S, "the page's files"):
            yield
    finally:
        await web.stop()


def _providers(core: Core) -> Mapping[str, str]:
    """What computes: once, or of each model where they differ."""
    found = {each.name: each.answerer.provider for each in core.deployments.active}
    if len(set(found.values())) == 1:
        return {"on": next(iter(found.values()))}
    return {f"{name} on": provider for name, provider in found.items()}
