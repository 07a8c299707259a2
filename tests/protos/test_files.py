"""Of a file that a record announces, every byte is checked, and what is wrong has a way out."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from isthmus import BundleError, FileEntry, check_file, sha256_of
from isthmus.profiles import KitFile


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "head.onnx"
    path.write_bytes(b"weights")
    return path


def entry_of(file: Path) -> KitFile:
    return KitFile(path=file.name, size_bytes=file.stat().st_size, sha256=sha256_of(file))


def test_a_file_as_it_was_announced_passes(file: Path) -> None:
    entry = entry_of(file)
    check_file(file, entry, "kit.json", "copy it again")
    listed = FileEntry(side="device", **msgspec.structs.asdict(entry))
    check_file(file, listed, "the manifest", "build it again")


def cut_short(file: Path) -> None:
    file.write_bytes(b"weight")


def damage(file: Path) -> None:
    file.write_bytes(b"weighty")


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (cut_short, "6 bytes, kit.json says 7"),
        (damage, r"damaged \(sha256 is not what kit.json says\)"),
        (Path.unlink, "No such file or directory"),
    ],
)
def test_any_other_file_is_named_with_the_way_out(
    file: Path, spoil: Callable[[Path], None], what: str
) -> None:
    entry = entry_of(file)
    spoil(file)
    with pytest.raises(BundleError, match=rf"head\.onnx: {what}; copy it again$"):
        check_file(file, entry, "kit.json", "copy it again")
