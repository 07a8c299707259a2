"""The service's life: startup, main loop, shutdown."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import grpc

from isthmus.log_lines import tell
from isthmus.repeated_signals import Breaths
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.core import Core
from isthmus_cloud.deployments.deployment import SHORT
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.faces.binding import allow_open_files, bind, checked_certificate
from isthmus_cloud.faces.tls import looked_after
from isthmus_cloud.garbage import settle
from isthmus_cloud.reloading import hangs_up, hung_up, reloading
from isthmus_cloud.replicas.opening import front_end
from isthmus_cloud.security.doors import guarded
from isthmus_cloud.serving import Door, server_with_faces
from isthmus_cloud.signals import heeding
from isthmus_cloud.startup import start_up
from isthmus_cloud.telemetry.health import Health
from isthmus_cloud.watching import page, watched

END_GRACE_S = 0.5  # for streams whose last words are not yet sent

_logger = logging.getLogger(__name__)

__all__ = ["RunningService", "listening", "main_loop", "run_service", "serve"]


def run_service(config: ServiceConfig, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` gets lines for people.

    The line that begins with "listening on HOST:PORT" says that devices may come. Raises
    ConfigError, BundleError or ModelError if the service cannot start.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(config, announce))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, which wakes sooner; asyncio's own (None) where it cannot be installed."""
    try:
        import uvloop  # noqa: PLC0415 (there is none for every system)
    except ImportError:
        return None
    return uvloop.new_event_loop


async def serve(config: ServiceConfig, announce: Callable[[str], None]) -> None:
    """As `run_service`, within a running loop. It must be the main thread's, for the signals."""
    async with AsyncExitStack() as stack:
        told = stack.enter_context(hung_up())
        certificate = await asyncio.to_thread(checked_certificate, config)
        await stack.enter_async_context(looked_after(certificate))
        guard = await stack.enter_async_context(guarded(config))
        disk = stack.enter_context(DiskThreads("isthmus-activations"))
        cluster = await stack.enter_async_context(front_end(config, announce))
        looked_at = await stack.enter_async_context(watched(config))
        core, health = looked_at.core, Health()
        await stack.enter_async_context(page(config, looked_at, health, announce))
        store = await start_up(config, core, announce, disk, health, cluster)
        await stack.enter_async_context(reloading(told, core.deployments, store, health))
        door = Door(guard=guard, certificate=certificate, health=health, store=store)
        await asyncio.to_thread(settle)
        await main_loop(config, core, announce, door)
    announce("stopped")
    tell(_logger, logging.INFO, "stopped")


async def main_loop(
    config: ServiceConfig,
    core: Core,
    announce: Callable[[str], None],
    door: Door | None = None,
) -> None:
    """Serve; drain at the first signal, stop at the second."""
    with _signals() as signals:
        async with listening(config, core, door) as service:
            announce(_listening_line(core, service.address))
            serves = _served(core) or None
            tell(_logger, logging.INFO, "listening", address=service.address, serves=serves)
            await signals.get()
            announce(f"draining for up to {config.drain_grace_s:g} s; a second signal forces")
            tell(_logger, logging.INFO, "draining", grace_s=config.drain_grace_s)
            await _drain_or_force(service, config.drain_grace_s, signals)


def _listening_line(core: Core, address: str) -> str:
    active = core.deployments.active
    if len(active) != 1:
        return f"listening on {address} (serves {_served(core) or 'nothing yet'})"
    (deployment,) = active
    count = len(deployment.answerer.candidates)
    return (
        f"listening on {address} ({deployment.answerer.provider}, {count} candidates, "
        f"bundle {deployment.fingerprint[:SHORT]})"
    )


def _served(core: Core) -> str:
    return ", ".join(f"{each.name} {each.version}" for each in core.deployments.active)


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service that accepts devices on `address` ("HOST:PORT", with the real port)."""

    address: str
    core: Core
    _server: grpc.aio.Server

    async def drain(self, grace_s: float) -> None:
        """Tell every device, answer what is in flight, stop; at the latest after `grace_s`, or a
        moment later where that is too short to say on each stream what becomes of its frames."""
        self.core.drain(grace_s)
        await self._server.stop(max(grace_s, END_GRACE_S))

    async def force(self) -> None:
        """Stop now; frames in flight are given up."""
        await self._server.stop(None)


@asynccontextmanager
async def listening(
    config: ServiceConfig, core: Core, door: Door | None = None
) -> AsyncIterator[RunningService]:
    """Serve `core` on `config.listen` as long as the context lasts."""
    allow_open_files(config)
    door = door or Door()
    with server_with_faces(config, core, door) as server:
        address = bind(server, config, door.certificate)
        await server.start()
        door.health.serving()
        try:
            yield RunningService(address, core, server)
        finally:
            core.end()  # grpc.aio prints a traceback if it has to cancel a call twice
            await server.stop(END_GRACE_S)


@contextmanager
def _signals() -> Iterator[asyncio.Queue[None]]:
    """Those that end the service, as items of a queue; SIGHUP never where it is ignored. Two in
    one breath are one."""
    queue: asyncio.Queue[None] = asyncio.Queue()
    breaths = Breaths()

    def came() -> None:
        if breaths.is_new():
            queue.put_nowait(None)

    kinds = [signal.SIGTERM, signal.SIGINT]
    if hangs_up() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        kinds.append(signal.SIGHUP)
    with heeding(kinds, came):
        yield queue


async def _drain_or_force(
    service: RunningService, grace_s: float, signals: asyncio.Queue[None]
) -> None:
    drained = asyncio.ensure_future(service.drain(grace_s))
    second = asyncio.ensure_future(signals.get())
    await asyncio.wait({drained, second}, return_when=asyncio.FIRST_COMPLETED)
    if not drained.done():
        await service.force()
    second.cancel()
    await drained
