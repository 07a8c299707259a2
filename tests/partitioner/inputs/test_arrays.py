"""Arrays from a user's files, which may be wrong in any way."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus import ConfigError, TensorSpec
from isthmus_partitioner.inputs import arrays
from isthmus_partitioner.inputs.arrays import read_arrays

INPUTS = (
    TensorSpec(name="ids", data_type="int64", shape=(4,)),
    TensorSpec(name="h/0:x", data_type="float32", shape=(2, 3), batch_axis=1),
    TensorSpec(name="rate", data_type="int64", shape=(), batch_axis=None),
)


def rows(count: int, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "ids": random.integers(0, 9, (count, 4)),
        "h/0:x": random.random((count, 2, 3), np.float32),
        "rate": np.full(count, 16_000),
    }


def saved(path: Path, **changed: Any) -> Path:
    np.savez(path, **{**rows(5), **changed})
    return path


def test_rows_are_read_by_the_names_of_inputs(tmp_path: Path) -> None:
    wanted = rows(5)
    found = read_arrays([saved(tmp_path / "a.npz")], INPUTS)
    assert found.sources == ("a.npz",) * 5
    assert found.arrays.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found.arrays[name], array)


def test_each_file_is_a_source_unless_it_names_its_own(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "b.npz", **rows(3, seed=1), sources=["x", "y", "x"])
    found = read_arrays([saved(tmp_path / "a.npz"), tmp_path / "b.npz"], INPUTS)
    assert found.sources == (*("a.npz",) * 5, "x", "y", "x")
    np.testing.assert_array_equal(found.arrays["ids"][5:], rows(3, seed=1)["ids"])


def test_numbers_of_another_width_are_converted_where_nothing_is_lost(tmp_path: Path) -> None:
    found = read_arrays(
        [
            saved(
                tmp_path / "a.npz",
                ids=np.arange(20, dtype=np.int32).reshape(5, 4),
                **{"h/0:x": np.asfortranarray(rows(5)["h/0:x"].astype(np.float64))},
            )
        ],
        INPUTS,
    )
    assert found.arrays["ids"].dtype == np.int64
    assert found.arrays["h/0:x"].dtype == np.float32
    np.testing.assert_array_equal(found.arrays["h/0:x"], rows(5)["h/0:x"])
    np.testing.assert_array_equal(found.arrays["ids"], np.arange(20).reshape(5, 4))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"ids": np.zeros((5, 3), np.int64)}, r"'ids' is int64 \[5, 3\]"),
        ({"ids": np.zeros((5, 4), np.float32)}, r"'ids' is float32 \[5, 4\]"),
        ({"h/0:x": np.zeros((5, 2, 3), np.int64)}, r"'h/0:x' is int64"),
        ({"h/0:x": np.zeros((2, 5, 3), np.float32)}, r"'h/0:x' is float32 \[2, 5, 3\]"),
        ({"ids": np.zeros((4, 4), np.int64)}, "same number of rows"),
        ({"ids": np.int64(4)}, r"'ids' is int64 \[\]"),
        ({"mask": np.zeros(5)}, "holds 'mask', which is no input"),
        ({"sources": ["a", "b"]}, r"'sources' is .* \[2\], not a string for each of 5"),
        ({"sources": np.arange(5)}, "'sources' is int64"),
        ({"ids": np.array([[None] * 4] * 5)}, "'ids' holds Python objects"),
    ],
)
def test_arrays_that_do_not_fit_are_named_with_what_the_network_wants(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    path = saved(tmp_path / "a.npz", **changed)
    with pytest.raises(ConfigError, match=words) as caught:
        read_arrays([path], INPUTS)
    if "sources" not in changed:
        message = str(caught.value)
        assert str(path) in message
        assert "'ids' int64 [n, 4], 'h/0:x' float32 [n, 2, 3], 'rate' int64 [n]" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_what_is_no_finite_number_is_named_with_its_row(tmp_path: Path, value: float) -> None:
    """1e39 is one in the file, but none in float32."""
    wrong = rows(5)["h/0:x"].astype(np.float64)
    wrong[3, 1, 2] = wrong[4, 0, 0] = value
    files = [saved(tmp_path / "a.npz"), saved(tmp_path / "b.npz", **{"h/0:x": wrong})]
    with pytest.raises(
        ConfigError, match=r"b\.npz: 'h/0:x' holds NaN or infinity .* row 3 "
    ) as told:
        read_arrays(files, INPUTS)
    assert "leave such rows out" in str(told.value)


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", ids=rows(5)["ids"])
    with pytest.raises(ConfigError, match=r"misses 'h/0:x', misses 'rate'; the network wants"):
        read_arrays([tmp_path / "a.npz"], INPUTS)


def test_no_rows_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **rows(0))
    with pytest.raises(ConfigError, match="1 or more"):
        read_arrays([tmp_path / "a.npz"], INPUTS)
    with pytest.raises(ConfigError, match=r"name \.npz files"):
        read_arrays([], INPUTS)


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    text, torn = tmp_path / "text.npz", saved(tmp_path / "torn.npz")
    text.write_text("no archive")
    torn.write_bytes(torn.read_bytes()[:-40])
    for path in (text, torn):
        with pytest.raises(ConfigError, match=rf"{path.name}: no \.npz file, or not all of it"):
            read_arrays([path], INPUTS)
    for path in (tmp_path / "nowhere.npz", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_arrays([path], INPUTS)


ONE = (TensorSpec(name="x", data_type="float32", shape=(1,)),)


def forged(path: Path, member: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", member)
    return path


def header(text: str) -> bytes:
    padded = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded


def test_a_size_that_is_only_announced_takes_no_memory(tmp_path: Path) -> None:
    """Four million times more than is there, and than is allowed."""
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000000, 1)}"
    with pytest.raises(ConfigError, match="16,000,000,000,000 bytes of arrays"):
        read_arrays([forged(tmp_path / "a.npz", header(text))], ONE)
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 1)}"
    with pytest.raises(ConfigError, match="8 of 4,000 bytes"):
        read_arrays([forged(tmp_path / "b.npz", header(text) + bytes(8))], ONE)


def test_files_share_one_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MOST_BYTES", 1000)
    for name in ("a", "b"):
        np.savez(tmp_path / name, x=np.zeros((150, 1), np.float32))
    with pytest.raises(ConfigError, match=r"b\.npz: 600 bytes of arrays where 400 are left"):
        read_arrays([tmp_path / "a.npz", tmp_path / "b.npz"], ONE)


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"no array at all",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100_000,  # a header of 4 GB
        b"\x93NUMPY\x09\x00" + bytes(50),
        header("__import__('os')"),
        header("{'descr': 'nonsense', 'fortran_order': False, 'shape': (1, 1)}"),
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, member: bytes) -> None:
    with pytest.raises(ConfigError, match=r"a\.npz: array 'x' cannot be read"):
        read_arrays([forged(tmp_path / "a.npz", member)], ONE)


def test_a_member_that_is_no_array_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", io.BytesIO().getvalue())
    with pytest.raises(ConfigError, match="misses 'x'"):
        read_arrays([path], ONE)
