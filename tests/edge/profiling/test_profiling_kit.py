"""A kit may come from a stranger: nothing of it is believed before it was checked."""

import zipfile
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.edge.kits import ITEMS, SPEC, build_kit, seal, write_inputs

from isthmus import BundleError, TensorSpec
from isthmus.profiles import INPUTS_NAME, KIT_NAME
from isthmus_edge.profiling.kit import open_kit


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    return build_kit(tmp_path / "kit")


def test_items_come_as_the_graph_takes_them(kit: Path) -> None:
    opened = open_kit(kit)
    items = opened.items()
    assert len(items) == ITEMS
    assert [(name, array.shape) for name, array in items[0].items()] == [
        ("picture:0", SPEC.graph_shape)
    ]


def test_a_scalar_item_is_an_array_without_dimensions(kit: Path) -> None:
    """The runtime takes no numpy scalars."""
    rate = TensorSpec(name="rate", data_type="int64", shape=(), batch_axis=None)
    with (kit / INPUTS_NAME).open("wb") as file:
        np.savez(file, allow_pickle=False, input_0=np.asarray([8000, 16000]))
    opened = open_kit(seal(kit))
    items = replace(opened, kit=msgspec.structs.replace(opened.kit, inputs=(rate,))).items()
    assert [(type(item["rate"]), item["rate"].shape) for item in items] == [(np.ndarray, ())] * 2
    assert [int(item["rate"]) for item in items] == [8000, 16000]


def test_a_folder_without_a_kit_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no profile kit here.*isthmus profile --kit"):
        open_kit(tmp_path)


@pytest.mark.parametrize("name", ["fp32.onnx", "fp32-0.onnx", INPUTS_NAME])
def test_a_damaged_file_is_named(kit: Path, name: str) -> None:
    content = bytearray((kit / name).read_bytes())
    content[len(content) // 2] ^= 1
    (kit / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name}: damaged.*copy the kit again"):
        open_kit(kit)


@pytest.mark.parametrize("name", ["fp32.onnx", "fp32-0.onnx", INPUTS_NAME])
def test_a_missing_or_short_file_is_named(kit: Path, name: str) -> None:
    (kit / name).write_bytes((kit / name).read_bytes()[:-1])
    with pytest.raises(BundleError, match=rf"{name}: \d+ bytes"):
        open_kit(kit)
    (kit / name).unlink()
    with pytest.raises(BundleError, match=rf"{name}: No such file"):
        open_kit(kit)


def test_a_damaged_record_is_named(kit: Path) -> None:
    (kit / KIT_NAME).write_bytes((kit / KIT_NAME).read_bytes()[:-9])
    with pytest.raises(BundleError, match=KIT_NAME):
        open_kit(kit)


def test_items_of_another_shape_are_refused(kit: Path) -> None:
    write_inputs(kit, (3, 16, 17))
    with pytest.raises(BundleError, match=r"float32 \[2, 3, 16, 17\], announced"):
        open_kit(seal(kit)).items()


def test_truncated_items_are_refused_whatever_their_hash(kit: Path) -> None:
    content = (kit / INPUTS_NAME).read_bytes()
    (kit / INPUTS_NAME).write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match=rf"{INPUTS_NAME}: cannot be read"):
        open_kit(seal(kit)).items()


def test_items_that_announce_more_than_they_hold_take_no_memory(kit: Path) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
    archive = zipfile.ZipFile(kit / INPUTS_NAME, "w")
    with archive, archive.open("input_0.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(BundleError, match="announced was"):
        open_kit(seal(kit)).items()


def test_pickled_items_are_refused(kit: Path) -> None:
    items = np.empty((ITEMS, *SPEC.shape), object)
    with (kit / INPUTS_NAME).open("wb") as file:
        np.savez(file, input_0=items)
    with pytest.raises(BundleError, match="object"):
        open_kit(seal(kit)).items()


@pytest.mark.parametrize("names", [(), ("input_1",)])
def test_missing_items_are_refused(kit: Path, names: tuple[str, ...]) -> None:
    with (kit / INPUTS_NAME).open("wb") as file:
        np.savez(file, allow_pickle=False, **{name: np.zeros(2) for name in names})
    with pytest.raises(BundleError, match=INPUTS_NAME):
        open_kit(seal(kit)).items()
