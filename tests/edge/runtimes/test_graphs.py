"""A bundle's segments give the same on every runtime, by the manifest's names and layout."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.twinbundle import build_twin_bundle
from tests.widebundle import wide_items

from isthmus import Bundle, ModelError, TfliteForm, open_bundle
from isthmus_edge import Chain, Chains
from isthmus_edge.runtimes import AnyArray, GraphFiles, Runtime, Runtimes

CUTS = ["floats", "pair", "curves", "local"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(build_twin_bundle(tmp_path_factory.mktemp("twins") / "bundle"), "device")


@pytest.fixture(scope="module")
def litert() -> Runtime:
    (runtime,) = Runtimes("litert").usable
    return runtime


def near(tensor: AnyArray, expected: AnyArray, most: float) -> bool:
    return bool(np.abs(tensor.astype(float) - expected.astype(float)).max() <= most)


def chain_of(bundle: Bundle, cut: str, runtimes: Runtimes) -> tuple[Chain, int]:
    record = bundle.manifest.cut_of(bundle.manifest.candidate(cut))
    return Chains(bundle, 1, runtimes).of(record), record.depth


@pytest.mark.parametrize("cut", CUTS)
def test_litert_holds_what_onnx_runtime_holds_behind_every_cut(bundle: Bundle, cut: str) -> None:
    ours, depth = chain_of(bundle, cut, Runtimes("litert"))
    reference, _ = chain_of(bundle, cut, Runtimes("onnxruntime"))
    for item in wide_items(4):
        held, expected = ours.head(item, depth), reference.head(item, depth)
        assert held.keys() == expected.keys()
        for name, tensor in held.items():
            wanted = expected[name]
            assert (tensor.dtype, tensor.shape) == (wanted.dtype, wanted.shape)
            if tensor.dtype == np.uint8:  # a tie may round to the other side
                apart = np.abs(tensor.astype(int) - wanted.astype(int))
                assert apart.max() <= 1
                assert np.count_nonzero(apart) <= 0.01 * apart.size
            else:
                assert near(tensor, wanted, 1e-5)


def test_a_chain_goes_on_from_what_another_runtime_made(bundle: Bundle) -> None:
    """Layouts end at the seam: what is held is the manifest's, whoever made it."""
    ours, depth = chain_of(bundle, "pair", Runtimes("litert"))
    theirs, _ = chain_of(bundle, "pair", Runtimes("onnxruntime"))
    for item in wide_items(3):
        expected = theirs.finish(theirs.head(item, depth), depth)
        for one, other in ((ours, theirs), (theirs, ours)):
            answer = one.finish(other.head(item, depth), depth)
            assert near(answer["probabilities"], expected["probabilities"], 0.02)


def test_auto_runs_each_segment_where_it_can_run(tmp_path: Path) -> None:
    path = build_twin_bundle(tmp_path / "bundle", without={"device/segment-1.onnx"})
    mixed, _ = chain_of(open_bundle(path, "device"), "pair", Runtimes("auto"))
    reference, _ = chain_of(open_bundle(path, "device"), "pair", Runtimes("onnxruntime"))
    files = [link.graph.file for link in mixed._links]
    assert files == ["device/segment-0.tflite", "device/segment-1.onnx", "device/segment-2.tflite"]
    item = wide_items(1)[0]
    expected = reference.finish(item, 0)
    assert near(mixed.finish(item, 0)["probabilities"], expected["probabilities"], 1e-4)


def test_a_tflite_file_that_is_not_what_the_manifest_says_is_refused(
    bundle: Bundle, litert: Runtime
) -> None:
    segment = bundle.manifest.chains[0].segments[1]
    assert segment.tflite is not None
    planes = msgspec.structs.replace(segment, tflite=TfliteForm(file=segment.tflite.file))
    with pytest.raises(ModelError, match=r"segment-1\.tflite: 'features' is float32 \[.*build"):
        litert.load(GraphFiles.of(bundle.path, planes), 1)
    fewer = msgspec.structs.replace(segment, outputs=segment.outputs[:1])
    with pytest.raises(ModelError, match="2 tensors where the manifest has 1"):
        litert.load(GraphFiles.of(bundle.path, fewer), 1)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x00" * 4096, "half"])
def test_a_file_that_is_no_model_is_refused_with_the_way_out(
    bundle: Bundle, litert: Runtime, tmp_path: Path, content: bytes | str
) -> None:
    segment = bundle.manifest.chains[0].segments[1]
    assert segment.tflite is not None
    data = (bundle.path / segment.tflite.file).read_bytes()
    (tmp_path / "device").mkdir()
    broken = data[: len(data) // 2] if isinstance(content, str) else content
    (tmp_path / segment.tflite.file).write_bytes(broken)
    with pytest.raises(ModelError, match=r"segment-1\.tflite: LiteRT .* cannot load it"):
        litert.load(GraphFiles.of(tmp_path, segment), 1)


def test_loading_says_what_memory_it_took(bundle: Bundle) -> None:
    for runtime in Runtimes().usable:
        files = GraphFiles.of(bundle.path, bundle.manifest.chains[0].segments[1])
        assert runtime.load(files, 1).memory_bytes >= 0
        assert runtime.version in runtime.describe()
