"""What is written outlives a crash: content first, then the name, then the folder."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus.durable_files import write_new, write_whole


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to the disk, in order: what is synced, and where a name comes about."""
    seen: list[str] = []

    def noted(name: str, what: Callable[..., str]) -> None:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            seen.append(what(*args))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    noted("fsync", lambda handle: "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
    for name in ("rename", "replace", "link"):
        noted(name, lambda _, target: f"name {Path(target).name}")
    return seen


@pytest.mark.parametrize(
    "write", [write_whole, lambda path, data: write_new(path, data, 0o600)], ids=["whole", "new"]
)
def test_content_is_synced_before_its_name_and_the_folder_behind_it(
    tmp_path: Path, steps: list[str], write: Callable[[Path, bytes], None]
) -> None:
    write(tmp_path / "it", b"content")
    assert steps == ["file", "name it", "folder"]
    assert (tmp_path / "it").read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


@pytest.mark.parametrize("there", ["file", "link", "link that leads nowhere", "pipe"])
def test_what_a_crash_or_a_stranger_left_beside_it_is_neither_followed_nor_waited_for(
    tmp_path: Path, there: str
) -> None:
    beside, elsewhere = tmp_path / ".it.partial", tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    match there:
        case "file":
            beside.write_bytes(b"half of somethi")
        case "link":
            beside.symlink_to(elsewhere)
        case "link that leads nowhere":
            beside.symlink_to(tmp_path / "nowhere")
        case "pipe":
            os.mkfifo(beside)
    write_whole(tmp_path / "it", b"content")
    assert (tmp_path / "it").read_bytes() == b"content"
    assert elsewhere.read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "it"]


def test_a_new_file_takes_nobodys_place(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "it", b"yours", 0o600)
    assert (tmp_path / "it").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["it"]
