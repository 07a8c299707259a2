"""Bundles for the store's tests, and pushing them by hand."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus import FileEntry, decode_manifest
from isthmus_cloud.store import Push, Store, StoredVersion

PIECE_BYTES = 1000  # small, so that every file of the tiny bundle comes in several


def shut_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Nobody may read `folder`; not root either, whom rights do not hold back."""
    real = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path == folder:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)


def manifest_of(bundle: Path) -> bytes:
    return (bundle / "bundle.json").read_bytes()


def entries_of(bundle: Path) -> tuple[FileEntry, ...]:
    return decode_manifest(manifest_of(bundle), "here").files


def pieces(bundle: Path, push: Push) -> Iterator[tuple[str, int, bytes]]:
    """What the push lacks, in order."""
    for lacking in push.lacks:
        data = (bundle / lacking.path).read_bytes()
        for offset in range(lacking.offset, len(data), PIECE_BYTES):
            yield lacking.path, offset, data[offset : offset + PIECE_BYTES]


def pushed(
    store: Store, bundle: Path, name: str, version: str, signature: bytes | None = None
) -> StoredVersion:
    """The whole of it, in one go."""
    push = store.begin_push(name, version, manifest_of(bundle), signature)
    try:
        for piece in pieces(bundle, push):
            push.write(*piece)
        return push.finish()
    finally:
        push.close()


def seen(root: Path) -> set[str]:
    """What a reader of the store sees: names of all files that are not in a hidden folder."""
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and not path.relative_to(root).parts[0].startswith(".")
    }


def hidden(root: Path) -> set[str]:
    """Files that are left in the hidden folders, apart from locks."""
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file()
        and path.relative_to(root).parts[0] in {".incoming", ".trash"}
        and path.name != "lock"
    }
