"""Graphs in fp16: used where their answers agree, and only there."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from isthmus import Bundle, ModelError
from isthmus_cloud.engines import choice as choosing
from isthmus_cloud.engines.choice import open_engine
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.half import half_of
from isthmus_cloud.engines.ort import OrtEngine
from isthmus_cloud.engines.ort_session import CPU, Placement
from isthmus_cloud.engines.trial import MOST_ERROR, require_agreement

HALF = Placement(word="cuda", provider=CPU, memory="cpu", precision="fp16", halves=True)
FULL = Placement(word="cuda", provider=CPU, memory="cpu")
LATE = "cloud/tail-1.onnx"


def test_inside_it_is_fp16_and_outside_as_before(bundle: Bundle) -> None:
    for part in ("cloud/entry-cut.onnx", "cloud/tail-0.onnx", LATE):
        half, full = (OrtEngine(Cores(1), each).load(bundle.file(part)) for each in (HALF, FULL))
        assert (half.inputs, half.outputs, half.sizes) == (full.inputs, full.outputs, full.sizes)
    weights = onnx.load_from_string(half_of(bundle.file(LATE))).graph.initializer
    assert {each.data_type for each in weights} == {onnx.TensorProto.FLOAT16}


def test_its_answers_are_close_and_not_the_same(bundle: Bundle) -> None:
    error = require_agreement(OrtEngine(Cores(1), HALF), OrtEngine(Cores(1)), bundle, of_all=True)
    assert 0 < error < MOST_ERROR


def overflowing(bundle: Bundle, folder: Path) -> Bundle:
    """The same function of fp32: one layer's weights a million times greater, the next one's
    smaller by as much. Between them fp16 has no number."""
    shutil.copytree(bundle.path, folder)
    model = onnx.load(folder / LATE)
    for tensor in model.graph.initializer:
        factor = {"weight_1": 1e6, "weight_2": 1e-6}[tensor.name]
        scaled = numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(numpy_helper.from_array(scaled, tensor.name))
    onnx.save(model, folder / LATE)
    return Bundle(folder, bundle.manifest, bundle.fingerprint, ())


def test_where_it_overflows_fp32_is_used(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "placements_for", lambda *_: (HALF, FULL))
    assert open_engine("onnxruntime", "cuda", Cores(1), bundle).provider == f"{CPU} (fp16)"
    wild = overflowing(bundle, tmp_path / "wild")
    assert open_engine("onnxruntime", "cuda", Cores(1), wild).provider == CPU


def test_what_is_no_model_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "tail-9.onnx").write_bytes(b"no model at all")
    with pytest.raises(ModelError, match=r"tail-9\.onnx: cannot be turned into fp16"):
        half_of(tmp_path / "tail-9.onnx")
