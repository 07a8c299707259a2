"""A bundle comes into the store whole or not at all, and a push goes on where it broke off."""

import hashlib
import os
import shutil
import threading
import time
from pathlib import Path

import msgspec
import pytest
from tests.cloud.store.bundles import (
    entries_of,
    hidden,
    manifest_of,
    pieces,
    pushed,
    seen,
)

from isthmus import (
    BundleError,
    ConfigError,
    FileEntry,
    WireError,
    decode_manifest,
    encode_manifest,
    open_bundle,
)
from isthmus_cloud.store import Store, StoreError, StoreLimits


def with_another(bundle: Path, **entry: object) -> bytes:
    """The bundle's manifest with one more file, `record/more` of one byte if not said otherwise."""
    manifest = decode_manifest(manifest_of(bundle), "here")
    fields = {"path": "record/more", "side": "both", "size_bytes": 1, "sha256": "0" * 64} | entry
    more = msgspec.convert(fields, FileEntry)
    return encode_manifest(msgspec.structs.replace(manifest, files=(*manifest.files, more)))


def test_what_was_pushed_is_the_bundle_to_the_byte(
    store: Store, root: Path, tiny_bundle: Path
) -> None:
    stored = pushed(store, tiny_bundle, "tiny", "v1")
    copy = open_bundle(root / "tiny" / "v1", "cloud")
    assert copy.fingerprint == open_bundle(tiny_bundle, "cloud").fingerprint == stored.fingerprint
    assert open_bundle(store.path("tiny", "v1"), "device").labels == copy.labels
    assert stored.size_bytes == sum(entry.size_bytes for entry in entries_of(tiny_bundle))
    assert hidden(root) == set()


def test_a_push_goes_on_where_the_last_one_broke_off(store: Store, tiny_bundle: Path) -> None:
    manifest = manifest_of(tiny_bundle)
    first = store.begin_push("tiny", "v1", manifest)
    sent = list(pieces(tiny_bundle, first))
    half = len(sent) // 2
    for piece in sent[:half]:
        first.write(*piece)
    first.close()
    second = Store(store.root).begin_push("tiny", "v1", manifest)
    rest = list(pieces(tiny_bundle, second))
    assert rest == sent[half:]
    for piece in rest:
        second.write(*piece)
    second.finish()
    assert store.check("tiny", "v1").fault is None


def test_nothing_is_seen_before_all_is_there(store: Store, root: Path, tiny_bundle: Path) -> None:
    push = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    for piece in pieces(tiny_bundle, push):
        push.write(*piece)
        assert seen(root) == set()
        assert store.models() == ()
    push.finish()
    assert store.models() == ("tiny",)


def test_a_push_that_lacks_something_is_not_finished(store: Store, tiny_bundle: Path) -> None:
    push = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    for piece in list(pieces(tiny_bundle, push))[:-1]:
        push.write(*piece)
    with pytest.raises(WireError, match=r"1 files are not complete.*labels\.txt"):
        push.finish()
    push.close()
    assert store.models() == ()


def test_the_same_bundle_once_more_lacks_nothing(store: Store, tiny_bundle: Path) -> None:
    pushed(store, tiny_bundle, "tiny", "v1")
    push = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    assert push.was_there
    assert push.lacks == ()
    assert push.finish().version == "v1"
    push.close()


def test_a_version_never_becomes_another_bundle(
    store: Store, tiny_bundle: Path, other_bundle: Path
) -> None:
    pushed(store, tiny_bundle, "tiny", "v1")
    with pytest.raises(StoreError, match="another bundle already"):
        store.begin_push("tiny", "v1", manifest_of(other_bundle))
    assert store.check("tiny", "v1").fault is None


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../up", "a/b", ".hidden", "-flag", "a b", "ä", "a\0b", "x" * 65, "a\n"]
)
def test_a_name_that_could_lead_out_is_refused(
    store: Store, root: Path, tiny_bundle: Path, name: str
) -> None:
    for pair in ((name, "v1"), ("tiny", name)):
        with pytest.raises(ConfigError, match="cannot be used"):
            store.begin_push(*pair, manifest_of(tiny_bundle))
        with pytest.raises(ConfigError):
            store.remove(*pair)
        with pytest.raises(ConfigError):
            store.set_active(*pair)
    assert not root.exists()


@pytest.mark.parametrize(
    "path",
    [
        "../escaped", "/etc/escaped", "a/../../escaped", "a\\b", "./a", "a//b", "a/", ".hidden",
        "a/.hidden", "a\0b", "a\nb", "bundle.json", "bundle.json.sig", "x" * 256, "y/" * 300 + "z",
        "labels.txt/below", "device", "",
    ],
)  # fmt: skip
def test_a_file_name_that_could_lead_out_or_clash_is_refused(
    store: Store, root: Path, tiny_bundle: Path, path: str
) -> None:
    with pytest.raises(BundleError):
        store.begin_push("tiny", "v1", with_another(tiny_bundle, path=path))
    assert not root.exists()


