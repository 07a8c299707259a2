"""A fetch brings a device's half, whole and verified, and goes on where another broke off."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.edge.bundles.services import (
    PIECE_BYTES,
    ScriptedService,
    device_bytes,
    fetcher,
    files_in,
)

from isthmus import BundleError, LinkError, PeerError, WireError, open_bundle
from isthmus.durable_files import held_lock
from isthmus_edge.bundles import (
    Bundles,
    Fetcher,
    Manner,
    Offer,
    Shelf,
    ShelfError,
    ShelfFullError,
    Source,
    arriving,
)
from isthmus_edge.bundles import fetching as fetching_module
from isthmus_edge.bundles.fetching import BackOff

HALF = {"bundle.json", "device/segment-0.onnx", "device/segment-1.onnx", "labels.txt"}


def test_the_devices_half_comes_and_nothing_else(shelf: Shelf, tiny_bundle: Path) -> None:
    service = ScriptedService(tiny_bundle)
    with fetcher(service, shelf) as fetching:
        fetched = fetching.bring(fetching.look())
    assert fetched.path == shelf.folder / service.fingerprint
    assert (fetched.name, fetched.version) == ("tiny", "v1")
    assert fetched.received_bytes == service.sent_bytes == device_bytes(tiny_bundle)
    assert files_in(fetched.path) == HALF
    assert files_in(shelf.folder) == {f"{service.fingerprint}/{name}" for name in HALF}
    assert open_bundle(fetched.path, "device").fingerprint == service.fingerprint
    assert service.closed == 1


def test_progress_goes_from_nothing_to_all(shelf: Shelf, tiny_bundle: Path) -> None:
    told: list[tuple[float, str]] = []
    manner = Manner(progress=lambda share, what: told.append((share, what)))
    with fetcher(ScriptedService(tiny_bundle), shelf, manner) as fetching:
        fetching.bring(fetching.look())
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {what for _, what in told} == HALF - {"bundle.json"}


def test_what_broke_off_goes_on_where_it_was(shelf: Shelf, tiny_bundle: Path) -> None:
    service = ScriptedService(tiny_bundle)
    service.break_after = 3
    with fetcher(service, shelf) as fetching:
        offer = fetching.look()
        with pytest.raises(LinkError, match="the link broke"):
            fetching.bring(offer)
    assert shelf.whole(offer.fingerprint) is None
    begun_bytes = service.sent_bytes
    with fetcher(service, Shelf(shelf.folder.parent, "tiny")) as fetching:  # after a restart
        fetched = fetching.bring(fetching.look())
    assert fetched.received_bytes == device_bytes(tiny_bundle) - begun_bytes
    assert service.sent_bytes == device_bytes(tiny_bundle)
    assert open_bundle(fetched.path, "device").fingerprint == service.fingerprint


def test_a_break_is_gone_on_behind_within_one_fetch(shelf: Shelf, tiny_bundle: Path) -> None:
    service = ScriptedService(tiny_bundle)
    service.break_after = 2
    with fetcher(service, shelf, Manner(attempts=2)) as fetching:
        fetching.bring(fetching.look())
    first = service.asked[0][0]
    assert service.asked[1] == (first, 2 * PIECE_BYTES)
    assert service.sent_bytes == device_bytes(tiny_bundle)


def test_a_link_that_brings_something_each_time_is_not_given_up(
    shelf: Shelf, tiny_bundle: Path
) -> None:
    service = ScriptedService(tiny_bundle)

    def one(fingerprint: str, path: str, offset: int) -> Iterator[bytes]:
        yield (tiny_bundle / path).read_bytes()[offset : offset + PIECE_BYTES]
        raise LinkError("the link broke")

    service.pieces = one  # type: ignore[method-assign]
    with fetcher(service, shelf, Manner(attempts=2)) as fetching:
        fetched = fetching.bring(fetching.look())
    assert fetched.received_bytes == device_bytes(tiny_bundle)


def test_a_service_that_ends_a_file_too_early_is_given_up(shelf: Shelf, tiny_bundle: Path) -> None:
    service = ScriptedService(tiny_bundle)
    service.pieces = lambda *_: iter(())  # type: ignore[method-assign]
    with (
        fetcher(service, shelf, Manner(attempts=3)) as fetching,
        pytest.raises(LinkError, match="bytes too early"),
    ):
        fetching.bring(fetching.look())
    assert service.closed == 3  # a new connection for each attempt


def test_what_is_there_does_not_come_again(shelf: Shelf, tiny_bundle: Path) -> None:
    service = ScriptedService(tiny_bundle)
    with fetcher(service, shelf) as fetching:
        fetching.bring(fetching.look())
        again = fetching.bring(fetching.look(service.fingerprint))
        with_manifest = fetching.bring(fetching.look())
    assert again.received_bytes == with_manifest.received_bytes == 0
    assert again.path == with_manifest.path


def flipped(path: str) -> Callable[[str, int, bytes], bytes]:
    def alter(name: str, offset: int, data: bytes) -> bytes:
        return bytes([data[0] ^ 1]) + data[1:] if (name, offset) == (path, 0) else data

    return alter


def test_a_flipped_byte_is_refused_and_does_not_stay(shelf: Shelf, tiny_bundle: Path) -> None:
    service = ScriptedService(tiny_bundle)
    service.altered = flipped("labels.txt")
    with fetcher(service, shelf) as fetching:
        offer = fetching.look()
        with pytest.raises(BundleError, match=r"labels\.txt: damaged"):
            fetching.bring(offer)
        assert shelf.whole(offer.fingerprint) is None
        sent_bytes, service.altered = service.sent_bytes, lambda _path, _offset, data: data
        fetching.bring(offer)
    assert service.sent_bytes - sent_bytes == (tiny_bundle / "labels.txt").stat().st_size


def test_a_beginning_that_has_suffered_here_comes_once_more(
    shelf: Shelf, tiny_bundle: Path
) -> None:
    """As a loss of power leaves it: the size is right, the bytes are not."""
    service = ScriptedService(tiny_bundle)
    service.break_after = 3
    with fetcher(service, shelf) as fetching:
        offer = fetching.look()
        with pytest.raises(LinkError):
            fetching.bring(offer)
        begun = shelf.folder / ".incoming" / offer.fingerprint / service.asked[0][0]
        begun.write_bytes(b"\0" * begun.stat().st_size)
        fetched = fetching.bring(offer)
    assert open_bundle(fetched.path, "device").fingerprint == service.fingerprint


@pytest.mark.parametrize("data", [b"", b"x" * 100_000], ids=["nothing", "too much"])
def test_pieces_that_cannot_be_are_not_taken(shelf: Shelf, tiny_bundle: Path, data: bytes) -> None:
    service = ScriptedService(tiny_bundle)
    service.altered = lambda *_: data
    with (
        fetcher(service, shelf) as fetching,
        pytest.raises(BundleError, match="nothing more of it is taken"),
    ):
        fetching.bring(fetching.look())
    assert service.sent_bytes == len(data)
    left = shelf.folder / ".incoming"
    assert sum(path.stat().st_size for path in left.rglob("*") if path.is_file()) == 0


def rewritten(service: ScriptedService, old: str, new: str) -> None:
    """A manifest with something else in the place of a file's path or size."""
    text = service.manifest.decode()
    assert old in text
    service.manifest = text.replace(old, new).encode()


