"""A grpc.aio server for the protocol; who owns it binds its addresses, starts and stops it."""

import grpc

from isthmus.oip.counts import Limits
from isthmus.oip.handlers import inference_handler
from isthmus.oip.health import health_handler
from isthmus.oip.service import Service

MIN_PING_INTERVAL_MS = 500  # below, a client's keepalive would end in GOAWAY too_many_pings
SPARE_CALLS = 32  # beside requests: health, metadata, idle streams, those that are to be refused

__all__ = ["make_server", "server_options"]


def make_server(service: Service) -> grpc.aio.Server:
    """Not started and without an address; the loop that is running is its loop."""
    server = grpc.aio.server(
        options=server_options(service.limits),
        maximum_concurrent_rpcs=service.limits.max_requests + SPARE_CALLS,
    )
    server.add_generic_rpc_handlers((inference_handler(service), health_handler(service)))
    return server


def server_options(limits: Limits) -> list[tuple[str, int]]:
    """Bounds on messages both ways, one server per port, and patience with keepalives."""
    return [
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", limits.max_message_bytes),
        ("grpc.so_reuseport", 0),  # or a second server would silently take half the clients
        ("grpc.http2.min_recv_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
