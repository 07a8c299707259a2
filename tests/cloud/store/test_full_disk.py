"""A disk without room, or one that fails: an error that says so, and nothing half visible."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cloud.store.bundles import PIECE_BYTES, hidden, manifest_of, pieces, pushed, seen
from tests.cloud.store.crashing import live

from isthmus_cloud.store import Store, StoreError, StoreFullError, StoreLimits, disk
from isthmus_cloud.store.reading import names_in


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_named_and_leaves_nothing(
    store: Store, root: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    sent = list(pieces(tiny_bundle, push))
    for piece in sent[:5]:
        push.write(*piece)
    assert hidden(root) != set()
    with monkeypatch.context() as patch:
        patch.setattr("isthmus_cloud.store.push.append", full_disk)
        with pytest.raises(StoreFullError, match=r"no room.*No space left"):
            push.write(*sent[5])
    push.close()
    assert seen(root) == hidden(root) == set()
    assert list((root / ".incoming").iterdir()) == []
    pushed(store, tiny_bundle, "tiny", "v1")


def test_a_disk_that_is_full_from_the_start_is_named_and_leaves_nothing(
    store: Store, root: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus_cloud.store.store.write_whole", full_disk)
    with pytest.raises(StoreFullError, match="no room"):
        store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    assert list((root / ".incoming").iterdir()) == []


def test_no_room_is_said_before_a_byte_is_taken(
    store: Store, root: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare = StoreLimits().spare_bytes
    monkeypatch.setattr("isthmus_cloud.store.store.free_bytes", lambda _: spare - 1000)
    with pytest.raises(StoreFullError, match=r"14\.3 KB are to come.*67\.1 MB.*67\.1 MB stay so"):
        store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    assert list((root / ".incoming").iterdir()) == []


def test_room_that_others_take_meanwhile_is_missed_before_the_spare_is_touched(
    store: Store, root: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    sent = list(pieces(tiny_bundle, push))
    push.write(*sent[0])
    spare = StoreLimits().spare_bytes
    monkeypatch.setattr("isthmus_cloud.store.push.free_bytes", lambda _: spare + 10)
    with pytest.raises(StoreFullError, match="others have filled it"):
        push.write(*sent[1])
    assert list((root / ".incoming").iterdir()) == []


def test_a_disk_that_fails_leaves_the_push_to_be_gone_on_with(
    store: Store, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    push = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    sent = list(pieces(tiny_bundle, push))
    push.write(*sent[0])
    with monkeypatch.context() as patch:
        patch.setattr("isthmus_cloud.store.push.append", broken)
        with pytest.raises(StoreError, match="Input/output error"):
            push.write(*sent[1])
    again = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    assert next(pieces(tiny_bundle, again)) == sent[1]
    again.close()


def test_a_real_limit_on_file_sizes_is_met_with_a_clear_error(
    store: Store, root: Path, tiny_bundle: Path
) -> None:
    """The kernel itself refuses, in the middle of a piece."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    push = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    sent = list(pieces(tiny_bundle, push))
    resource.setrlimit(resource.RLIMIT_FSIZE, (PIECE_BYTES // 2, before[1]))
    try:
        with pytest.raises(StoreFullError, match="File too large"):
            push.write(*sent[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert hidden(root) == set()


def test_a_folder_where_nothing_may_be_written_is_named(tmp_path: Path, tiny_bundle: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="Not a directory"):
        Store(tmp_path / "file").begin_push("tiny", "v1", manifest_of(tiny_bundle))


def test_a_version_that_is_there_is_not_called_lost(
    store: Store, root: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills when all that is left is to clear away."""
    push = store.begin_push("tiny", "v1", manifest_of(tiny_bundle))
    for piece in pieces(tiny_bundle, push):
        push.write(*piece)
    rename = os.rename

    def no_more_names(source: Path, target: Path) -> None:
        if ".trash" in Path(target).parts:
            full_disk()
        rename(source, target)

    monkeypatch.setattr(os, "rename", no_more_names)
    assert push.finish().fault is None
    assert list((root / ".incoming").iterdir()) == []
    push.close()
    assert store.check("tiny", "v1").fingerprint


def test_a_disk_that_fills_at_any_moment_leaves_a_store_that_can_go_on(
    tmp_path: Path, tiny_bundle: Path, other_bundle: Path
) -> None:
    """Every third call that needs room fails, and all behind it, in a life of its own."""
    failed = 0
    for number in range(1, 500, 3):
        store = Store(tmp_path / str(number))
        with full_from(number) as full:
            try:
                live(store.root, tiny_bundle, other_bundle)
            except StoreFullError:
                failed += 1
        assert all(store.check("model", each.version) for each in store.versions("model"))
        assert store.active_or_none("model") in {None, *names_in(store.root / "model")}
        live(store.root, tiny_bundle, other_bundle)
        assert [each.version for each in store.versions("model")] == ["v2"]
        assert hidden(store.root) == set()
        if not full.reached:
            break
    assert not full.reached
    assert failed > 20


class Full:
    """Whether the disk has been full."""

    reached = False


@contextmanager
def full_from(number: int) -> Iterator[Full]:
    """From the call of this number on, what needs room on a disk finds none."""
    full, calls = Full(), 0

    def limited(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= number:
                full.reached = True
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("mkdir", "rename", "replace", "fsync", "link"):
            patch.setattr(os, name, limited(getattr(os, name)))
        patch.setattr("isthmus_cloud.store.push.append", limited(disk.append))
        yield full


def test_a_piece_is_written_whole_even_in_parts(tmp_path: Path) -> None:
    """A disk may take less than it is given."""

    class Slow:
        def __init__(self) -> None:
            self.got = b""

        def write(self, data: memoryview) -> int:
            self.got += bytes(data[:3])
            return min(3, len(data))

    slow = Slow()
    disk.append(slow, b"0123456789")  # type: ignore[arg-type]
    assert slow.got == b"0123456789"