@pytest.mark.parametrize(
    "path", ["../outside.txt", "/outside.txt", "device/../../x", ".shelf.json", "bundle.json"]
)
def test_a_manifest_with_paths_that_lead_elsewhere_is_refused(
    shelf: Shelf, root: Path, tiny_bundle: Path, path: str
) -> None:
    service = ScriptedService(tiny_bundle)
    manifest = json.loads(service.manifest)
    record = {"path": path, "side": "device", "size_bytes": 3, "sha256": "0" * 64}
    manifest["files"].append(record)
    service.manifest = json.dumps(manifest).encode()
    with fetcher(service, shelf) as fetching, pytest.raises(BundleError):
        fetching.bring(fetching.look())
    assert service.asked == []
    assert not root.exists()


def test_a_manifest_with_impossible_sizes_is_refused(shelf: Shelf, tiny_bundle: Path) -> None:
    service = ScriptedService(tiny_bundle)
    size_bytes = (tiny_bundle / "labels.txt").stat().st_size
    rewritten(service, f'"size_bytes": {size_bytes}', f'"size_bytes": {2**50}')
    with fetcher(service, shelf) as fetching, pytest.raises(BundleError, match="at most are taken"):
        fetching.bring(fetching.look())
    assert service.asked == []


def test_a_manifest_of_another_fingerprint_is_refused(shelf: Shelf, tiny_bundle: Path) -> None:
    service = ScriptedService(tiny_bundle)
    offer = service.current("tiny", "")
    false = Offer("tiny", "v1", "0" * 64, offer.manifest, None)
    with fetcher(service, shelf) as fetching, pytest.raises(BundleError, match="another finger"):
        fetching.bring(false)


