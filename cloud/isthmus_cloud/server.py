"""The service's life: startup, serve, drain."""

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import grpc

from isthmus import Bundle, ConfigError, Manifest, max_payload_bytes, open_bundle
from isthmus.v1.split_pb2_grpc import add_SplitServicer_to_server
from isthmus_cloud.answering import Answerer
from isthmus_cloud.config import ServiceConfig, split_address
from isthmus_cloud.engines import load_tails
from isthmus_cloud.service import SplitService
from isthmus_cloud.session import SHORT

MESSAGE_HEADROOM_BYTES = 64 * 1024  # names, shapes, and the padding of a heartbeat
MIN_PING_INTERVAL_MS = 500  # below, a device's keepalive would end in GOAWAY too_many_pings
KEEPALIVE_TIME_MS = 10_000
KEEPALIVE_TIMEOUT_MS = 5_000

__all__ = ["RunningService", "largest_frame_bytes", "listening", "run_service", "serve"]

_logger = logging.getLogger(__name__)


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
    with Answerer(bundle.manifest, tails, config.workers) as answerer, _signals() as signals:
        async with listening(config, bundle, answerer) as service:
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
    config: ServiceConfig, bundle: Bundle, answerer: Answerer
) -> AsyncIterator[RunningService]:
    """Serve `answerer` on `config.listen` as long as the context lasts."""
    max_frame_bytes = largest_frame_bytes(bundle.manifest)
    service = SplitService(answerer, bundle.fingerprint, config.window, max_frame_bytes)
    server = grpc.aio.server(options=_options(bundle.manifest, max_frame_bytes))
    add_SplitServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    address = _bind(server, config)
    await server.start()
    try:
        yield RunningService(address, service, server)
    finally:
        await server.stop(None)


def largest_frame_bytes(manifest: Manifest) -> int:
    """The largest message that a device of this plan ever sends, with headroom."""
    payloads = (
        max_payload_bytes(cut.tensor, candidate.encoding)
        for candidate in manifest.candidates
        if (cut := manifest.cut_of(candidate)).tensor is not None and candidate.encoding is not None
    )
    return max(payloads, default=0) + MESSAGE_HEADROOM_BYTES


def _options(manifest: Manifest, max_frame_bytes: int) -> list[tuple[str, int]]:
    answer_bytes = sum(spec.nbytes for spec in manifest.outputs) + MESSAGE_HEADROOM_BYTES
    return [
        ("grpc.max_receive_message_length", max_frame_bytes),
        ("grpc.max_send_message_length", answer_bytes),
        ("grpc.so_reuseport", 0),  # or a second service would silently take half the devices
        ("grpc.http2.min_recv_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ]


def _bind(server: grpc.aio.Server, config: ServiceConfig) -> str:
    host, port = split_address(config.listen)
    _check_free(host, port)
    credentials = _credentials(config)
    try:
        if credentials is None:
            port = server.add_insecure_port(config.listen)
        else:
            port = server.add_secure_port(config.listen, credentials)
    except RuntimeError as error:
        raise ConfigError(f"cannot listen on {config.listen}: {error}") from error
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_free(host: str, port: int) -> None:
    """Bind once ourselves: gRPC says neither what is wrong nor anything that can be caught well."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror}; "
            "choose another address, or port 0 for a free one"
        ) from error


def _credentials(config: ServiceConfig) -> grpc.ServerCredentials | None:
    if config.tls_certificate is None or config.tls_key is None:
        return None
    try:
        # gRPC would only log that it cannot use them.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            config.tls_certificate, config.tls_key, password=_no_password
        )
        pair = (config.tls_key.read_bytes(), config.tls_certificate.read_bytes())
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(
            f"TLS certificate {config.tls_certificate} and key {config.tls_key} cannot be used: "
            f"{error}; both must be PEM files that belong together, the key without a password"
        ) from error
    return grpc.ssl_server_credentials([pair])


def _no_password() -> str:
    raise ValueError("the key is encrypted")


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
