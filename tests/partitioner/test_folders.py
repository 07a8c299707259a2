"""Files that are whole or not there."""

import errno
from pathlib import Path

import pytest

from isthmus_partitioner.folders import whole_file


@pytest.fixture
def older(tmp_path: Path) -> Path:
    path = tmp_path / "head.onnx"
    path.write_bytes(b"older")
    return path


def test_a_file_is_replaced_when_all_of_it_is_written(older: Path) -> None:
    with whole_file(older) as file:
        file.write(b"newer")
        assert older.read_bytes() == b"older"
    assert older.read_bytes() == b"newer"
    assert list(older.parent.iterdir()) == [older]


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_an_unfinished_file_vanishes_and_the_older_one_stays(
    older: Path, failure: BaseException
) -> None:
    def fail() -> None:
        with whole_file(older) as file:
            file.write(b"new")
            raise failure

    with pytest.raises(type(failure)):
        fail()
    assert older.read_bytes() == b"older"
    assert list(older.parent.iterdir()) == [older]


def test_a_full_disk_gets_the_name_of_the_file(older: Path) -> None:
    with pytest.raises(OSError, match="No space left") as failed, whole_file(older):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert failed.value.filename == str(older)


def test_a_file_below_another_file_cannot_be_written(older: Path) -> None:
    with pytest.raises(NotADirectoryError), whole_file(older / "below"):
        pytest.fail("there is nothing to write to")
