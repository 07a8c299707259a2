"""What may be in the way of a socket, who may open one, and whose it is to remove."""

import os
import socket
import stat
from pathlib import Path

import pytest

from isthmus import ConfigError
from isthmus_edge.unix_sockets import UnixSocket

MODES = [0o600, 0o660]


@pytest.fixture
def place(tmp_path: Path) -> UnixSocket:
    return UnixSocket(tmp_path / "a.sock")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", MODES)
def test_only_who_may_can_open_it_from_the_start(place: UnixSocket, mode: int) -> None:
    with place.bind(mode):
        assert mode_of(place.path) == mode


@pytest.mark.parametrize(("mode", "folders"), [(0o600, 0o700), (0o660, 0o710)])
def test_missing_folders_are_made_for_whom_the_socket_is(
    tmp_path: Path, mode: int, folders: int
) -> None:
    tmp_path.chmod(0o755)
    UnixSocket(tmp_path / "one" / "two" / "a.sock").make_folder(mode)
    assert mode_of(tmp_path) == 0o755
    assert {mode_of(tmp_path / "one"), mode_of(tmp_path / "one" / "two")} == {folders}


def test_what_is_made_elsewhere_has_the_mode_it_had(place: UnixSocket, tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.touch()
    with place.bind(0o600):
        (tmp_path / "after").touch()
    assert mode_of(tmp_path / "after") == mode_of(before)


def test_what_a_dead_process_left_is_taken_over(place: UnixSocket) -> None:
    place.bind(0o600).close()
    assert stat.S_ISSOCK(place.path.stat().st_mode)
    with place.bind(0o600) as alive:
        alive.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(place.path))


def test_a_cleared_path_is_free(place: UnixSocket) -> None:
    place.bind(0o600).close()
    place.clear()
    assert not place.path.exists()


def test_the_socket_of_a_living_process_is_left_alone(place: UnixSocket) -> None:
    with place.bind(0o600) as alive:
        alive.listen()
        with pytest.raises(ConfigError, match="another process does already"):
            place.clear()
    assert place.path.exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_left_alone(place: UnixSocket, kind: str) -> None:
    if kind == "file":
        place.path.touch()
    elif kind == "folder":
        place.path.mkdir()
    else:
        place.path.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="no socket is in the way"):
        place.clear()
    assert os.path.lexists(place.path)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; give a path in a folder"):
        UnixSocket(tmp_path / "no" / "a.sock").clear()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"below/a\.sock: Not a directory; give a path"):
        UnixSocket(tmp_path / "file" / "below" / "a.sock").make_folder(0o600)


@pytest.mark.parametrize("path", ["a.sock", "", "/run/a\0b"])
def test_a_path_must_be_absolute(path: str) -> None:
    with pytest.raises(ConfigError, match="absolute path"):
        UnixSocket(Path(path))


def test_a_path_has_at_most_107_bytes() -> None:
    UnixSocket(Path("/" + "x" * 106))
    with pytest.raises(ConfigError, match="at most 107 bytes, this one has 108; shorten it"):
        UnixSocket(Path("/" + "x" * 107))
    with pytest.raises(ConfigError, match="this one has 108"):
        UnixSocket(Path("/" + "x" * 105 + "é"))


def test_grpc_reads_no_percent_sign_of_a_path() -> None:
    assert UnixSocket(Path("/a b/50%41.sock")).target == "unix:/a%20b/50%2541.sock"


def test_a_socket_is_removed_by_its_owner_only(place: UnixSocket, tmp_path: Path) -> None:
    with place.bind(0o600):
        kept = tmp_path / "kept.sock"  # so that its inode is not given to the next one
        os.link(place.path, kept)
        identity = place.identity()
        place.path.unlink()
        with place.bind(0o600):
            place.remove(identity)
            assert place.path.exists()
            place.remove(place.identity())
            assert not place.path.exists()
            place.remove(identity)
