"""Lines are written whole or not at all, and what cannot be written is told and counted."""

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from isthmus import ConfigError
from isthmus_edge.daemon.output import LineFile, Output, open_sinks
from isthmus_edge.daemon.sections import OutputSection

LINE = b'{"a": 1}\n'


class Sink:
    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.lines: list[bytes] = []
        self.error: OSError | None = None
        self.is_closed = False

    def write(self, line: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.lines.append(line)

    def close(self) -> None:
        self.is_closed = True


class Told(list[tuple[str, dict[str, Any]]]):
    def __call__(self, event: str, level: int = 0, **fields: Any) -> None:
        self.append((event, fields))


def put(output: Output, line: bytes) -> bool:
    """Whether the line was written."""
    fates: list[bool] = []
    is_over = threading.Event()

    def written(fate: bool) -> None:
        fates.append(fate)
        is_over.set()

    assert output.reserve()
    output.put(lambda: line, written)
    assert is_over.wait(30)
    return fates == [True]


def test_a_sink_that_fails_is_told_once_and_the_others_get_every_line() -> None:
    bad, good, told = Sink("bad"), Sink("good"), Told()
    output = Output([bad, good], told)
    bad.error = OSError(errno.EROFS, "Read-only file system")
    assert put(output, b"1\n")
    assert put(output, b"2\n")
    assert output.status().fault == "bad: Read-only file system"
    bad.error = None
    assert put(output, b"3\n")
    assert (bad.lines, good.lines) == ([b"3\n"], [b"1\n", b"2\n", b"3\n"])
    assert [event for event, _ in told] == ["output_fails", "output_works_again"]
    assert (output.status().written, output.status().fault) == (3, None)
    assert output.close(30)
    assert bad.is_closed
    assert good.is_closed


def test_a_line_that_nobody_took_counts_as_unwritten() -> None:
    sink = Sink()
    sink.error = OSError(errno.ENOSPC, "No space left on device")
    output = Output([sink], Told())
    assert not put(output, LINE)
    assert output.status().unwritten == 1
    assert output.close(30)


def test_closing_waits_for_the_lines_that_were_promised() -> None:
    sink = Sink()
    output = Output([sink], Told())
    assert output.reserve()
    assert not output.close(0.0)
    assert output.owes_nothing, "what it waits for has not come"
    assert not output.reserve(), "nobody new"
    output.put(lambda: LINE, lambda _: None)
    assert output.close(30)
    assert sink.lines == [LINE]


def test_lines_are_appended_behind_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    path.write_bytes(b"old\n")
    file = LineFile(path)
    file.write(LINE)
    file.write(LINE)
    file.close()
    assert path.read_bytes() == b"old\n" + LINE + LINE


def test_a_line_that_a_crash_has_torn_stays_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    path.write_bytes(b'{"half')
    file = LineFile(path)
    file.write(LINE)
    file.close()
    assert path.read_bytes() == b'{"half\n' + LINE


def test_a_file_that_was_rotated_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    file = LineFile(path)
    file.write(b"1\n")
    path.rename(tmp_path / "answers.1")
    file.write(b"2\n")
    file.close()
    assert (tmp_path / "answers.1").read_bytes() == b"1\n"
    assert path.read_bytes() == b"2\n"


def test_a_disk_that_gets_full_keeps_none_of_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answers"
    file = LineFile(path)
    file.write(LINE)
    with monkeypatch.context() as disk:
        disk.setattr(os, "write", nearly_full(os.write))
        with pytest.raises(OSError, match="No space left"):
            file.write(LINE)
    assert path.read_bytes() == LINE
    file.write(LINE)
    file.close()
    assert path.read_bytes() == LINE + LINE


def test_a_folder_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder that is there"):
        open_sinks(OutputSection(file=tmp_path / "none" / "answers"))
    with pytest.raises(ConfigError, match="must be a file"):
        open_sinks(OutputSection(file=tmp_path))


def test_a_folder_that_goes_later_is_a_fault_and_no_end(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    told = Told()
    output = Output(open_sinks(OutputSection(file=folder / "answers")), told)
    assert put(output, b"1\n")
    shutil.rmtree(folder)
    assert not put(output, b"2\n")
    folder.mkdir()
    assert put(output, b"3\n")
    assert output.close(30)
    assert (folder / "answers").read_bytes() == b"3\n"
    assert [event for event, _ in told] == ["output_fails", "output_works_again"]


def test_a_line_that_cannot_be_made_is_unwritten_and_the_next_one_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = Sink()
    output = Output([sink], Told())
    fates: list[bool] = []

    def broken() -> bytes:
        raise UnicodeEncodeError("utf-8", "x", 0, 1, "a surrogate")

    def forgetful(fate: bool) -> None:
        raise KeyError(fate)

    for line, written in ((broken, fates.append), (lambda: LINE, forgetful)):
        assert output.reserve()
        output.put(line, written)
    assert put(output, LINE)
    assert fates == [False]
    assert sink.lines == [LINE, LINE]
    assert (output.status().written, output.status().unwritten) == (2, 1)
    assert output.close(30)
    assert "a line of the output cannot be made" in caplog.text
    assert "behind a line" in caplog.text


def test_a_pipe_that_is_full_gets_half_a_line_and_the_next_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = LineFile(path)
    long = b"x" * (1 << 20) + b"\n"
    with pytest.raises(BlockingIOError):
        file.write(long)
    torn = len(drained(reader))
    assert 0 < torn < len(long)
    file.write(LINE)
    assert drained(reader) == b"\n" + LINE
    file.write(LINE)
    assert drained(reader) == LINE
    file.close()
    os.close(reader)


def drained(reader: int) -> bytes:
    content = b""
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(reader, 1 << 20):
            content += chunk
    return content


def test_a_reader_of_stdout_that_is_slow_loses_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    monkeypatch.setattr("isthmus_edge.daemon.output.STDOUT", writer)
    (sink,) = open_sinks(OutputSection(stdout=True))
    line = b"x" * (1 << 20) + b"\n"
    with ThreadPoolExecutor(1) as writing:
        done = writing.submit(sink.write, line)
        content = b""
        while not content.endswith(b"\n"):
            content += os.read(reader, 1 << 16)
        done.result(30)
    assert content == line
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        sink.write(LINE)
    os.close(writer)


def test_what_stdout_has_of_a_torn_line_stays_a_line_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "redirected"
    with path.open("wb") as file:
        monkeypatch.setattr("isthmus_edge.daemon.output.STDOUT", file.fileno())
        (sink,) = open_sinks(OutputSection(stdout=True))
        with monkeypatch.context() as disk:
            disk.setattr(os, "write", nearly_full(os.write))
            with pytest.raises(OSError, match="No space left"):
                sink.write(LINE)
        sink.write(LINE)
    assert path.read_bytes() == LINE[:3] + b"\n" + LINE


def nearly_full(write: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
    """A disk with room for three bytes."""
    rooms = [3]

    def shortened(descriptor: int, data: bytes) -> int:
        if not rooms:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: rooms.pop()])

    return shortened


def test_a_folder_that_may_not_be_looked_into_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", closed)
    with pytest.raises(ConfigError, match="open to this user"):
        open_sinks(OutputSection(file=tmp_path / "answers"))
