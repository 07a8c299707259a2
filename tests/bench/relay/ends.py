"""Both ends of a connection through a relay."""

import socket

from isthmus_bench.relay import Relay

# How long a test waits for what must come, and for what must not.
PATIENCE_S = 20.0
SILENCE_S = 0.15


def target(listener: socket.socket) -> str:
    """As the flag `--to` has it."""
    return f"127.0.0.1:{listener.getsockname()[1]}"


def dial(relay: Relay) -> socket.socket:
    """A connection to the relay."""
    host, port = relay.address.split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def joined(relay: Relay, cloud: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A connection through the relay: the edge's end and the cloud's."""
    edge = dial(relay)
    served, _ = cloud.accept()
    served.settimeout(PATIENCE_S)
    return edge, served


def received(end: socket.socket, size_bytes: int) -> bytes:
    """So many bytes, all of them."""
    data = b""
    while len(data) < size_bytes:
        chunk = end.recv(65536)
        assert chunk, f"the stream ended after {len(data)} of {size_bytes} bytes"
        data += chunk
    return data


def hears_nothing(end: socket.socket, seconds: float = SILENCE_S) -> bool:
    """Nothing comes, not even an end."""
    end.settimeout(seconds)
    try:
        end.recv(1)
    except TimeoutError:
        return True
    finally:
        end.settimeout(PATIENCE_S)
    return False


def is_over(end: socket.socket) -> bool:
    """It has ended, in order or not."""
    try:
        return end.recv(1) == b""
    except ConnectionResetError:
        return True