@pytest.mark.parametrize(
    "entry",
    [
        {"size_bytes": -1},
        {"size_bytes": 0},  # whose sha256 is known
        {"sha256": "0" * 63},
        {"sha256": "G" * 64},
        {"sha256": "A" * 64},
        {"size_bytes": 2**60},
    ],
    ids=str,
)
def test_a_size_or_sha256_that_cannot_be_is_refused_before_a_byte_is_taken(
    store: Store, root: Path, tiny_bundle: Path, entry: dict[str, object]
) -> None:
    with pytest.raises(BundleError):
        store.begin_push("tiny", "v1", with_another(tiny_bundle, **entry))
    assert not root.exists()


@pytest.mark.parametrize("manifest", [b"", b"{}", b"[", b"\xff", b"x" * (4 * 1024**2 + 1)])
def test_what_is_no_manifest_is_refused(store: Store, root: Path, manifest: bytes) -> None:
    with pytest.raises(BundleError, match="tiny/v1"):
        store.begin_push("tiny", "v1", manifest)
    assert not root.exists()


def test_a_bundle_larger_than_the_store_takes_is_refused(root: Path, tiny_bundle: Path) -> None:
    store = Store(root, limits=StoreLimits(max_bundle_bytes=1000))
    with pytest.raises(BundleError, match="1000 at most"):
        store.begin_push("tiny", "v1", manifest_of(tiny_bundle))


def test_more_files_than_a_bundle_can_have_are_refused(
    store: Store, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus.bundle_names.MAX_FILES", 5)
    with pytest.raises(BundleError, match="at most 5"):
        store.begin_push("tiny", "v1", manifest_of(tiny_bundle))


def test_an_empty_file_comes_without_a_piece(
    store: Store, tmp_path: Path, tiny_bundle: Path
) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    empty = hashlib.sha256().hexdigest()
    (bundle / "bundle.json").write_bytes(with_another(tiny_bundle, size_bytes=0, sha256=empty))
    (bundle / "record").mkdir()
    (bundle / "record" / "more").touch()
    pushed(store, bundle, "tiny", "v1")
    assert (store.path("tiny", "v1") / "record" / "more").read_bytes() == b""
    assert store.check("tiny", "v1").fault is None


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        (("device/no.onnx", 0, b"x"), "not asked for"),
        (("../escaped", 0, b"x"), "not asked for"),
        (("labels.txt", 1, b"x"), "the next one begins at 0"),
        (("labels.txt", 0, b""), "does not fit"),
        (("labels.txt", 0, b"x" * 81), "does not fit"),
    ],
)
def test_a_piece_out_of_place_is_refused_and_the_push_can_go_on(
    store: Store, tiny_bundle: Path, piece: tuple[str, int, bytes], words: str
) -> None:
    push = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    with pytest.raises(WireError, match=words):
        push.write(*piece)
    for right in pieces(tiny_bundle, push):
        push.write(*right)
    push.finish()
    assert store.check("tiny", "v1").fault is None


def test_a_file_that_arrives_damaged_is_forgotten_and_asked_for_again(
    store: Store, tiny_bundle: Path
) -> None:
    size = (tiny_bundle / "labels.txt").stat().st_size
    push = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    with pytest.raises(BundleError, match=r"labels\.txt: what arrived"):
        push.write("labels.txt", 0, b"x" * size)
    push.close()
    again = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    assert ("labels.txt", 0) in [(lacking.path, lacking.offset) for lacking in again.lacks]
    again.close()
    pushed(store, tiny_bundle, "tiny", "v1")


@pytest.mark.parametrize("grown", [False, True], ids=["another byte", "too long"])
def test_what_has_arrived_is_verified_before_a_push_goes_on(
    store: Store, root: Path, tiny_bundle: Path, grown: bool
) -> None:
    manifest = manifest_of(tiny_bundle)
    push = store.begin_push("tiny", "v1", manifest)
    first = push.lacks[0]
    for piece in pieces(tiny_bundle, push):
        if piece[0] == first.path:
            push.write(*piece)
    push.close()
    arrived = root / ".incoming" / hashlib.sha256(manifest).hexdigest() / "bundle" / first.path
    content = bytearray(arrived.read_bytes())
    content[0] ^= 1
    arrived.write_bytes(content + b"more" * grown)
    again = store.begin_push("tiny", "v1", manifest)
    assert (again.lacks[0].path, again.lacks[0].offset) == (first.path, 0)
    again.close()


