"""The tokens file on disk: who may write it, several who do, and one that breaks in use."""

import logging
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from isthmus import ConfigError
from isthmus_cloud.security import tokens_file
from isthmus_cloud.security.tokens import Entry, added, encode_tokens
from isthmus_cloud.security.tokens_file import TokensFile, change_tokens, read_tokens


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.jsonl"
    add(path, "first")
    return path


def add(path: Path, name: str) -> None:
    change_tokens(path, lambda entries: added(entries, Entry(name=name)), makes=True)


def names(entries: Sequence[Entry]) -> list[str]:
    return [entry.name for entry in entries]


class Heard:
    """What a `TokensFile` told of its changes."""

    def __init__(self) -> None:
        self.all: list[list[str]] = []

    def __call__(self, entries: Sequence[Entry]) -> None:
        self.all.append(names(entries))


def test_a_new_file_is_its_owners_alone(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_change_keeps_mode_and_owner(path: Path) -> None:
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    before = path.stat()
    add(path, "second")
    after = path.stat()
    assert names(read_tokens(path)) == ["first", "second"]
    for field in ("st_mode", "st_uid", "st_gid"):
        assert getattr(after, field) == getattr(before, field)


def test_a_link_to_the_file_stays_one(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    add(link, "second")
    assert link.is_symlink()
    assert names(read_tokens(path)) == ["first", "second"]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_others_may_write_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"mode 0{mode:o}.*chmod go-w {path}"):
        read_tokens(path)


def test_others_may_read_it(path: Path) -> None:
    path.chmod(0o644)
    assert names(read_tokens(path)) == ["first"]


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, words in (
        (fifo, "fifo is not a file; give"),
        (tmp_path / "gone", "it is not there; `isthmus tokens add NAME --file"),
        (tmp_path, "is not a file|Is a directory"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_tokens(path)


def test_a_file_that_this_user_may_not_read_is_not_to_be_made_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(ConfigError, match="this user may not; it is to be readable") as told:
        read_tokens(path)
    assert "tokens add" not in str(told.value)


def test_a_file_of_any_size_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_file, "MOST_FILE_BYTES", path.stat().st_size)
    assert names(read_tokens(path)) == ["first"]
    with path.open("ab") as file:
        file.write(b"\n")
    with pytest.raises(ConfigError, match="is it a tokens file"):
        read_tokens(path)


def test_many_who_change_it_at_once_lose_nothing(path: Path) -> None:
    expected = [f"n{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: add(path, name), expected))
    assert sorted(names(read_tokens(path))) == sorted(["first", *expected])


def test_a_change_that_fails_leaves_it_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ConfigError, match=r"cannot be written.*No space"):
            add(path, "second")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_where_nothing_can_be_written_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.tokens\.jsonl cannot be written"):
        add(tmp_path / "nowhere" / "tokens.jsonl", "first")


def test_a_change_is_told_once(path: Path) -> None:
    heard = Heard()
    file = TokensFile(path, heard)
    file.refresh()
    assert heard.all == [["first"]]
    add(path, "second")
    file.refresh()
    file.refresh()
    assert heard.all == [["first"], ["first", "second"]]


def test_a_change_of_nothing_but_content_is_seen(path: Path) -> None:
    """In place, of the same length and with the old time of change, as some editors leave it."""
    heard = Heard()
    file = TokensFile(path, heard)
    then = path.stat()
    path.write_bytes(encode_tokens([Entry(name="tsrif")]))
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))
    file.refresh()
    assert heard.all[1:] == [["tsrif"]]


@pytest.mark.parametrize("harm", ["nonsense", "gone", "open"])
def test_a_broken_file_is_told_once_and_changes_nothing(
    path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    file = TokensFile(path, heard)
    whole = path.read_bytes()
    if harm == "nonsense":
        path.write_text("half a li")
    elif harm == "gone":
        path.unlink()
    else:
        path.chmod(0o666)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            file.refresh()
    (line,) = caplog.messages
    assert str(path) in line
    assert line.endswith("those who could come in before still can")
    assert heard.all == [["first"]]
    path.unlink(missing_ok=True)
    path.write_bytes(whole)
    path.chmod(0o600)
    file.refresh()
    assert heard.all == [["first"], ["first"]]


def test_a_file_that_is_broken_at_the_start_is_refused(path: Path) -> None:
    path.write_text("half a li")
    heard = Heard()
    with pytest.raises(ConfigError, match="line 1 is no identity"):
        TokensFile(path, heard)
    assert heard.all == []
