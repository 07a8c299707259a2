"""The address, the credentials and the limits of the gRPC server."""

import logging
import resource
import socket
from collections.abc import Sequence

import grpc

from isthmus import MESSAGE_HEADROOM_BYTES, ConfigError, Manifest, max_frame_bytes
from isthmus.addresses import split_address
from isthmus.oip import Limits
from isthmus_cloud.config import GRPC_MOST_BYTES, MAX_MESSAGE_BYTES, ServiceConfig
from isthmus_cloud.faces.tls import ServedCertificate

MIN_PING_INTERVAL_MS = 500  # below, a device's keepalive would end in GOAWAY too_many_pings
KEEPALIVE_TIME_MS = 10_000
KEEPALIVE_TIMEOUT_MS = 5_000

HEADER_BYTES = 8 * 1024  # of one call's metadata; more is refused
CALLS_A_CONNECTION = 128  # at once; a device needs a few, others are held back
CALLS_BESIDE_STREAMS = 256  # of all other faces, at once
ENDED_CALLS = 256  # whose last words nobody takes: gRPC counts them until their connection ends
FILES_BESIDE_CONNECTIONS = 256  # what the process opens otherwise

__all__ = [
    "allow_open_files",
    "bind",
    "bundle_message_bytes",
    "check_message_bytes",
    "checked_certificate",
    "connection_options",
    "message_bytes",
    "most_calls",
    "server_options",
]

_logger = logging.getLogger(__name__)


def message_bytes(manifests: Sequence[Manifest]) -> int:
    """The largest message either way that any of these plans needs."""
    frames = [max_frame_bytes(manifest) for manifest in manifests]
    answers = [
        sum(spec.nbytes for spec in manifest.outputs) + MESSAGE_HEADROOM_BYTES
        for manifest in manifests
    ]
    return max(frames + answers, default=MESSAGE_HEADROOM_BYTES)


def bundle_message_bytes(config: ServiceConfig, manifest: Manifest, *, whole: bool) -> int:
    """The largest message either way of a service of this bundle.

    It is what the configuration says; ConfigError where the bundle's frames need more. Where that
    says nothing and the `whole` network is served to clients that send photos or several items at
    once, it is `MAX_MESSAGE_BYTES`, or as many items as one request may have if they take more, but
    not beyond `max_bytes_in_flight`. Else it is what the frames need, and never less.
    """
    check_message_bytes(config, manifest)
    if config.max_message_bytes is not None:
        return config.max_message_bytes
    needed = message_bytes([manifest])
    if not whole:
        return needed
    item = max(sum(each.nbytes for each in specs) for specs in (manifest.inputs, manifest.outputs))
    items = Limits().max_items * item + MESSAGE_HEADROOM_BYTES
    most = min(config.max_bytes_in_flight, GRPC_MOST_BYTES)
    return max(needed, min(max(MAX_MESSAGE_BYTES, items), most))


def check_message_bytes(config: ServiceConfig, manifest: Manifest) -> None:
    """ConfigError if the configuration allows smaller messages than the bundle needs."""
    needed, allowed = message_bytes([manifest]), config.max_message_bytes
    if allowed is not None and allowed < needed:
        raise ConfigError(
            f"max_message_bytes is {allowed}, but messages of {manifest.model_name} take up to "
            f"{needed} bytes; give at least --max-message-bytes {needed}, or leave it out"
        )


def server_options(max_message_bytes: int) -> list[tuple[str, int]]:
    """Limits and keepalive of the gRPC server; the message size is bounded both ways."""
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.so_reuseport", 0),  # or a second service would silently take half the devices
        ("grpc.http2.min_recv_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ]


def connection_options(config: ServiceConfig) -> list[tuple[str, int]]:
    """Limits of the gRPC server for what happens before anybody has said who it is.

    A connection must be through its handshakes (TCP, TLS, HTTP/2) within `hello_s`; one without a
    call is closed after `idle_s`; beyond `max_connections` new ones are closed at once.
    """
    return [
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.server_handshake_timeout_ms", round(config.hello_s * 1000)),
        ("grpc.max_connection_idle_ms", round(config.idle_s * 1000)),
        ("grpc.max_concurrent_streams", CALLS_A_CONNECTION),
        ("grpc.max_metadata_size", HEADER_BYTES),
        ("grpc.absolute_max_metadata_size", HEADER_BYTES),  # between the two it would be chance
    ]


def most_calls(config: ServiceConfig) -> int:
    """For `maximum_concurrent_rpcs` of the server: calls of all connections at once; one more is
    refused before a face hears of it."""
    return config.max_streams + CALLS_BESIDE_STREAMS + ENDED_CALLS


def allow_open_files(config: ServiceConfig) -> None:
    """Let this process have a file descriptor for each of `max_connections`.

    Systems give 1,024 by default and more to who asks. Where they do not, that is logged.
    """
    needed = config.max_connections + FILES_BESIDE_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < needed:
        _logger.warning(
            "this process may open %d files, too few for %d connections; raise `ulimit -n`",
            most,
            config.max_connections,
        )


def checked_certificate(config: ServiceConfig) -> ServedCertificate | None:
    """The TLS of the service, None without, for `bind`, after a look at the address, too: whatever
    is wrong with them is told before the long work of loading. ConfigError; it reads files."""
    _check_free(*split_address(config.listen))
    return _certificate(config)


def bind(
    server: grpc.aio.Server,
    config: ServiceConfig,
    certificate: ServedCertificate | None = None,
) -> str:
    """Take the address; HOST:PORT with the real port. ConfigError if it cannot be had."""
    host, port = split_address(config.listen)
    _check_free(host, port)
    certificate = certificate or _certificate(config)
    try:
        if certificate is None:
            port = server.add_insecure_port(config.listen)
        else:
            port = server.add_secure_port(config.listen, certificate.credentials())
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
            f"cannot listen on {host} port {port}: {error.strerror}; {_way_out(error)}"
        ) from error


def _way_out(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return (
            "ports below 1024 are for privileged processes: choose a higher one, or give this one "
            "the right (CAP_NET_BIND_SERVICE)"
        )
    return "choose another address, or port 0 for a free one"


def _certificate(config: ServiceConfig) -> ServedCertificate | None:
    if config.tls_certificate is None or config.tls_key is None:
        return None
    return ServedCertificate(config.tls_certificate, config.tls_key, config.client_ca)
