"""A .tflite file becomes a network that answers as LiteRT does, or is refused with the reason."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from tests.partitioner.networks import residual, saved
from tests.partitioner.tflite_source.tflites import (
    Tflite,
    answers_of,
    quantised_network,
    small_network,
    with_fields,
)

from isthmus import ModelError, sha256_of
from isthmus_models import audio
from isthmus_partitioner import load_model
from isthmus_partitioner.runtime import AnyArray, open_session, run_one
from isthmus_partitioner.tflite import lower
from isthmus_partitioner.tflite_source import import_tflite
from isthmus_partitioner.tflite_source.canvas import Canvas
from isthmus_partitioner.tflite_source.emitter import emit
from isthmus_partitioner.tflite_source.flatbuffer import read_source


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.tflite"


def kinds_of(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_a_network_is_imported_and_its_error_is_told(file: Path) -> None:
    imported = import_tflite(small_network().save(file))
    assert imported.error < 1e-5
    assert imported.notes == (
        f"imported from TFLite, 7 operations; relative error beside LiteRT {imported.error:.1e}",
    )


def test_the_same_file_makes_the_same_bytes(file: Path) -> None:
    path = small_network().save(file)
    first, second = (import_tflite(path).model.SerializeToString() for _ in range(2))
    assert first == second


def test_between_convolutions_nothing_is_transposed(file: Path) -> None:
    kinds = kinds_of(emit(read_source(small_network().save(file))))
    assert (kinds["Conv"], kinds["Transpose"]) == (2, 1)


def test_the_batch_is_free_although_the_file_says_one(file: Path, tmp_path: Path) -> None:
    model = import_tflite(small_network().save(file)).model
    network = load_model(saved(model, tmp_path / "model.onnx"))
    assert network.batches
    assert [spec.shape for spec in network.inputs] == [(8, 8, 3)]


def test_a_quantised_file_becomes_a_network_of_real_numbers(file: Path) -> None:
    path = quantised_network().save(file)
    imported = import_tflite(path)
    integers = np.random.default_rng(1).integers(-128, 128, (1, 8, 8, 3)).astype(np.int8)
    (wanted,) = answers_of(path, [integers])
    feed = {"in0": (integers.astype(np.int16) + 128).astype(np.uint8)}
    (found,) = run_one(open_session(imported.model, threads=1), feed, ["t8"])
    assert found.dtype == np.float32
    assert np.abs(found.astype(np.float64) - wanted * 0.05).max() < 0.1
    assert kinds_of(imported.model)["QuantizeLinear"] == 0
    assert [note.partition(":")[0] for note in imported.notes[1:]] == [
        "the file is quantised",
        "input 'in0' is int8 in the file",
        "output 't8' is int8 in the file",
    ]


def test_a_relu_that_was_left_to_saturation_is_kept(file: Path) -> None:
    model = import_tflite(quantised_network().save(file)).model
    inner = onnx.ModelProto()
    inner.CopyFrom(model)
    inner.graph.output.append(onnx.ValueInfoProto(name="t3"))
    feed = {"in0": np.full((1, 8, 8, 3), 9, np.uint8)}
    (hidden,) = run_one(open_session(inner, threads=1), feed, ["t3"])
    assert hidden.astype(np.float64).min() == 0


def test_a_drawing_that_answers_otherwise_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_network().save(file)
    real = Canvas.constant

    def wrong(canvas: Canvas, value: AnyArray, wanted: str) -> str:
        return real(canvas, np.negative(value) if value.dtype == np.float32 else value, wanted)

    monkeypatch.setattr(Canvas, "constant", wrong)
    with pytest.raises(ModelError, match=r"t\d+' is not what LiteRT answers \(relative error"):
        import_tflite(path)


def test_an_unknown_operation_is_named(file: Path) -> None:
    build = Tflite()
    image = build.input(1, 4, 4, 3)
    options = with_fields(schema.LocalResponseNormalizationOptionsT(), radius=2)
    path = build.save(
        file, build.make("LOCAL_RESPONSE_NORMALIZATION", [image], (1, 4, 4, 3), options)
    )
    with pytest.raises(
        ModelError, match=r"not known here \(LOCAL_RESPONSE_NORMALIZATION\); convert the model to O"
    ):
        import_tflite(path)


def test_a_custom_operation_is_named(file: Path) -> None:
    build = Tflite()
    build.make("CUSTOM", [build.input(1, 4)], (1, 4))
    build.model.operatorCodes[0].customCode = b"TFLite_Detection_PostProcess"
    with pytest.raises(ModelError, match="operation 0 is the custom 'TFLite_Detection_Post"):
        import_tflite(build.save(file, 1))


def test_control_flow_is_named(file: Path) -> None:
    build = small_network()
    build.model.subgraphs.append(schema.SubGraphT())
    build.model.operatorCodes[0].builtinCode = schema.BuiltinOperator.WHILE
    with pytest.raises(ModelError, match=r"has 2 subgraphs \(WHILE\), needed: one graph; convert"):
        import_tflite(build.save(file))


def test_an_open_size_is_named(file: Path) -> None:
    build = small_network()
    build.graph.tensors[0].shapeSignature = [-1, -1, -1, 3]
    with pytest.raises(ModelError, match=r"'in0' has a size that is only known at run time"):
        import_tflite(build.save(file))


def test_an_open_batch_is_a_batch(file: Path) -> None:
    build = small_network()
    build.graph.tensors[0].shapeSignature = [-1, 8, 8, 3]
    model = import_tflite(build.save(file)).model
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_a_fused_activation_that_litert_does_not_run_is_refused(file: Path) -> None:
    build = Tflite()
    image = build.input(1, 4, 4, 3)
    options = with_fields(
        schema.AddOptionsT(), fusedActivationFunction=schema.ActivationFunctionType.TANH
    )
    path = build.save(file, build.make("ADD", [image, image], (1, 4, 4, 3), options))
    with pytest.raises(ModelError, match=r"operation 0 \(ADD\) has a fused activation"):
        import_tflite(path)


def test_a_file_that_litert_refuses_is_refused(file: Path) -> None:
    build = Tflite()
    image = build.input(1, 4, 4, 3)
    conv = with_fields(schema.Conv2DOptionsT(), strideH=1, strideW=1)
    path = build.save(
        file, build.make("CONV_2D", [image, build.noise(2, 1, 1, 3)], (1, 4, 4, 2), conv)
    )
    with pytest.raises(ModelError, match=r"LiteRT cannot run it .*has_bias was not true"):
        import_tflite(path)


def test_a_sound_model_is_imported_from_its_published_file() -> None:
    """Beside the ONNX file of the same network, which its authors exported themselves."""
    published = audio.note_transcriber()
    imported = import_tflite(published.with_suffix(".tflite"))
    items = dict(audio.music("evaluation", 1)[0])
    ((name, clip),) = items.items()
    twin = onnx.load(published)
    wanted = run_one(open_session(twin, threads=2), {name: clip}, [twin.graph.output[0].name])
    model = imported.model
    outputs = [info.name for info in model.graph.output]
    found = run_one(open_session(model, threads=2), {model.graph.input[0].name: clip}, outputs)
    assert imported.error < 1e-3
    assert any(
        each.shape == wanted[0].shape and np.allclose(each.astype(np.float64), wanted[0], atol=1e-4)
        for each in found
    )


def test_a_network_that_was_lowered_comes_back(file: Path, tmp_path: Path) -> None:
    network = load_model(saved(residual(), tmp_path / "model.onnx"))
    file.write_bytes(lower(network.model).data)
    model = import_tflite(file).model
    pixels = np.random.default_rng(5).integers(0, 256, (1, *network.inputs[0].shape))
    feed = {network.inputs[0].name: pixels.astype(np.uint8)}
    names = [spec.name for spec in network.outputs]
    sessions = [open_session(each, threads=1) for each in (network.model, model)]
    for before, after in zip(*(run_one(each, feed, names) for each in sessions), strict=True):
        assert np.allclose(before.astype(np.float64), after, atol=1e-4)


def test_a_tflite_file_is_a_network_like_any_other(file: Path) -> None:
    network = load_model(small_network().save(file))
    assert (network.path, network.sha256) == (file, sha256_of(file))
    assert network.batches
    assert network.notes[0].startswith("imported from TFLite, 7 operations")
    image = np.random.default_rng(1).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    names = [spec.name for spec in network.outputs]
    session = open_session(network.model, threads=1)
    (found,) = run_one(session, {network.inputs[0].name: image}, names)
    for item, answer in zip(image, found, strict=True):
        (wanted,) = answers_of(file, [item[None]])
        assert np.allclose(answer, wanted[0], atol=1e-5)


def test_a_quantised_tflite_file_says_so_among_the_networks_notes(file: Path) -> None:
    network = load_model(quantised_network().save(file))
    assert network.inputs[0].data_type == "uint8"
    assert [note.partition(":")[0] for note in network.notes[1:3]] == [
        "the file is quantised",
        "input 'in0' is int8 in the file",
    ]


def test_a_tflite_file_by_another_name_is_known(tmp_path: Path) -> None:
    assert load_model(small_network().save(tmp_path / "model.bin")).inputs[0].shape == (8, 8, 3)


def test_a_damaged_tflite_file_is_no_network(file: Path) -> None:
    file.write_bytes(small_network().data()[:400])
    with pytest.raises(ModelError, match=r"model\.tflite.*damaged"):
        load_model(file)
