"""Items from .npz files: rows by name, and one clear message for every file that has none."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy
from numpy.typing import NDArray

from isthmus import ConfigError, TensorSpec
from isthmus_edge import read_rows

SOUND = TensorSpec(name="sound", data_type="float32", shape=(2, 3))
IDS = TensorSpec(name="ids", data_type="int64", shape=(), batch_axis=None)
INPUTS = (SOUND, IDS)
SOUNDS: NDArray[np.float32] = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
NUMBERS = np.arange(4, dtype=np.int64)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "rows.npz", **arrays)
    return folder / "rows.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_each_row_holds_every_input_by_name(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "rows.npz"
    save(path, ids=NUMBERS, sound=SOUNDS, sources=np.array(list("abcd")))
    rows = list(read_rows(path, INPUTS))
    assert [list(row) for row in rows] == [["sound", "ids"]] * 4
    for index, row in enumerate(rows):
        np.testing.assert_array_equal(row["sound"], SOUNDS[index])
        assert (row["ids"].shape, row["ids"].item()) == ((), index)


def test_other_floats_and_narrower_integers_are_converted(tmp_path: Path) -> None:
    path = saved(tmp_path, sound=SOUNDS.astype(">f8"), ids=NUMBERS.astype(np.uint8))
    for index, row in enumerate(read_rows(path, INPUTS)):
        assert [row[spec.name].dtype.name for spec in INPUTS] == ["float32", "int64"]
        np.testing.assert_array_equal(row["sound"], SOUNDS[index])
        assert row["ids"] == index


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"sound": SOUNDS}, "'ids' is missing"),
        ({"sound": SOUNDS, "ids": NUMBERS, "noise": NUMBERS}, "'noise' is none of its inputs"),
        ({"sound": SOUNDS[:, :1], "ids": NUMBERS}, r"'sound' is float32 \[4,1,3\]"),
        ({"sound": SOUNDS, "ids": np.array(3)}, r"'ids' is int64 \[\]"),
        ({"sound": SOUNDS, "ids": NUMBERS.astype(np.uint64)}, "'ids' is uint64"),
        ({"sound": SOUNDS, "ids": NUMBERS[:3]}, "different numbers of rows: 'sound' 4, 'ids' 3"),
        ({"sound": np.asfortranarray(SOUNDS), "ids": NUMBERS}, "Fortran order"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_what_the_model_takes(
    tmp_path: Path, arrays: dict[str, Any], words: str
) -> None:
    path = saved(tmp_path, **arrays)
    with pytest.raises(ConfigError, match=words) as refused:
        list(read_rows(path, INPUTS))
    assert str(path) in str(refused.value)
    assert "'sound' float32 [n,2,3], 'ids' int64 [n]" in str(refused.value)


def test_python_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = saved(tmp_path, sound=SOUNDS, ids=np.array([1, "a", None, 2], object))
    with pytest.raises(ConfigError, match="'ids' is object"):
        list(read_rows(path, INPUTS))


def test_an_array_that_announces_more_than_it_holds_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 2, 3)}
    with zipfile.ZipFile(path, "w") as archive, archive.open("sound.npy", "w") as member:
        npy.write_array_header_1_0(member, header)
        member.write(SOUNDS.tobytes())
    rows = read_rows(path, (SOUND,))
    for sound in SOUNDS:
        np.testing.assert_array_equal(next(rows)["sound"], sound)
    with pytest.raises(ConfigError, match="ends before its 1000000000000 rows"):
        next(rows)


@pytest.mark.parametrize("content", [b"", b"this is no archive", b"PK\x03\x04"])
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.npz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"rows\.npz: no \.npz file"):
        list(read_rows(path, INPUTS))


def test_a_member_that_is_no_array_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("sound.npy", b"this is no array")
    with pytest.raises(ConfigError, match=r"rows\.npz: .*; the model takes 'sound'"):
        list(read_rows(path, (SOUND,)))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.npz: cannot be read \(No such file"):
        list(read_rows(tmp_path / "none.npz", INPUTS))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.npz")
    with pytest.raises(ConfigError, match="FIFO"):
        next(read_rows(tmp_path / "rows.npz", INPUTS))
