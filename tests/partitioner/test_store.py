"""Who is out of room: the work directory, or the temporary folder that libraries use."""

import errno
import os
import tempfile
from pathlib import Path

import msgspec
import pytest

from isthmus import BundleError
from isthmus_partitioner.store import load_record, save_record, writing


class Answer(msgspec.Struct):
    value: int


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def full(*places: Path) -> OSError:
    """What writing to a full disk raises; copying names the source first, then the target."""
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for field, place in zip(("filename", "filename2"), places, strict=False):
        setattr(error, field, str(place))
    return error


def message_of(error: OSError, work: Path) -> str:
    with pytest.raises(BundleError) as failed, writing(work):
        raise error
    message = str(failed.value)
    assert "No space left" in message
    return message


@pytest.mark.parametrize("is_temporary", [True, False])
def test_a_full_work_directory_is_named_with_the_file(
    is_temporary: bool, tmp_path: Path, temporary: Path
) -> None:
    work = (temporary if is_temporary else tmp_path) / "work"
    place = work / "parts" / "head.onnx"
    message = message_of(full(place), work)
    assert message.startswith(f"{work}: the work directory")
    assert str(place) in message
    assert "TMPDIR" not in message


@pytest.mark.parametrize("names_file", [True, False])
def test_a_full_temporary_folder_is_not_blamed_on_the_work_directory(
    names_file: bool, tmp_path: Path, temporary: Path
) -> None:
    error = full(temporary / "ort.quant.1" / "model.onnx") if names_file else full()
    message = message_of(error, tmp_path / "work")
    assert message.startswith(f"{temporary}: the temporary folder")
    assert "TMPDIR" in message
    assert str(tmp_path / "work") not in message


def test_of_a_copy_the_target_is_what_is_full(tmp_path: Path, temporary: Path) -> None:
    source, target = temporary / "kit", tmp_path / "work" / "kit"
    assert str(target) in message_of(full(source, target), tmp_path / "work")


def test_a_record_that_is_half_written_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "plan.json"
    save_record(path, "key", Answer(1))
    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_record(path, "key", Answer(2))
    assert load_record(path, "key", Answer) == Answer(1)
    assert list(tmp_path.iterdir()) == [path]
