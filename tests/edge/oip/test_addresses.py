"""Where the endpoint may listen, and what is in the way there."""

import os
import socket
import stat
from pathlib import Path

import pytest

from isthmus import ConfigError
from isthmus_edge.oip import EndpointConfig
from isthmus_edge.oip.addresses import Loopback, UnixSocket, parse_address


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


def test_grpc_reads_no_percent_sign_of_a_path() -> None:
    assert UnixSocket(Path("/a b/50%41.sock")).target == "unix:/a%20b/50%2541.sock"


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


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    address = UnixSocket(tmp_path / "oip.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(address.path))
    assert stat.S_ISSOCK(address.path.stat().st_mode)
    address.clear()
    assert not address.path.exists()


def test_the_socket_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    address = UnixSocket(tmp_path / "oip.sock")
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(address.path))
        alive.listen()
        with pytest.raises(ConfigError, match="another process does already"):
            address.clear()
    assert address.path.exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "oip.sock"
    if kind == "file":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no socket is in the way"):
        UnixSocket(path).clear()
    assert os.path.lexists(path)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; give a path in a folder"):
        UnixSocket(tmp_path / "no" / "oip.sock").clear()


def test_a_socket_is_removed_by_its_owner_only(tmp_path: Path) -> None:
    address = UnixSocket(tmp_path / "oip.sock")
    with socket.socket(socket.AF_UNIX) as first:
        first.bind(str(address.path))
        kept = tmp_path / "kept.sock"  # so that its inode is not given to the next one
        os.link(address.path, kept)
        identity = address.identity()
        address.path.unlink()
        with socket.socket(socket.AF_UNIX) as second:
            second.bind(str(address.path))
            address.remove(identity)
            assert address.path.exists()
            address.remove(address.identity())
            assert not address.path.exists()
            address.remove(identity)


def test_a_port_in_use_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: Address already in use"):
            Loopback("127.0.0.1", port).check_free()
