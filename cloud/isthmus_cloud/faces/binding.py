"""The address, the credentials and the limits of the gRPC server."""

import socket
import ssl

import grpc

from isthmus import MESSAGE_HEADROOM_BYTES, ConfigError, Manifest, max_frame_bytes
from isthmus_cloud.config import ServiceConfig, split_address

MIN_PING_INTERVAL_MS = 500  # below, a device's keepalive would end in GOAWAY too_many_pings
KEEPALIVE_TIME_MS = 10_000
KEEPALIVE_TIMEOUT_MS = 5_000

__all__ = ["bind", "server_options"]


def server_options(manifest: Manifest) -> list[tuple[str, int]]:
    """Limits and keepalive of the gRPC server; the message size is bounded both ways."""
    answer_bytes = sum(spec.nbytes for spec in manifest.outputs) + MESSAGE_HEADROOM_BYTES
    return [
        ("grpc.max_receive_message_length", max_frame_bytes(manifest)),
        ("grpc.max_send_message_length", answer_bytes),
        ("grpc.so_reuseport", 0),  # or a second service would silently take half the devices
        ("grpc.http2.min_recv_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ]


def bind(server: grpc.aio.Server, config: ServiceConfig) -> str:
    """Take the address; HOST:PORT with the real port. ConfigError if it cannot be had."""
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
