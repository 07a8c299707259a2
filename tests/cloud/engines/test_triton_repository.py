"""`isthmus export triton`: what a Triton server loads, read as Triton reads it."""

import shutil
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from tests.cloud.engines.triton_stand_in import configuration_of

from isthmus import Bundle, ConfigError, ModelError, open_bundle
from isthmus_cloud.engines.triton_names import model_name
from isthmus_cloud.engines.triton_repository import write_repository


def test_every_part_is_a_model_with_its_configuration(bundle: Bundle, tmp_path: Path) -> None:
    models = write_repository(bundle, tmp_path / "models")
    parts = [each.part for each in models]
    assert parts == ["cloud/tail-0.onnx", "cloud/tail-1.onnx", "cloud/entry-cut.onnx"]
    assert {each.name for each in models} == {path.name for path in (tmp_path / "models").iterdir()}
    assert all(each.is_new for each in models)
    for each in models:
        folder = tmp_path / "models" / each.name
        assert each.name == model_name(bundle, each.part)
        assert (folder / "1/model.onnx").read_bytes() == bundle.file(each.part).read_bytes()
        assert configuration_of(folder).max_batch_size == 0
    config = configuration_of(tmp_path / "models" / models[2].name)
    assert (config.name, config.backend) == (models[2].name, "onnxruntime")
    assert [(each.name, list(each.dims)) for each in config.input] == [
        ("boundary", [-1, 8, 16, 16]),
        ("boundary/step", [-1]),
        ("boundary/zero_point", [-1]),
    ]
    assert [(each.name, list(each.dims)) for each in config.output] == [("relu_0", [-1, 8, 16, 16])]


def test_versions_lie_beside_each_other_and_are_written_once(
    bundle: Bundle, other_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "models"
    first = write_repository(bundle, out)
    (out / "somebody-elses").mkdir()
    second = write_repository(open_bundle(other_bundle, "cloud"), out)
    assert not {each.name for each in first} & {each.name for each in second}
    assert all(each.is_new for each in second)
    again = write_repository(bundle, out)
    assert [each.is_new for each in again] == [False] * 3
    assert [each.size_bytes for each in again] == [each.size_bytes for each in first]
    assert len(list(out.iterdir())) == 7


def doctored(bundle: Bundle, tmp_path: Path, shape: list[int]) -> Bundle:
    """The last part is another one: it passes INT64 of this shape on."""
    copy = tmp_path / "b"
    shutil.copytree(bundle.path, copy)
    kind = [
        helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ('a "b"', "z")
    ]
    node = helper.make_node("Identity", ['a "b"'], ["z"])
    graph = helper.make_graph([node], "g", kind[:1], kind[1:])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.save(model, copy / "cloud/tail-1.onnx")
    return Bundle(copy, bundle.manifest, bundle.fingerprint, ())


def test_names_are_written_as_they_are(bundle: Bundle, tmp_path: Path) -> None:
    models = write_repository(doctored(bundle, tmp_path, [1, 4]), tmp_path / "models")
    (odd,) = configuration_of(tmp_path / "models" / models[1].name).input
    assert (odd.name, list(odd.dims)) == ('a "b"', [1, 4])


def test_what_triton_has_no_form_for_is_refused_and_leaves_nothing(
    bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r'tail-1\.onnx: a "b", z has no dimension, and Triton'):
        write_repository(doctored(bundle, tmp_path, []), tmp_path / "models")
    assert [path.name for path in (tmp_path / "models").iterdir()] == [
        model_name(bundle, "cloud/tail-0.onnx")
    ]


def test_where_nothing_can_be_written_is_said(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(ConfigError, match="models: the model repository cannot be written"):
        write_repository(bundle, tmp_path / "models")
