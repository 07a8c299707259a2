"""Where the endpoint may listen, and what is in the way there."""

import socket
from pathlib import Path

import pytest

from isthmus import ConfigError
from isthmus_edge.oip import EndpointConfig
from isthmus_edge.oip.addresses import Loopback, parse_address
from isthmus_edge.unix_sockets import UnixSocket


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/isthmus/oip.sock", UnixSocket(Path("/run/isthmus/oip.sock"))),
        ("127.0.0.1:8001", Loopback("127.0.0.1", 8001)),
        ("[::1]:0", Loopback("::1", 0)),
        ("localhost:8001", Loopback("localhost", 8001)),
    ],
)
def test_sockets_and_loopback_are_listened_on(text: str, address: UnixSocket | Loopback) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.0.0.0:8001", "no TLS"),
        ("[::]:8001", "no TLS"),
        ("192.168.0.7:8001", "no TLS"),
        ("board.local:8001", "no TLS"),
        ("127.0.0.1", "use unix:/PATH or HOST:PORT"),
        ("127.0.0.1:http", "use unix:/PATH or HOST:PORT"),
        ("127.0.0.1:65536", "use unix:/PATH or HOST:PORT"),
        ("127.0.0.1:-1", "use unix:/PATH or HOST:PORT"),
        (":8001", "use unix:/PATH or HOST:PORT"),
        ("", "use unix:/PATH or HOST:PORT"),
        ("unix:oip.sock", "absolute path"),
        ("unix:", "absolute path"),
        ("unix:/run/a\0b", "absolute path"),
        ("unix-abstract:oip", "use unix:/PATH or HOST:PORT"),
    ],
)
def test_any_other_address_is_refused_with_the_way_out(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_address(text)


def test_a_path_has_at_most_107_bytes() -> None:
    fits = "/" + "x" * 106
    assert parse_address(f"unix:{fits}") == UnixSocket(Path(fits))
    with pytest.raises(ConfigError, match="at most 107 bytes, this one has 108"):
        parse_address(f"unix:{fits}x")
    with pytest.raises(ConfigError, match="this one has 108"):
        parse_address("unix:/" + "x" * 105 + "é")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"listen": ()}, "at least one address"),
        ({"listen": ("127.0.0.1:1", "127.0.0.1:1")}, "127.0.0.1:1 is given twice"),
        ({"listen": ("127.0.0.1:0",), "socket_mode": 0o666}, "socket_mode 0o666: use 0o600 or"),
        ({"listen": ("10.0.0.1:1",)}, "no TLS"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(
    settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        EndpointConfig(**settings)  # type: ignore[arg-type]


def test_two_free_ports_may_be_asked_for() -> None:
    assert len(EndpointConfig(listen=("127.0.0.1:0", "127.0.0.1:0")).addresses) == 2


def test_a_port_in_use_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: Address already in use"):
            Loopback("127.0.0.1", port).check_free()
