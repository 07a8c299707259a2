"""Ctrl-C in the middle of a push to somebody who stalls: the command leaves, and can go on."""

import json
import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import msgspec
import pytest
from tests.cli.conftest import Isthmus
from tests.cloud.store.serving import Served
from tests.commands import PATIENCE_S, Command, until

from isthmus import FileEntry, decode_manifest, encode_manifest, sha256_of
from isthmus_cli.store_remote import RemoteStore
from isthmus_cloud.store import Store
from isthmus_edge.stream.credentials import Credentials

LARGE_BYTES = 24_000_000  # more than all buffers on the way take


class Way:
    """A link to the service that can be stopped: then nothing passes, and nobody hangs up."""

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.stopped, self._over = threading.Event(), threading.Event()
        self.stop_after_bytes: int | None = None

    def carry(self) -> None:
        """One connection after the other, until `close`."""
        while not self._over.is_set():
            with socket.socket() as there:
                try:
                    here, _ = self._listener.accept()
                except OSError:
                    return
                with here:
                    there.connect(self._target)
                    self._pass_on(here, there)

    def _pass_on(self, here: socket.socket, there: socket.socket) -> None:
        passed = 0
        while not self._over.is_set():
            readable, _, _ = select.select([here, there], [], [], 0.1)
            for each in readable:
                data = each.recv(65536)
                if not data:
                    return
                (there if each is here else here).sendall(data)
                passed += len(data)
            if self.stop_after_bytes is not None and passed > self.stop_after_bytes:
                self.stopped.set()
                self._over.wait()

    def close(self) -> None:
        """All ends."""
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def way_to(target: str) -> Iterator[Way]:
    way = Way(target)
    thread = threading.Thread(target=way.carry)
    thread.start()
    try:
        yield way
    finally:
        way.close()
        thread.join(PATIENCE_S)


@pytest.fixture
def large_bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The tiny one with a record that takes a while to send; only links to what is large."""
    bundle = tmp_path / "large"
    bundle.mkdir()
    for each in ("device", "cloud", "labels.txt"):
        (bundle / each).symlink_to(tiny_bundle / each)
    record = bundle / "record" / "more"
    record.parent.mkdir()
    record.write_bytes(bytes(LARGE_BYTES))
    manifest = decode_manifest((tiny_bundle / "bundle.json").read_bytes(), "here")
    entry = FileEntry(
        path="record/more", side="record", size_bytes=LARGE_BYTES, sha256=sha256_of(record)
    )
    whole = msgspec.structs.replace(manifest, files=(*manifest.files, entry))
    (bundle / "bundle.json").write_bytes(encode_manifest(whole))
    return bundle


def stored_bytes(store: Store) -> int:
    """What of the large file has arrived; what gRPC still holds is lost with the call."""
    return sum(path.stat().st_size for path in store.root.rglob("more*") if path.is_file())


def test_ctrl_c_ends_a_push_that_does_not_move(
    isthmus: Isthmus, served: Served, store: Store, large_bundle: Path
) -> None:
    with way_to(served.address) as way:
        way.stop_after_bytes = 4_000_000
        with Command("push", large_bundle, "--to", way.address, "--version", "v1") as command:
            assert way.stopped.wait(PATIENCE_S)
            until(lambda: stored_bytes(store) > 0, "a piece is written")
            ended = command.told(signal.SIGINT)
        assert way.stopped.is_set()
    assert ended.status == 130
    assert ended.err.endswith("isthmus push: ended; the same command goes on where it was\n")
    outs: list[str] = []

    def pushed_again() -> bool:
        """The service may still be at the end of the first."""
        again = isthmus("push", large_bundle, "--to", served.address, "--version", "v1", "--json")
        outs.append(again.out)
        return again.status == 0

    until(pushed_again, "the push goes on")
    pushed = json.loads(outs[-1])["pushed"]
    assert 0 < pushed["sent_bytes"] < LARGE_BYTES
    assert store.check("tiny", "v1").fault is None


def test_a_channel_that_does_not_close_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC waits in `close` for what a stalled service has not taken."""
    closing, let_go = threading.Event(), threading.Event()

    class Stuck:
        def close(self) -> None:
            closing.set()
            assert let_go.wait(PATIENCE_S)

    with RemoteStore("127.0.0.1:1", Credentials(), 1.0) as place:
        channel = place._channel
        monkeypatch.setattr(place, "_channel", Stuck())
    assert closing.is_set()
    assert not let_go.is_set()
    let_go.set()
    assert isinstance(channel, grpc.Channel)
    channel.close()
