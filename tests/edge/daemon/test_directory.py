"""A watched folder: what is given, when, and what becomes of the files."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.commands import PATIENCE_S

from isthmus import ConfigError
from isthmus_edge.daemon.sections import DirectorySection
from isthmus_edge.daemon.sources import Fate, Item, SourceLostError, open_source, optional
from isthmus_edge.daemon.sources.directory import DirectorySource, Happening

SETTLE_S = 0.01


class Teller:
    """In place of the kernel; the tests say what happens."""

    def __init__(self) -> None:
        self.tell: Callable[[Happening], None] = lambda _: None
        self.stopped = 0
        self.told: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, tell: Callable[[Happening], None]) -> "Teller":
        self.tell = tell
        return self

    def stop(self) -> None:
        self.stopped += 1

    def note(self, event: str, level: int = 0, **fields: Any) -> None:
        self.told.append((event, fields))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


def source_of(
    teller: Teller, folder: Path, clock: Callable[[], float] = time.monotonic, **settings: Any
) -> DirectorySource:
    section = DirectorySection(path=folder, settle_s=SETTLE_S, **settings)
    return DirectorySource("tray", section, teller.note, teller, clock)


def items_of(source: DirectorySource) -> Iterator[Item]:
    items = source.items()
    assert next(items) is None, "it is open"
    return (item for item in items if item is not None)


def settle(source: DirectorySource, path: Path, fate: Fate) -> None:
    """Of the version that lies there."""
    found = path.stat()
    source.settle(path, (found.st_ino, found.st_size, found.st_mtime_ns), fate)


def put(path: Path, content: bytes) -> None:
    """Written elsewhere and renamed: never half there, and another file than the one before."""
    hidden = path.with_name(f".{path.name}")
    hidden.write_bytes(content)
    hidden.rename(path)


def test_a_picture_that_is_closed_or_renamed_into_it_is_given_once(folder: Path) -> None:
    teller = Teller()
    source = source_of(teller, folder)
    items = items_of(source)
    for name in ("a.png", "b.JPG", "notes.txt", ".c.png"):
        (folder / name).write_bytes(b"x")
    for name in ("a.png", "a.png", "notes.txt", ".c.png"):
        teller.tell(("closed", folder / name))
    teller.tell(("renamed", folder / "b.JPG"))
    assert [next(items).name, next(items).name] == ["a.png", "b.JPG"]
    source.stop()
    assert list(items) == []
    assert teller.stopped == 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"existing": True}, ["old.png"]),
        ({"when_done": "delete"}, ["old.png"]),
        ({"when_done": "delete", "existing": False}, []),
    ],
)
def test_what_lies_there_at_the_start_is_given_if_it_is_asked_for(
    folder: Path, settings: dict[str, Any], expected: list[str]
) -> None:
    (folder / "old.png").write_bytes(b"x")
    teller = Teller()
    source = source_of(teller, folder, **settings)
    items = items_of(source)
    (folder / "new.png").write_bytes(b"x")
    teller.tell(("closed", folder / "new.png"))
    taken = {next(items).name for _ in range(1 + len(expected))}
    assert taken == {"new.png", *expected}


def test_an_answered_file_is_moved_and_replaces_no_other(folder: Path, tmp_path: Path) -> None:
    done = tmp_path / "done"
    source = source_of(Teller(), folder, when_done="move", done=done)
    for content in (b"first", b"second"):
        (folder / "a.png").write_bytes(content)
        settle(source, folder / "a.png", "answered")
    assert (done / "a.png").read_bytes() == b"first"
    assert (done / "a-1.png").read_bytes() == b"second"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("fate", ["failed", "unreadable", "unwritten"])
def test_a_file_without_an_answer_that_was_written_down_stays(folder: Path, fate: Any) -> None:
    source = source_of(Teller(), folder, when_done="delete")
    (folder / "a.png").write_bytes(b"x")
    settle(source, folder / "a.png", fate)
    assert (folder / "a.png").exists()


def test_a_file_whose_answer_was_not_written_is_given_again(folder: Path) -> None:
    now_s, teller = [0.0], Teller()
    source = source_of(teller, folder, lambda: now_s[0], when_done="delete")
    in_time = threading.Timer(PATIENCE_S, source.stop)
    in_time.start()
    items = items_of(source)
    for name in ("a.png", "b.png", "c.png"):
        put(folder / name, b"x")
        teller.tell(("renamed", folder / name))
    for item in list(islice(items, 3)):
        item.settled("unwritten")
    now_s[0] = 1.0
    again = next(items)
    assert again.name == "a.png", "one, to see whether it helps"
    again.settled("answered")
    rest = list(islice(items, 2))
    assert [item.name for item in rest] == ["b.png", "c.png"]
    for item in rest:
        item.settled("answered")
    assert list(folder.iterdir()) == []
    source.stop()
    assert list(items) == []
    in_time.cancel()


def test_a_file_whose_answer_was_not_written_waits_for_its_pause(folder: Path) -> None:
    now_s, teller = [0.0], Teller()
    source = source_of(teller, folder, lambda: now_s[0], when_done="delete")
    items = items_of(source)
    put(folder / "a.png", b"x")
    teller.tell(("renamed", folder / "a.png"))
    next(items).settled("unwritten")
    now_s[0] = 0.9
    teller.tell(("", folder))
    source.stop()
    assert list(items) == []
    assert (folder / "a.png").exists()


def test_what_is_no_regular_file_is_told_once_and_the_next_picture_given(
    folder: Path, tmp_path: Path
) -> None:
    """Nobody writes into the FIFO: whoever opened it to read would wait for ever."""
    teller = Teller()
    os.mkfifo(folder / "b.png")
    failed = tmp_path / "failed"
    source = source_of(teller, folder, existing=True, failed=failed)
    (folder / "a.png").mkdir()
    (folder / "z.png").symlink_to("/dev/zero")
    put(folder / "c.png", b"x")
    in_time = threading.Timer(PATIENCE_S, source.stop)
    in_time.start()
    items = items_of(source)
    assert next(items).name == "c.png"
    for happening in ("modified", "opened", "closed"):
        teller.tell((happening, folder / "b.png"))
    put(folder / "d.png", b"x")
    teller.tell(("renamed", folder / "d.png"))
    assert next(items).name == "d.png"
    in_time.cancel()
    for name in ("a.png", "z.png"):
        teller.tell(("closed", folder / name))
    source.stop()
    assert list(items) == []
    assert {(event, fields["file"]) for event, fields in teller.told} == {
        ("file_ignored", str(folder / name)) for name in ("a.png", "b.png", "z.png")
    }
    assert len(teller.told) == 3, "once each"
    reasons = {fields["reason"] for _, fields in teller.told}
    assert "it is a FIFO (named pipe) and no regular file" in reasons
    assert not failed.exists()


def test_a_file_that_cannot_be_moved_is_told(folder: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "done"
    in_the_way.write_text("no folder")
    teller = Teller()
    source = source_of(teller, folder, when_done="move", done=in_the_way)
    (folder / "a.png").write_bytes(b"x")
    settle(source, folder / "a.png", "answered")
    ((event, fields),) = teller.told
    assert event == "file_stays"
    assert fields["file"] == str(folder / "a.png")


@pytest.mark.parametrize("when_done", ["delete", "move"])
def test_a_version_that_came_while_another_was_answered_has_its_own_turn(
    folder: Path, tmp_path: Path, when_done: str
) -> None:
    done = tmp_path / "done" if when_done == "move" else None
    teller = Teller()
    source = source_of(teller, folder, when_done=when_done, done=done)
    items = items_of(source)
    put(folder / "a.png", b"first")
    teller.tell(("renamed", folder / "a.png"))
    first = next(items)
    put(folder / "a.png", b"second")
    teller.tell(("renamed", folder / "a.png"))
    first.settled("answered")
    source.stop()  # so that a version that is lost ends the test
    second = next(items)
    assert isinstance(second.picture, Path)
    assert second.picture.read_bytes() == b"second"
    second.settled("answered")
    assert list(folder.iterdir()) == []
    assert done is None or [path.read_bytes() for path in done.iterdir()] == [b"second"]


def test_a_folder_that_another_one_has_replaced_is_a_loss(folder: Path) -> None:
    teller = Teller()
    source = source_of(teller, folder)
    items = items_of(source)
    folder.rename(folder.with_name("before"))
    folder.mkdir()
    teller.tell(("", folder))
    source.stop()  # so that a folder that is not missed ends the test
    with pytest.raises(SourceLostError, match="another one"):
        next(items)


def test_a_folder_made_anew_is_a_loss_even_if_its_number_is_the_same(folder: Path) -> None:
    source = open_source(DirectorySection(path=folder, settle_s=SETTLE_S), "tray", Teller().note)
    assert isinstance(source, DirectorySource)
    items = items_of(source)
    in_time = threading.Timer(PATIENCE_S, source.stop)
    in_time.start()
    folder.rmdir()
    folder.mkdir()
    with pytest.raises(SourceLostError, match="another one"):
        next(items)
    in_time.cancel()


def test_a_folder_that_may_not_be_read_is_a_loss_and_no_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", closed)
    source = source_of(Teller(), folder)
    with pytest.raises(SourceLostError, match=r"in: cannot be listed \(Permission denied\)"):
        next(source.items())


def test_a_folder_that_is_not_there_or_goes_is_a_loss_and_can_come_back(folder: Path) -> None:
    teller = Teller()
    source = source_of(teller, folder)
    folder.rmdir()
    with pytest.raises(SourceLostError, match="no such folder"):
        next(source.items())
    folder.mkdir()
    items = items_of(source)
    folder.rmdir()
    teller.tell(("deleted", folder / "a.png"))
    with pytest.raises(SourceLostError, match="is gone"):
        next(items)
    folder.mkdir()
    (folder / "meanwhile.png").write_bytes(b"x")
    assert next(items_of(source)).name == "meanwhile.png"


@pytest.mark.parametrize("polling", [False, True], ids=["kernel", "polling"])
def test_the_library_tells_of_files_in_either_way(folder: Path, polling: bool) -> None:
    section = DirectorySection(path=folder, settle_s=SETTLE_S, polling=polling)
    source = open_source(section, "tray", Teller().note)
    assert isinstance(source, DirectorySource)
    items = items_of(source)
    with (folder / "a.png").open("wb") as file:
        file.write(b"first half")
        file.flush()
        file.write(b"second half")
    (folder / ".b.png").write_bytes(b"x")
    (folder / ".b.png").rename(folder / "b.png")
    assert {next(items).name, next(items).name} == {"a.png", "b.png"}
    source.stop()
    assert list(items) == []


def test_a_missing_library_is_named_with_its_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(optional, "import_module", missing)
    with pytest.raises(ConfigError, match=r"'tray'.*watchdog.*pip install 'isthmus\[sources\]'"):
        open_source(DirectorySection(path=folder), "tray", Teller().note)
