"""Lines of stdin: paths, JSON, base64, and nonsense."""

import base64
import os
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from isthmus import PictureError
from isthmus_edge.daemon.sections import StdinSection
from isthmus_edge.daemon.sources import Item, StdinLines, stdin, stdin_lines
from isthmus_edge.daemon.sources.stdin import StdinSource, item_of_line

CONTENT = b"\x89PNG and more"
ENCODED = base64.b64encode(CONTENT).decode()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def given(pipe: tuple[int, int], text: bytes, section: StdinSection) -> list[Item]:
    reading, writing = pipe
    os.write(writing, text)
    os.close(writing)
    return [item for item in StdinSource(section, StdinLines(reading)).items() if item is not None]


def test_a_line_is_a_path_and_the_last_needs_no_end(pipe: tuple[int, int]) -> None:
    items = given(pipe, b"a.png\n\n  b c.png \nd.png", StdinSection(deadline_ms=5))
    assert [item.picture for item in items] == [Path("a.png"), Path("b c.png"), Path("d.png")]
    assert [item.deadline_ms for item in items] == [5, 5, 5]


def test_json_may_hold_a_path_or_the_picture_itself(pipe: tuple[int, int]) -> None:
    lines = f'{{"path": "a.png", "deadline_ms": 7}}\n{{"base64": "{ENCODED}", "id": 42}}\n'
    items = given(pipe, lines.encode(), StdinSection())
    assert [(item.name, item.picture) for item in items] == [
        ("a.png", Path("a.png")),
        ("42", CONTENT),
    ]
    assert [item.deadline_ms for item in items] == [7, None]


def test_lines_may_be_pictures_all_of_them(pipe: tuple[int, int]) -> None:
    items = given(pipe, f"{ENCODED}\n{ENCODED}".encode(), StdinSection(lines="base64"))
    assert [item.picture for item in items] == [CONTENT, CONTENT]
    assert [item.name for item in items] == ["line 1", "line 2"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "line 3: "),
        (b'{"pth": "a"}', "pth"),
        (b'{"id": 3}', "neither path nor base64"),
        (b'{"base64": "!"}', "is no base64"),
        (b'{"path": 5}', "path"),
        (b'{"path": "caf\xe9.jpg"}', "utf-8"),
    ],
)
def test_a_line_that_says_nothing_sensible_is_a_picture_that_cannot_be_read(
    line: bytes, words: str
) -> None:
    item = item_of_line(line, 3, StdinSection())
    assert isinstance(item.picture, PictureError)
    assert words in str(item.picture)
    assert "a line is a path" in str(item.picture)


def test_a_line_without_end_takes_no_more_memory_than_allowed(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdin, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(stdin_lines, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(stdin_lines, "CHUNK_BYTES", 64)
    items = given(pipe, b"x" * 1000 + b"\na.png\nb.png\n", StdinSection())
    assert [isinstance(item.picture, PictureError) for item in items] == [True, False, False]
    assert "longer than 100 bytes" in str(items[0].picture)
    assert [item.picture for item in items[1:]] == [Path("a.png"), Path("b.png")]


def test_a_source_goes_on_at_the_line_where_another_was_stopped(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    lines = StdinLines(reading)
    before = StdinSource(StdinSection(), lines)
    os.write(writing, b"a.png\nb.png\nc.p")
    items = before.items()
    assert [getattr(next(items), "picture", None) for _ in range(2)] == [None, Path("a.png")]
    before.stop()
    items.close()
    os.write(writing, b"ng\n{}\n")
    os.close(writing)
    after = StdinSource(StdinSection(deadline_ms=5), lines)
    rest = [item for item in after.items() if item is not None]
    assert [item.name for item in rest] == ["b.png", "c.png", "line 4"]
    assert rest[0].deadline_ms == 5


def test_the_rest_of_a_line_that_is_too_long_is_nobody_s_line(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdin_lines, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(stdin_lines, "CHUNK_BYTES", 64)
    reading, writing = pipe
    lines = StdinLines(reading)
    os.write(writing, b"x" * 200 + b"\na.png")
    os.close(writing)
    items = StdinSource(StdinSection(), lines).items()
    assert isinstance(getattr(list(islice(items, 2))[1], "picture", None), PictureError)
    items.close()
    rest = [item for item in StdinSource(StdinSection(), lines).items() if item is not None]
    assert [item.picture for item in rest] == [Path("a.png")]


def test_a_long_line_that_comes_in_pieces_is_copied_a_few_times_and_not_once_a_piece(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted is the memory that is asked for between one read and the next."""
    monkeypatch.setattr(stdin_lines, "CHUNK_BYTES", 512)
    reading, writing = pipe
    long = b"x" * 60_000
    os.write(writing, long + b"\na.png\n")
    os.close(writing)
    asked_bytes, before_bytes = 0, 0
    read = os.read

    def counted(descriptor: int, most: int) -> bytes:
        nonlocal asked_bytes, before_bytes
        asked_bytes += tracemalloc.get_traced_memory()[1] - before_bytes
        tracemalloc.reset_peak()
        before_bytes = tracemalloc.get_traced_memory()[0]
        return read(descriptor, most)

    monkeypatch.setattr(os, "read", counted)
    woken, wake = os.pipe()
    tracemalloc.start()
    try:
        lines = [line for _, line in StdinLines(reading).until(woken)]
    finally:
        tracemalloc.stop()
        os.close(woken)
        os.close(wake)
    assert lines[:2] == [long, b"a.png"]
    assert asked_bytes < 8 * len(long)


def test_it_can_be_stopped_while_it_waits_for_a_line(pipe: tuple[int, int]) -> None:
    source = StdinSource(StdinSection(), StdinLines(pipe[0]))
    items = source.items()
    assert next(items) is None
    source.stop()
    assert list(items) == []
    assert list(source.items()) == []
    os.close(pipe[1])


def test_it_holds_no_descriptor_but_while_it_reads(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    make = os.pipe

    def counted() -> tuple[int, int]:
        held.extend(made := make())
        return made

    monkeypatch.setattr(os, "pipe", counted)
    source = StdinSource(StdinSection(), StdinLines(pipe[0]))
    assert held == []
    items = source.items()
    next(items)
    assert len(held) == 2
    items.close()
    for descriptor in held:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    source.stop()
    os.close(pipe[1])
