import json
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import ModelError
from isthmus_models.safetensors_file import read_safetensors

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


def file_content(**entry: object) -> bytes:
    """A file with one tensor `a`, some of whose entry may be wrong."""
    described = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} | entry
    header = json.dumps({"__metadata__": {"format": "np"}, "a": described}).encode()
    return struct.pack("<Q", len(header)) + header + VALUES.tobytes()


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(content)
    return path


def test_a_tensor_comes_back_with_its_shape_and_type(tmp_path: Path) -> None:
    state = read_safetensors(written(tmp_path, file_content()))
    assert list(state) == ["a"]
    np.testing.assert_array_equal(state["a"], VALUES)
    assert state["a"].dtype == np.float32


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"dtype": "Q4"}, "unknown type 'Q4'"),
        ({"data_offsets": [0, 28]}, "lies at 0-28 of 24 bytes"),
        ({"data_offsets": [8, 0]}, "lies at 8-0 of 24 bytes"),
        ({"data_offsets": [-24, 24]}, ">= 0"),
        ({"shape": [2, 4]}, "cannot reshape"),
        ({"shape": [2, -1]}, ">= 0"),
        ({"shape": [2**61, 2**61]}, "no safetensors file"),
        ({"shape": "none"}, "Expected `array`"),
    ],
)
def test_a_tensor_that_does_not_fit_its_bytes_is_refused(
    tmp_path: Path, entry: dict[str, object], reason: str
) -> None:
    path = written(tmp_path, file_content(**entry))
    with pytest.raises(ModelError, match=reason):
        read_safetensors(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.safetensors: cannot be read"):
        read_safetensors(tmp_path / "none.safetensors")


@given(cut=st.integers(0, len(file_content()) - 1))
def test_a_truncated_file_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = written(tmp_path_factory.mktemp("cut"), file_content()[:cut])
    with pytest.raises(ModelError, match="no safetensors file"):
        read_safetensors(path)


@given(content=st.binary(max_size=64))
def test_random_bytes_raise_nothing_but_the_declared_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = written(tmp_path_factory.mktemp("random"), content)
    with suppress(ModelError):
        read_safetensors(path)
