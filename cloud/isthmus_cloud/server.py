"""The service's life: startup, serve, drain."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import grpc

from isthmus import Bundle, answer_bytes, max_frame_bytes, open_bundle
from isthmus.session import ServiceLimits
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import add_SplitServicer_to_server
from isthmus_cloud.answering.answerer import Answerer
from isthmus_cloud.audits.auditing import Auditor, NoAuditor, auditing
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.engines.onnx_runtime import load_tails
from isthmus_cloud.faces.binding import bind, server_options
from isthmus_cloud.faces.split import SplitService
from isthmus_cloud.sessions.sessions import Sessions

SHORT = 12  # digits of a fingerprint that people compare
KEEP_BYTES = (1024 * 1024, 16 * 1024 * 1024)  # of results of one session: a window of them, within
END_GRACE_S = 0.5  # for streams whose last words are not yet sent

__all__ = [
    "RunningService",
    "listening",
    "run_service",
    "serve",
    "serve_until_told",
]


def run_service(config: ServiceConfig, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` gets lines for people.

    The line that begins with "listening on HOST:PORT" says that devices may come. Raises
    ConfigError, BundleError or ModelError if the service cannot start.
    """
    asyncio.run(serve(config, announce))


async def serve(config: ServiceConfig, announce: Callable[[str], None]) -> None:
    """As `run_service`, within a running loop. It must be the main thread's, for the signals."""
    bundle = await asyncio.to_thread(open_bundle, config.bundle, "cloud")
    tails = await asyncio.to_thread(load_tails, bundle, config, announce)
    with Answerer(bundle.manifest, tails, config.workers, config.max_bytes_in_flight) as answerer:
        await serve_until_told(config, bundle, answerer, announce)


async def serve_until_told(
    config: ServiceConfig, bundle: Bundle, answerer: Answerer, announce: Callable[[str], None]
) -> None:
    """Serve; drain at the first signal, stop at the second."""
    audits = auditing(bundle, answerer.quiet, config.max_bytes_in_flight)
    with _signals() as signals, audits as auditor:
        async with listening(config, bundle, answerer, auditor) as service:
            announce(
                f"listening on {service.address} ({answerer.provider}, "
                f"{len(answerer.candidates)} candidates, bundle {bundle.fingerprint[:SHORT]})"
            )
            await signals.get()
            announce(f"draining for up to {config.drain_grace_s:g} s; a second signal forces")
            await _drain_or_force(service, config.drain_grace_s, signals)
    announce("stopped")


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service that accepts devices on `address` ("HOST:PORT", with the real port)."""

    address: str
    _service: SplitService
    _server: grpc.aio.Server

    async def drain(self, grace_s: float) -> None:
        """Tell every device, answer what is in flight, stop; at the latest after `grace_s`."""
        self._service.drain(grace_s)
        await self._server.stop(grace_s)

    async def force(self) -> None:
        """Stop now; frames in flight are given up."""
        await self._server.stop(None)


@asynccontextmanager
async def listening(
    config: ServiceConfig, bundle: Bundle, answerer: Answerer, auditor: Auditor | None = None
) -> AsyncIterator[RunningService]:
    """Serve `answerer` on `config.listen` as long as the context lasts; without an `auditor`,
    devices that ask for audits are told so."""
    terms = pb.Welcome(
        protocol=PROTOCOL,
        bundle_fingerprint=bundle.fingerprint,
        window=config.window,
        max_frame_bytes=max_frame_bytes(bundle.manifest),
        provider=answerer.provider,
    )
    window_bytes = config.window * answer_bytes(bundle.manifest.outputs, top_k=0)
    limits = ServiceLimits(
        hello_s=config.hello_s,
        idle_s=config.idle_s,
        resume_s=config.resume_s,
        keep_bytes=min(max(window_bytes, KEEP_BYTES[0]), KEEP_BYTES[1]),
    )
    sessions = Sessions(answerer, auditor or NoAuditor(), terms, limits, config.max_parked)
    service = SplitService(sessions, config.max_streams)
    server = grpc.aio.server(options=server_options(bundle.manifest))
    add_SplitServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    address = bind(server, config)
    await server.start()
    try:
        yield RunningService(address, service, server)
    finally:
        service.end()  # grpc.aio prints a traceback if it has to cancel a call twice
        await server.stop(END_GRACE_S)


@contextmanager
def _signals() -> Iterator[asyncio.Queue[None]]:
    """SIGTERM and SIGINT as items of a queue."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[None] = asyncio.Queue()
    kinds = (signal.SIGTERM, signal.SIGINT)
    for kind in kinds:
        loop.add_signal_handler(kind, queue.put_nowait, None)
    try:
        yield queue
    finally:
        for kind in kinds:
            loop.remove_signal_handler(kind)


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