@pytest.mark.parametrize(
    ("name", "version", "fingerprint"),
    [("../x", "v1", "0" * 64), ("tiny", "v\n1", "0" * 64), ("tiny", "v1", "../../x")],
)
def test_names_that_are_none_are_never_used(name: str, version: str, fingerprint: str) -> None:
    with pytest.raises(WireError):
        Offer(name, version, fingerprint)


def test_no_room_is_said_before_a_byte_is_taken(
    shelf: Shelf, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = ScriptedService(tiny_bundle)
    monkeypatch.setattr(arriving, "free_bytes", lambda _: arriving.SPARE_BYTES + 1000)
    with fetcher(service, shelf) as fetching, pytest.raises(ShelfFullError, match="more room"):
        fetching.bring(fetching.look())
    assert service.asked == []
    assert files_in(shelf.folder) == set()


def test_a_disk_that_becomes_full_keeps_nothing_of_the_new_and_all_of_the_old(
    shelf: Shelf, tiny_bundle: Path, other_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fetcher(ScriptedService(tiny_bundle), shelf) as fetching:
        good = fetching.bring(fetching.look())
    shelf.settle(good.fingerprint)
    service = ScriptedService(other_bundle)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with fetcher(service, shelf) as fetching, monkeypatch.context() as patch:
        offer = fetching.look(good.fingerprint)
        patch.setattr(arriving, "append", full)
        with pytest.raises(ShelfFullError, match="No space left"):
            fetching.bring(offer)
    assert files_in(shelf.folder) == {f"{good.fingerprint}/{name}" for name in HALF}
    last = shelf.last_good()
    assert last is not None
    assert last.path == good.path


def test_of_bundles_that_are_not_complete_only_the_last_takes_room(
    shelf: Shelf, tiny_bundle: Path, other_bundle: Path
) -> None:
    for bundle in (tiny_bundle, other_bundle):
        service = ScriptedService(bundle)
        service.break_after = 2
        with fetcher(service, shelf) as fetching, pytest.raises(LinkError):
            fetching.bring(fetching.look())
    begun = [each.name for each in (shelf.folder / ".incoming").iterdir()]
    assert begun == [service.fingerprint]


def test_two_do_not_fetch_to_one_shelf_at_once(shelf: Shelf, tiny_bundle: Path) -> None:
    shelf.folder.mkdir(parents=True)
    handle = held_lock(shelf.folder / ".lock")
    assert handle is not None
    with fetcher(ScriptedService(tiny_bundle), shelf) as fetching:
        offer = fetching.look()
        with pytest.raises(ShelfError, match="somebody else"):
            fetching.bring(offer)
        os.close(handle)
        fetching.bring(offer)


def test_who_is_told_to_end_leaves_what_has_come(shelf: Shelf, tiny_bundle: Path) -> None:
    service = ScriptedService(tiny_bundle)
    fetching = fetcher(service, shelf, Manner(progress=lambda _share, _what: fetching.end()))
    with fetching, pytest.raises(LinkError, match="was ended"):
        fetching.bring(fetching.look())
    assert service.sent_bytes == PIECE_BYTES
    with fetcher(service, shelf) as another:
        fetched = another.bring(another.look())
    assert fetched.received_bytes == device_bytes(tiny_bundle) - PIECE_BYTES


def test_the_next_address_is_asked_where_one_is_away(shelf: Shelf, tiny_bundle: Path) -> None:
    service, dialled = ScriptedService(tiny_bundle), []

    def dial(address: str) -> Bundles:
        dialled.append(address)
        if address.endswith(":1"):
            raise LinkError("nobody there")
        return service

    source = Source(model="tiny", cloud="127.0.0.1:1,127.0.0.1:2")
    with Fetcher(source, shelf, Manner(attempts=1), dial) as fetching:
        fetching.bring(fetching.look())
    assert dialled == ["127.0.0.1:1", "127.0.0.1:2"]


def test_a_refusal_of_the_only_address_is_a_refusal(shelf: Shelf, tiny_bundle: Path) -> None:
    service = ScriptedService(tiny_bundle)

    def current(model: str, held: str) -> Offer:
        raise PeerError("NOT_FOUND", "no version of tiny is active here")

    service.current = current  # type: ignore[method-assign]
    with fetcher(service, shelf) as fetching, pytest.raises(PeerError, match="no version"):
        fetching.look()


def test_back_off_doubles_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching_module, "BACKOFF_S", (1.0, 60.0))
    back_off = BackOff()
    waits = [back_off.next_s() for _ in range(20)]
    assert all(2.0**n / 2 <= wait <= 2.0**n for n, wait in enumerate(waits[:6]))
    assert all(30 <= wait <= 60 for wait in waits[6:])
    back_off.reset()
    assert back_off.next_s() <= 1


def test_a_damaged_bundle_on_the_shelf_is_fetched_anew(shelf: Shelf, tiny_bundle: Path) -> None:
    service = ScriptedService(tiny_bundle)
    with fetcher(service, shelf) as fetching:
        fetched = fetching.bring(fetching.look())
        (fetched.path / "labels.txt").write_text("other labels")
        again = fetching.bring(fetching.look())
    assert again.received_bytes == device_bytes(tiny_bundle)
    assert open_bundle(again.path, "device").fingerprint == service.fingerprint


def test_in_the_background_it_pauses_as_long_as_each_piece_took(
    shelf: Shelf, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at the clock is 0.4 s later than the one before; a pause is a second at most."""

    class Clock:
        def __init__(self, step_s: float) -> None:
            self.step_s, self.now_s = step_s, 0.0

        def monotonic(self) -> float:
            self.now_s += self.step_s
            return self.now_s

    class Pauses(threading.Event):
        def __init__(self) -> None:
            super().__init__()
            self.asked_s: list[float] = []

        def wait(self, timeout: float | None = None) -> bool:
            self.asked_s.append(round(timeout or 0.0, 3))
            return self.is_set()

    def pauses_of(bundle: Path, step_s: float, *, rests: bool) -> list[float]:
        service, pauses = ScriptedService(bundle), Pauses()
        monkeypatch.setattr(fetching_module, "time", Clock(step_s))
        monkeypatch.setattr("threading.Event", lambda: pauses)
        with fetcher(service, shelf, Manner(attempts=1, rests=rests)) as fetching:
            path = fetching.bring(fetching.look()).path
        shutil.rmtree(path)
        monkeypatch.undo()
        return pauses.asked_s

    assert set(pauses_of(tiny_bundle, 0.4, rests=False)) == {0.0}
    assert set(pauses_of(tiny_bundle, 0.4, rests=True)) == {0.4}
    assert set(pauses_of(tiny_bundle, 4.0, rests=True)) == {1.0}
