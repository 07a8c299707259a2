"""Pictures from files that somebody else wrote: damaged ones, and kinds that nobody promised."""

import io
import os
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isthmus import PictureError, load_picture
from isthmus.picture_files import UInt8Array, decoding_bytes, read_picture

ORIENTATION, IMAGE_WIDTH, X_RESOLUTION = 0x0112, 0x0100, 0x011A
SHORT, ASCII, UNDEFINED = 3, 2, 7

Read = Callable[[bytes, Path], UInt8Array]


def as_content(content: bytes, _: Path) -> UInt8Array:
    return read_picture(content, 8)


def as_file(content: bytes, folder: Path) -> UInt8Array:
    (folder / "picture.jpg").write_bytes(content)
    return load_picture(folder / "picture.jpg", 8)


either_way = pytest.mark.parametrize("read", [as_content, as_file])


def saved(kind: str, exif: bytes = b"") -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (8, 8)).save(target, kind, exif=exif)
    return target.getvalue()


def lying_on_its_side(tag: int, kind: int) -> bytes:
    """A JPEG to be turned, whose EXIF block has one more entry, of a kind that its tag never is."""
    entries = struct.pack("<HHIHH", ORIENTATION, SHORT, 1, 6, 0)
    entries += struct.pack("<HHI4s", tag, kind, 4, b"abcd")
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4)
    return saved("jpeg", b"Exif\0\0" + block)


@either_way
@pytest.mark.parametrize(
    ("tag", "kind"), [(IMAGE_WIDTH, ASCII), (IMAGE_WIDTH, UNDEFINED), (X_RESOLUTION, UNDEFINED)]
)
def test_a_damaged_exif_block_is_an_error_of_the_picture(
    read: Read, tag: int, kind: int, tmp_path: Path
) -> None:
    with pytest.raises(PictureError, match="cannot be decoded as a picture"):
        read(lying_on_its_side(tag, kind), tmp_path)


@either_way
@pytest.mark.parametrize("kind", ["bmp", "jpeg", "png", "webp"])
def test_the_four_kinds_are_read_whatever_the_file_is_called(
    read: Read, kind: str, tmp_path: Path
) -> None:
    assert read(saved(kind), tmp_path).shape == (8, 8, 3)


@either_way
@pytest.mark.parametrize("kind", ["gif", "tiff", "eps", "ppm"])
def test_other_kinds_are_not_tried(read: Read, kind: str, tmp_path: Path) -> None:
    """EPS would start an interpreter of PostScript, where there is one."""
    with pytest.raises(PictureError, match="give a whole JPEG, PNG, WebP or BMP"):
        read(saved(kind), tmp_path)


def test_bytes_changed_at_random_give_a_picture_or_an_error_of_it() -> None:
    random = np.random.default_rng(0)
    whole = lying_on_its_side(ORIENTATION, SHORT)
    for _ in range(100):
        content = bytearray(whole)
        for place in random.integers(0, 60, 3):
            content[place] = random.integers(0, 256)
        try:
            assert read_picture(bytes(content), 8).shape == (8, 8, 3)
        except PictureError:
            continue


@either_way
@pytest.mark.parametrize("kind", ["bmp", "jpeg", "png", "webp"])
def test_a_picture_that_was_cut_off_is_called_incomplete(
    read: Read, kind: str, tmp_path: Path
) -> None:
    whole = saved(kind)
    for size in (4, 12, len(whole) // 2):
        with pytest.raises(PictureError, match=r"\(it is damaged or incomplete") as caught:
            read(whole[:size], tmp_path)
        assert " at 0x" not in str(caught.value)


@either_way
@pytest.mark.parametrize(
    ("content", "words"), [(b"", "it is empty"), (b"not a picture", "it is of another kind")]
)
def test_what_is_no_picture_is_told_without_an_address_of_python_s(
    read: Read, content: bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(PictureError, match=re.escape(f"as a picture ({words}")) as caught:
        read(content, tmp_path)
    assert " at 0x" not in str(caught.value)


def irregular_files(folder: Path) -> dict[str, Path]:
    """By what each is called; nobody writes into the FIFO, so that opening it would wait."""
    os.mkfifo(folder / "fifo.jpg")
    (folder / "folder.jpg").mkdir()
    (folder / "device.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket.jpg"))
    return {
        "a FIFO (named pipe)": folder / "fifo.jpg",
        "a folder": folder / "folder.jpg",
        "a character device": folder / "device.jpg",
        "a socket": folder / "socket.jpg",
    }


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    for words, path in irregular_files(tmp_path).items():
        told = re.escape(f"{path}: cannot be read (it is {words} and no regular file); give")
        with pytest.raises(PictureError, match=told):
            load_picture(path, 8)


def test_a_fifo_that_takes_a_picture_s_place_at_the_last_moment_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(saved("jpeg"))
    look = Path.stat

    def replaced(asked: Path) -> os.stat_result:
        found = look(asked)
        path.unlink()
        os.mkfifo(path)
        return found

    monkeypatch.setattr(Path, "stat", replaced)
    with pytest.raises(PictureError, match="it is a FIFO"):
        load_picture(path, 8)


def webp(kind: bytes, sizes: bytes) -> bytes:
    """One that announces a size in its header, and holds nothing."""
    body = kind + b"\x0a\0\0\0" + sizes
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


@either_way
@pytest.mark.parametrize(
    "content",
    [
        webp(b"VP8X", b"\x10\0\0\0" + b"\xfe\x3f\0" * 2),
        webp(b"VP8L", b"\x2f" + ((16382 << 14) | 16382).to_bytes(4, "little") + bytes(5)),
        webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + b"\xff\x3f" * 2),
    ],
    ids=["extended", "lossless", "lossy"],
)
def test_a_webp_is_too_large_before_it_is_opened(
    read: Read, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow takes memory for its whole canvas when it opens one: here 2 GB."""
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(PictureError, match="16383x16383 pixels are more than 80,000,000"):
        read(content, tmp_path)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_what_decoding_takes_is_known_from_the_header(mode: str, lossless: bool) -> None:
    file = io.BytesIO()
    Image.new(mode, (40, 30)).save(file, "webp", lossless=lossless)
    assert decoding_bytes(file.getvalue()) == 40 * 30 * 16
    assert decoding_bytes(saved("jpeg")) == 8 * 8 * 8
    with pytest.raises(PictureError, match="of another kind"):
        decoding_bytes(b"no picture")


def test_a_webp_without_a_picture_is_damaged() -> None:
    with pytest.raises(PictureError, match="it is damaged or incomplete: a WebP that begins with"):
        read_picture(webp(b"JUNK", bytes(10)), 8)
