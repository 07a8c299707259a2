"""`isthmus fetch`: what it brings, what it says, and how it is broken off."""

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.cloud.store.serving import Served
from tests.commands import PATIENCE_S, Command, assert_explained, until
from tests.edge.bundles.services import device_bytes, real_service

from isthmus import open_bundle
from isthmus.signing import make_keys
from isthmus_cloud.faces import bundles as face
from isthmus_cloud.store import Store
from isthmus_cloud.store.halves import OpenFile


@pytest.fixture
def served(tmp_path: Path, tiny_bundle: Path) -> Iterator[Served]:
    with real_service(Store(tmp_path / "store"), {"v1": tiny_bundle}) as served:
        yield served


@pytest.fixture
def flags(served: Served, tmp_path: Path) -> tuple[object, ...]:
    return "tiny", "--from", served.address, "--into", tmp_path / "bundles"


def test_a_bundle_comes_once_and_is_said_where(
    isthmus: Isthmus, flags: tuple[object, ...], tmp_path: Path, tiny_bundle: Path
) -> None:
    fingerprint = open_bundle(tiny_bundle, "device").fingerprint
    path = tmp_path / "bundles" / "tiny" / fingerprint
    ended = isthmus("fetch", *flags)
    named = f"tiny v1 ({fingerprint[:12]}) is whole"
    came = f"{device_bytes(tiny_bundle) / 1e3:.1f} KB came"
    assert (ended.status, ended.out) == (0, f"{named}, {came}: {path}\n")
    assert "100%" in ended.err
    assert open_bundle(path, "device").fingerprint == fingerprint
    again = isthmus("fetch", *flags, "--quiet")
    assert (again.out, again.err) == (f"{named}, it was there already: {path}\n", "")


def test_json_and_the_path_alone(
    isthmus: Isthmus, flags: tuple[object, ...], tiny_bundle: Path
) -> None:
    told = json.loads(isthmus("fetch", *flags, "--json").out)
    assert told["received_bytes"] == device_bytes(tiny_bundle)
    assert (told["name"], told["version"]) == ("tiny", "v1")
    ended = isthmus("fetch", *flags, "--path", "--quiet")
    assert (ended.out, ended.err) == (f"{told['path']}\n", "")


def test_what_cannot_be_is_said_in_one_line(
    isthmus: Isthmus, flags: tuple[object, ...], tmp_path: Path
) -> None:
    _, public = make_keys(tmp_path / "keys")
    into = ("--into", tmp_path / "bundles", "--quiet")
    assert_explained(isthmus("fetch", *flags, "--quiet", "--key", public), "not signed")
    ended = isthmus("fetch", "other", *flags[1:], "--quiet")
    assert_explained(ended, "model other is not served here: unknown", "isthmus activate")
    (tmp_path / "file").touch()
    ended = isthmus("fetch", *flags[:-1], tmp_path / "file")
    assert_explained(ended, str(tmp_path / "file"), "is a file", "name a directory")
    assert_explained(isthmus("fetch", "tiny", "--from", "127.0.0.1:1", *into), "127.0.0.1:1")
    assert_explained(isthmus("fetch", "../x", *flags[1:], "--quiet"), "model name")
    assert_explained(isthmus("fetch", "tiny", "--from", "cloud:1", *into), "--insecure")


def test_ctrl_c_leaves_a_fetch_that_goes_on(
    isthmus: Isthmus,
    flags: tuple[object, ...],
    tmp_path: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The service holds the last piece back until the command is gone."""
    monkeypatch.setattr(face, "PIECE_BYTES", 500)
    read, pieces = OpenFile.read, 0
    held, let_go = threading.Event(), threading.Event()

    def slow(self: OpenFile, most_bytes: int) -> bytes:
        nonlocal pieces
        pieces += 1
        if pieces > 4:
            held.set()
            let_go.wait(PATIENCE_S)
        return read(self, most_bytes)

    with monkeypatch.context() as patch:
        patch.setattr(OpenFile, "read", slow)
        with Command("fetch", *flags) as command:
            assert held.wait(PATIENCE_S)
            until(lambda: _begun_bytes(tmp_path) > 0, "something has come")
            ended = command.told(signal.SIGINT)
        let_go.set()
    assert ended.status == 130
    assert "the same command goes on where it was" in ended.err
    assert "Traceback" not in ended.err
    told = json.loads(isthmus("fetch", *flags, "--json").out)
    assert 0 < told["received_bytes"] < device_bytes(tiny_bundle)


def _begun_bytes(folder: Path) -> int:
    begun = (folder / "bundles" / "tiny" / ".incoming").rglob("*")
    return sum(path.stat().st_size for path in begun if path.is_file())