def test_a_closed_push_takes_nothing_more(store: Store, tiny_bundle: Path) -> None:
    push = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    piece = next(pieces(tiny_bundle, push))
    push.close()
    push.close()
    with pytest.raises(StoreError, match="is over"):
        push.write(*piece)
    with pytest.raises(StoreError, match="is over"):
        push.finish()


def test_two_pushes_of_one_bundle_do_not_mix(store: Store, tiny_bundle: Path) -> None:
    push = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    for version in ("v1", "v2"):
        with pytest.raises(StoreError, match="by somebody else"):
            Store(store.root).begin_push("tiny", version, manifest_of(tiny_bundle))
    push.close()
    pushed(store, tiny_bundle, "tiny", "v1")


def test_of_two_bundles_that_want_one_version_the_first_has_it(
    store: Store, tiny_bundle: Path, other_bundle: Path
) -> None:
    """Both came before either was there."""
    pushes = [store.begin_push("tiny", "v1", manifest_of(b)) for b in (tiny_bundle, other_bundle)]
    for bundle, push in zip((tiny_bundle, other_bundle), pushes, strict=True):
        for piece in pieces(bundle, push):
            push.write(*piece)
    pushes[0].finish()
    with pytest.raises(StoreError, match="another bundle already"):
        pushes[1].finish()
    assert store.check("tiny", "v1").fingerprint == open_bundle(tiny_bundle, "cloud").fingerprint
    late = store.begin_push("tiny", "v2", manifest_of(other_bundle))
    assert late.lacks == ()  # all of it had arrived
    late.finish()
    assert store.check("tiny", "v2").fault is None


def test_many_pushes_at_once_all_arrive(
    store: Store, tiny_bundle: Path, other_bundle: Path, wide_bundle: Path
) -> None:
    bundles = (tiny_bundle, other_bundle, wide_bundle)
    gate = threading.Barrier(len(bundles))

    def push(index: int, bundle: Path) -> None:
        gate.wait()
        pushed(Store(store.root), bundle, "model", f"v{index}")
        Store(store.root).set_active("model", f"v{index}")

    threads = [threading.Thread(target=push, args=pair) for pair in enumerate(bundles)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.version for each in store.versions("model")} == {"v0", "v1", "v2"}
    assert all(store.check("model", f"v{index}").fault is None for index in range(3))
    assert len(read_history(store, "model")) == 3


def read_history(store: Store, name: str) -> list[str]:
    """Versions by going back until there is nothing to go back to."""
    history = [str(store.active(name))]
    while True:
        try:
            history.append(store.rollback(name))
        except StoreError:
            return history


def test_what_nobody_goes_on_with_is_swept_after_its_time(
    store: Store, root: Path, tiny_bundle: Path, other_bundle: Path
) -> None:
    store.begin_push("tiny", "v1", manifest_of(tiny_bundle)).close()
    under_way = store.begin_push("other", "v1", manifest_of(other_bundle))
    long_ago_s = time.time() - StoreLimits().keep_partial_s - 1
    folders = list((root / ".incoming").iterdir())
    for folder in folders:
        os.utime(folder / "lock", (long_ago_s, long_ago_s))
    (root / ".trash" / ("0" * 16)).mkdir()
    store.begin_push("tiny", "v2", manifest_of(tiny_bundle)).close()
    left = {folder.name for folder in (root / ".incoming").iterdir()}
    assert hashlib.sha256(manifest_of(other_bundle)).hexdigest() in left
    assert list((root / ".trash").iterdir()) == []
    under_way.close()
    os.utime(folders[0] / "lock", (long_ago_s, long_ago_s))
    os.utime(folders[1] / "lock", (long_ago_s, long_ago_s))
    pushed(store, tiny_bundle, "tiny", "v1")
    assert list((root / ".incoming").iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="/proc says which file is synced")
def test_every_byte_and_name_is_synced_before_anybody_sees_the_version(
    store: Store, root: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.add(str(Path(f"/proc/self/fd/{fd}").readlink()))
    )
    rename = os.rename
    before: dict[str, set[str]] = {}

    def renamed(source: Path, target: Path) -> None:
        before[str(target)] = {name for name in synced if name.startswith(f"{source}")}
        rename(source, target)

    monkeypatch.setattr(os, "rename", renamed)
    pushed(store, tiny_bundle, "tiny", "v1")
    place = root / "tiny" / "v1"
    arrived = {Path(name).name for name in before[str(place)]}
    names = {"bundle", "device", "cloud"} | {Path(entry.path).name for entry in entries_of(place)}
    assert names <= arrived
    assert str(place.parent) in synced
