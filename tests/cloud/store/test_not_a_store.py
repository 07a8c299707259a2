"""A folder that is no version is not removed, whatever path is given as the store's.

And where the disk has no room, what is done already is not refused.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cloud.store.bundles import manifest_of, pushed
from tests.cloud.store.serving import refused, serving
from tests.cloud.store.test_full_disk import full_disk

from isthmus.v1 import store_pb2 as pb
from isthmus_cloud.store import Store, StoreError, StoreFullError, UnknownVersionError, disk

SIGNATURE = bytes(64)
SOME = "device/segment-0.onnx"


@pytest.fixture
def one(store: Store, tiny_bundle: Path) -> Store:
    """v1, without a signature; not active."""
    pushed(store, tiny_bundle, "model", "v1")
    return store


def everything(folder: Path) -> dict[str, bytes | None]:
    """Names of all that is below it, and what is in the files."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def assert_stays(store: Store, name: str, version: str, stranger: str) -> None:
    """`remove` refuses, names the file, and changes nothing; a list does not advise to remove."""
    before = everything(store.root)
    with pytest.raises(StoreError, match="is no version") as refusal:
        store.remove(name, version)
    assert f"it holds {stranger}," in str(refusal.value)
    assert "see that the path is that of the store" in str(refusal.value)
    assert "yourself" in str(refusal.value)
    assert everything(store.root) == before
    assert "remove it" not in str(store.version(name, version).fault)


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("hi\n", encoding="utf-8")


@pytest.mark.parametrize(
    "path", ["thesis.txt", ".hidden", "a/b/thesis.txt", "device/thesis.txt", "labels.txt"]
)
def test_a_folder_of_somebody_is_no_version(root: Path, path: str) -> None:
    write(root / "docs" / "work" / path)
    assert_stays(Store(root), "docs", "work", path)
    (listed,) = Store(root).versions_of_all()
    assert "is no version of a store: see that the path" in str(listed.fault)


@pytest.mark.parametrize(
    ("name", "shown"), [(b"caf\xe9.txt", r"caf\udce9.txt"), (b"a\x1b[31m\n", r"a\x1b[31m\n")]
)
async def test_a_name_of_any_bytes_is_told_in_one_line(root: Path, name: bytes, shown: str) -> None:
    write(root / "docs" / "work" / os.fsdecode(name))
    assert_stays(Store(root), "docs", "work", shown)
    request = pb.RemoveRequest(name="docs", version="work")
    async with serving(Store(root)) as served:
        error = await refused(served.operators.Remove(request))
    assert shown in str(error.details())


def test_the_folder_above_the_store_is_no_store(one: Store) -> None:
    """Neither a model with its versions nor one whose versions are called like a bundle's halves"""
    above = Store(one.root.parent)
    assert_stays(above, one.root.name, "model", "v1/bundle.json")
    for half in ("device", "cloud"):
        (one.root / "model" / "v1").rename(one.root / "model" / half)
        assert_stays(above, one.root.name, "model", f"{half}/bundle.json")
        (one.root / "model" / half).rename(one.root / "model" / "v1")


def test_a_model_of_the_store_is_no_store(one: Store) -> None:
    below = Store(one.root / "model")
    assert_stays(below, "v1", "device", "segment-0.onnx")
    assert_stays(below, "v1", "cloud", "entry-cut.onnx")
    assert one.check("model", "v1").fault is None


@pytest.mark.parametrize(
    ("manifest", "path"),
    [(b"", "device/notes.txt"), (None, "device/notes.txt"), (None, "device/mine.onnx")],
)
def test_what_somebody_put_into_a_version_stays(
    one: Store, manifest: bytes | None, path: str
) -> None:
    """Whether or not the manifest can be read; without that file the version goes."""
    folder = one.path("model", "v1")
    write(folder / path)
    if manifest is not None:
        (folder / "bundle.json").write_bytes(manifest)
    assert_stays(one, "model", "v1", path)
    (folder / path).unlink()
    one.remove("model", "v1")
    assert not folder.exists()


def no_manifest(folder: Path) -> None:
    (folder / "bundle.json").unlink()


def manifest_is_a_folder(folder: Path) -> None:
    no_manifest(folder)
    (folder / "bundle.json").mkdir()


def manifest_is_a_pipe(folder: Path) -> None:
    no_manifest(folder)
    os.mkfifo(folder / "bundle.json")


def shortened_manifest(folder: Path) -> None:
    (folder / "bundle.json").write_bytes((folder / "bundle.json").read_bytes()[:100])


def half_a_signature(folder: Path) -> None:
    (folder / "bundle.json.sig").write_bytes(b"x")
    (folder / ".bundle.json.sig.partial").write_bytes(b"x")  # a crash came


def lost_files(folder: Path) -> None:
    for path in (folder / "cloud").iterdir():
        path.unlink()
    (folder / SOME).unlink()
    (folder / SOME).mkdir()


def lost_all(folder: Path) -> None:
    for path in [*folder.rglob("*")]:
        if path.is_file():
            path.unlink()


@pytest.mark.parametrize(
    "harm",
    [
        no_manifest,
        manifest_is_a_folder,
        manifest_is_a_pipe,
        shortened_manifest,
        half_a_signature,
        lost_files,
        lost_all,
    ],
)
def test_a_damaged_version_goes(one: Store, harm: Callable[[Path], None]) -> None:
    folder = one.path("model", "v1")
    harm(folder)
    assert "is no version of a store" not in str(one.version("model", "v1").fault)
    one.remove("model", "v1")
    with pytest.raises(UnknownVersionError):
        one.version("model", "v1")


