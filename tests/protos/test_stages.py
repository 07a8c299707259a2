"""The last step of a head, and the files that it may bring from a stranger."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.lib import format as npy
from numpy.typing import NDArray

from isthmus import BundleError, CutTensor, Quantisation, Raw, Stage, Symbols, TensorSpec
from isthmus.stages import ReadyStage, open_stage, quantised, write_projection

BOUNDARY = TensorSpec(name="boundary", data_type="float32", shape=(5, 4, 3))
WIRE = TensorSpec(name="wire", data_type="uint8", shape=(2, 4, 3))
ROWS = np.random.default_rng(3).normal(0, 1, (2, 6)).astype(np.float32)
FINE = Symbols(levels=256, step=1 / 32, zero_point=128)
FILE = "wire-cut.npy"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_projection(tmp_path / FILE, ROWS)
    return tmp_path


def projecting(
    boundary: TensorSpec = BOUNDARY, wire: TensorSpec = WIRE, held: Quantisation | None = None
) -> CutTensor:
    return CutTensor(boundary=boundary, wire=wire, stage=Stage(projection=FILE, held=held))


def opened(folder: Path, tensor: CutTensor) -> ReadyStage:
    stage = open_stage(folder, tensor)
    assert stage is not None
    return stage


def values(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, BOUNDARY.graph_shape).astype(np.float32)


def test_a_tensor_without_a_stage_needs_none(tmp_path: Path) -> None:
    assert open_stage(tmp_path, CutTensor(boundary=BOUNDARY, wire=BOUNDARY)) is None


def test_a_projection_is_rows_of_channels_and_what_is_added(folder: Path) -> None:
    boundary = values()
    made = opened(folder, projecting()).wire(boundary, FINE)
    sent = np.einsum("kc,nchw->nkhw", ROWS[:, :-1], boundary) + ROWS[:, -1][:, None, None]
    assert made.shape == WIRE.graph_shape
    expected = quantised(sent.astype(np.float32), FINE).astype(int)
    assert np.abs(made.astype(int) - expected).max() <= 1


def test_what_integers_stand_for_is_projected(folder: Path) -> None:
    held = Quantisation(scale=1 / 16, zero_point=3)
    spec = msgspec.structs.replace(BOUNDARY, data_type="uint8")
    integers = np.random.default_rng(1).integers(0, 256, BOUNDARY.graph_shape).astype(np.uint8)
    reals = (integers.astype(np.float32) - 3) / 16
    made = opened(folder, projecting(spec, held=held)).wire(integers, FINE)
    np.testing.assert_array_equal(made, opened(folder, projecting()).wire(reals, FINE))


def test_channels_last_in_memory_make_the_same_symbols_in_order(folder: Path) -> None:
    """As TFLite gives them: a view that is not contiguous."""
    boundary = values()
    view = np.ascontiguousarray(boundary.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not view.flags.c_contiguous
    order = CutTensor(boundary=BOUNDARY, wire=BOUNDARY, stage=Stage(order=(4, 2, 0, 1, 3)))
    plain = CutTensor(boundary=BOUNDARY, wire=BOUNDARY, stage=Stage())
    for tensor in (projecting(), order, plain):
        stage = opened(folder, tensor)
        made = stage.wire(view, FINE)
        assert made.flags.c_contiguous
        np.testing.assert_array_equal(made, stage.wire(boundary, FINE))


def test_integers_change_their_order_and_nothing_else(tmp_path: Path) -> None:
    order = (4, 2, 0, 1, 3)
    spec = msgspec.structs.replace(BOUNDARY, data_type="uint8")
    known = Quantisation(scale=1.0, zero_point=0)
    tensor = CutTensor(boundary=spec, wire=spec, quantisation=known, stage=Stage(order=order))
    integers = np.arange(60, dtype=np.uint8).reshape(spec.graph_shape)
    made = opened(tmp_path, tensor).wire(integers, Raw())
    np.testing.assert_array_equal(made, integers[:, order])


def test_symbols_are_those_of_onnx_to_even_and_within_the_levels() -> None:
    step, zero_point = 0.5, 3
    halves = np.array([-100.0, -0.75, -0.25, 0.0, 0.25, 0.75, 1.25, 100.0], np.float32)
    made = quantised(halves, Symbols(levels=16, step=step, zero_point=zero_point))
    assert made.tolist() == [0, 1, 3, 3, 3, 5, 5, 15]


def test_a_value_within_the_hold_keeps_its_symbol(tmp_path: Path) -> None:
    tensor = CutTensor(boundary=BOUNDARY, wire=BOUNDARY, stage=Stage())
    stage = opened(tmp_path, tensor)
    boundary = values()
    before = np.asarray(stage.wire(boundary, FINE), np.uint8)
    moved = boundary + np.float32(FINE.step * 0.6)
    assert (stage.wire(moved, FINE, before, 0.0) != before).any()
    np.testing.assert_array_equal(stage.wire(moved, FINE, before, 2.0), before)


def _written(
    shape: tuple[int, ...] = (2, 6), data_type: str = "<f4", *, rows: bytes = b""
) -> bytes:
    file = io.BytesIO()
    header = {"descr": data_type, "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, header)
    return file.getvalue() + (rows or ROWS.tobytes())


def _header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + ROWS.tobytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "of an unknown format"),
        (b"\x93NUMPY", "of an unknown format"),
        (b"\x93NUMPY\x02\x00" + _written()[8:], "of an unknown format"),
        (_written((6, 2)), r"announced was float32 \[2, 6\]"),
        (_written((2, 10**12)), r"announced was float32 \[2, 6\]"),
        (_written(data_type="<f8"), r"announced was float32"),
        (_written(data_type="|O"), r"announced was float32"),
        (_written()[:-1], "47 bytes of numbers, announced were 48"),
        (_written(rows=ROWS.tobytes() + b"\0"), "49 bytes of numbers, announced were 48"),
        (_header("(" * 9000), "it begins with"),
        (_header("-" * 9000 + "1"), "it begins with"),
        (_header("{[]: 1}"), "it begins with"),
        (_header("{'descr': (), 'fortran_order': False, 'shape': (2, 6), }"), "it begins with"),
    ],
)
def test_a_projection_that_is_not_what_was_announced_is_refused(
    folder: Path, content: bytes, words: str
) -> None:
    (folder / FILE).write_bytes(content)
    with pytest.raises(BundleError, match=rf"wire-cut\.npy: no projection .*{words}") as refused:
        open_stage(folder, projecting())
    assert "build the bundle again" in str(refused.value)


def test_a_manifest_that_announces_more_than_there_is_takes_no_memory(folder: Path) -> None:
    """`wire` and `boundary` may each have as many channels as a tensor may have numbers."""
    many = 2**26
    boundary = msgspec.structs.replace(BOUNDARY, shape=(many, 1, 1))
    wire = msgspec.structs.replace(WIRE, shape=(many, 1, 1))
    (folder / FILE).write_bytes(_written((many, many + 1)))
    with pytest.raises(BundleError, match="48 bytes of numbers, announced were 18"):
        open_stage(folder, projecting(boundary, wire))


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: (path.unlink(), path.mkdir())])
def test_a_projection_that_cannot_be_read_is_named(
    folder: Path, damage: Callable[[Path], object]
) -> None:
    damage(folder / FILE)
    with pytest.raises(BundleError, match=r"wire-cut\.npy: no projection"):
        open_stage(folder, projecting())