def test_a_version_in_which_not_everything_can_be_looked_at_stays(
    one: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def shut(path: Any) -> Any:
        if Path(path).name == "device":
            raise PermissionError(13, "Permission denied")
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", shut)
        with pytest.raises(StoreError, match=r"Permission denied.*let the user"):
            one.remove("model", "v1")
    assert one.check("model", "v1").fault is None


def test_a_link_to_a_bundle_goes_and_one_to_somebodys_folder_stays(
    one: Store, tmp_path: Path
) -> None:
    """What a link leads to is never lost, but who made it may need it."""
    write(one.path("model", "v1") / "notes.txt")
    write(tmp_path / "elsewhere" / "thesis.txt")
    (one.root / "linked").mkdir()
    (one.root / "linked" / "a").symlink_to(one.path("model", "v1"))
    (one.root / "linked" / "b").symlink_to(tmp_path / "elsewhere")
    one.remove("linked", "a")
    assert (one.path("model", "v1") / "notes.txt").exists()
    assert_stays(one, "linked", "b", "thesis.txt")


def test_a_push_over_a_folder_of_somebody_does_not_advise_to_remove_it(
    root: Path, tiny_bundle: Path
) -> None:
    write(root / "docs" / "work" / "thesis.txt")
    before = everything(root)
    with pytest.raises(StoreError, match=r"it holds thesis.txt") as refusal:
        Store(root).begin_push("docs", "work", manifest_of(tiny_bundle))
    assert "remove it" not in str(refusal.value)
    assert everything(root) == before


def test_hidden_folders_that_others_use_too_lose_only_what_is_the_stores(
    store: Store, root: Path, tiny_bundle: Path
) -> None:
    """As where somebody's home was taken for a store; they were there long before."""
    for name in (".trash/letter.txt", ".trash/letters/one.txt", ".incoming/mail/new.txt"):
        write(root / name)
    for folder in (root / ".incoming" / "mail", root / ".trash" / "letters"):
        os.utime(folder, (0, 0))
    before = everything(root)
    pushed(store, tiny_bundle, "model", "v1")
    store.remove("model", "v1")
    assert before.items() <= everything(root).items()


@contextmanager
def full() -> Iterator[None]:
    """Whatever needs a block of the disk finds none."""
    real = os.open

    def opened(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_CREAT:
            full_disk()
        return real(path, flags, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("mkdir", "rename", "replace", "link", "fsync"):
            patch.setattr(os, name, full_disk)
        patch.setattr(os, "open", opened)
        yield


@pytest.fixture
def signed(store: Store, tiny_bundle: Path) -> Store:
    """v1, signed and active, in a store that a hand made: without the hidden folders."""
    pushed(store, tiny_bundle, "model", "v1", SIGNATURE)
    store.set_active("model", "v1")
    for name in (".incoming", ".trash"):
        (store.root / name).rmdir()
    (store.root / ".lock").unlink()
    return store


@pytest.mark.parametrize("signature", [None, SIGNATURE], ids=["unsigned", "signed"])
def test_the_same_bundle_once_more_needs_no_room(
    signed: Store, tiny_bundle: Path, signature: bytes | None
) -> None:
    with full():
        push = signed.begin_push("model", "v1", manifest_of(tiny_bundle), signature)
        assert (push.was_there, push.lacks) == (True, ())
        assert push.finish().signed
        push.close()
        with pytest.raises(StoreFullError, match="no room"):  # this needs some
            signed.begin_push("model", "v1", manifest_of(tiny_bundle), bytes(range(64)))


def test_to_activate_what_is_active_needs_no_room(signed: Store, tiny_bundle: Path) -> None:
    pushed(signed, tiny_bundle, "model", "v2")
    with full():
        assert signed.set_active("model", "v1") == "v1"
        with pytest.raises(StoreFullError, match="no room"):
            signed.set_active("model", "v2")
    assert signed.active("model") == "v1"


def test_a_version_that_was_active_can_be_removed_to_make_room(
    signed: Store, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pointer is written when there is room: nobody goes back to another of that name."""
    pushed(signed, tiny_bundle, "model", "v2")
    signed.set_active("model", "v2")
    path = signed.path("model", "v1")

    def written(target: Path, data: bytes) -> None:
        if path.exists():
            full_disk()
        disk.write_whole(target, data)

    monkeypatch.setattr("isthmus_cloud.store.pointer.write_whole", written)
    signed.remove("model", "v1")
    pushed(signed, tiny_bundle, "model", "v1")
    with pytest.raises(StoreError, match="no version to go back to"):
        signed.rollback("model")


@pytest.mark.parametrize(("active", "way_out"), [("v1", "push it again"), ("v2", "activate it")])
async def test_what_stays_active_and_is_not_served_is_said_with_a_way_out(
    one: Store, other_bundle: Path, active: str, way_out: str
) -> None:
    """It was damaged when the service began, or has been unloaded since."""
    pushed(one, other_bundle, "model", "v2")
    one.set_active("model", active)
    (one.path("model", "v1") / SOME).unlink()
    request = pb.ActivateRequest(name="model", version="v1")
    async with serving(one) as served:
        error = await refused(served.operators.Activate(request))
    wanted = f"({active} stays active, but is not served: {way_out}, or activate another one): "
    assert wanted in str(error.details())


def test_a_pointer_that_cannot_be_read_is_told_once_for_each_damage(
    one: Store, tiny_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pushed(one, tiny_bundle, "model", "v2")
    pointer = one.root / "model" / ".active.json"
    with caplog.at_level(logging.WARNING):
        for time_s in (1, 2):
            pointer.write_bytes(b"{")
            os.utime(pointer, (time_s, time_s))
            one.versions("model")
            one.version("model", "v1")
        assert len(caplog.records) == 2
        one.set_active("model", "v1")
    assert len(caplog.records) == 2
    assert one.active("model") == "v1"
