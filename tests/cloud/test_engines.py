"""Tails on ONNX Runtime: what is loaded is what the manifest says, and it really runs there."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from tests.tinybundle import COARSE

from isthmus import (
    BundleError,
    ConfigError,
    ModelError,
    decode_manifest,
    encode_manifest,
    open_bundle,
    sha256_of,
)
from isthmus_cloud import OnnxTail, ServiceConfig, load_tails
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.config import ProviderChoice
from isthmus_cloud.engines.onnx_runtime import CPU, CUDA

has_cuda = CUDA in ort.get_available_providers()


def bundle_with(source: Path, target: Path, name: str, content: bytes) -> Path:
    """A copy in which one file is another one, and the manifest knows it."""
    shutil.copytree(source, target)
    (target / name).write_bytes(content)
    path = target / "bundle.json"
    manifest = decode_manifest(path.read_bytes(), str(path))
    files = tuple(
        msgspec.structs.replace(f, size_bytes=len(content), sha256=sha256_of(target / name))
        if f.path == name
        else f
        for f in manifest.files
    )
    path.write_bytes(encode_manifest(msgspec.structs.replace(manifest, files=files)))
    return target


def load(path: Path, provider: ProviderChoice = "cpu") -> tuple[Mapping[str, OnnxTail], list[str]]:
    """The tails, and what was announced meanwhile."""
    lines: list[str] = []
    config = ServiceConfig(bundle=path, threads=1, provider=provider)
    return load_tails(open_bundle(path, "cloud"), config, lines.append), lines


def feeds(
    symbols: AnyArray, step: float = COARSE.step, zero_point: int = COARSE.zero_point
) -> list[AnyArray]:
    return [symbols, np.array(step, np.float32), np.array(zero_point, np.uint8)]


def test_every_tail_is_announced_when_it_is_ready(tiny_bundle: Path) -> None:
    _, lines = load(tiny_bundle)
    assert [line.partition(",")[0] for line in lines] == [
        f"tail 1/2 ready: input on {CPU}",
        f"tail 2/2 ready: cut on {CPU}",
    ]


def test_a_tail_takes_a_batch(tiny_bundle: Path) -> None:
    tail = OnnxTail(tiny_bundle / "cloud/tail-cut.onnx", CPU, threads=1)
    symbols = np.random.default_rng(3).integers(0, 16, (3, 8, 16, 16), dtype=np.uint8)
    together = tail.run(feeds(symbols))[0]
    alone = [tail.run(feeds(symbols[i : i + 1]))[0] for i in range(3)]
    assert together.shape == (3, 10)
    assert np.allclose(together, np.concatenate(alone), atol=1e-6)


def test_step_and_zero_point_reach_the_tail(tiny_bundle: Path) -> None:
    tail = OnnxTail(tiny_bundle / "cloud/tail-cut.onnx", CPU, threads=1)
    symbols = np.random.default_rng(3).integers(0, 8, (1, 8, 16, 16), dtype=np.uint8)
    answer = tail.run(feeds(symbols, 0.25, 1))[0]
    assert np.allclose(answer, tail.run(feeds(symbols + np.uint8(4), 0.25, 5))[0])
    assert np.allclose(answer, tail.run(feeds(symbols * 2, 0.125, 2))[0])
    assert not np.allclose(answer, tail.run(feeds(symbols, 0.25, 2))[0])


def test_a_tail_that_zeros_do_not_run_through_is_loaded_and_waits_for_its_first_frame(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may decide on a value, such as a sampling rate, for which zero is no answer."""

    def refuse_zeros(tail: OnnxTail, values: Sequence[AnyArray]) -> Sequence[AnyArray]:
        if not any(value.any() for value in values):
            raise ModelError("no branch for zero")
        return run(tail, values)

    run = OnnxTail.run
    monkeypatch.setattr(OnnxTail, "run", refuse_zeros)
    tails, lines = load(tiny_bundle)
    assert len(lines) == len(tails) > 1
    assert "is checked with its first frame; on zeros: no branch for zero" in caplog.text
    symbols = np.ones((1, 8, 16, 16), np.uint8)
    assert tails["cut"].run(feeds(symbols))


def test_what_is_no_onnx_model_is_refused_by_name(tiny_bundle: Path, tmp_path: Path) -> None:
    path = bundle_with(tiny_bundle, tmp_path / "b", "cloud/tail-cut.onnx", b"no model at all")
    with pytest.raises(ModelError, match=r"tail-cut\.onnx.*build the bundle again"):
        load(path)


def test_a_tail_of_another_cut_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    stranger = (tiny_bundle / "cloud/tail-input.onnx").read_bytes()
    path = bundle_with(tiny_bundle, tmp_path / "b", "cloud/tail-cut.onnx", stranger)
    with pytest.raises(
        BundleError,
        match=r"tail-cut\.onnx: its inputs are picture tensor\(uint8\), the manifest says",
    ):
        load(path)


def test_a_tail_with_other_outputs_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    stranger = (tiny_bundle / "device/segment-0.onnx").read_bytes()
    path = bundle_with(tiny_bundle, tmp_path / "b", "cloud/tail-input.onnx", stranger)
    with pytest.raises(BundleError, match=r"tail-input\.onnx: its outputs are .*uint8"):
        load(path)


def test_a_tail_whose_output_has_another_name_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    tail = onnx.load(tiny_bundle / "cloud/tail-cut.onnx")
    tail.graph.output[0].name = tail.graph.node[-1].output[0] = "odds"
    path = bundle_with(tiny_bundle, tmp_path / "b", "cloud/tail-cut.onnx", tail.SerializeToString())
    with pytest.raises(BundleError, match=r"tail-cut\.onnx: its outputs are .*'odds'.*'probab"):
        load(path)


def test_a_tail_gives_what_its_head_has_not_answered_and_nothing_else(
    wide_bundle: Path, tmp_path: Path
) -> None:
    tails, _ = load(wide_bundle)
    given = {name: tail.outputs for name, tail in tails.items()}
    assert given == {"input": ("probabilities", "tone")} | dict.fromkeys(
        ("floats", "pair", "curves"), ("probabilities",)
    )
    path = tmp_path / "b"
    shutil.copytree(wide_bundle, path)
    manifest = open_bundle(path, "cloud").manifest
    silent = [msgspec.structs.replace(cut, answers=()) for cut in manifest.cuts]
    (path / "bundle.json").write_bytes(
        encode_manifest(msgspec.structs.replace(manifest, cuts=tuple(silent)))
    )
    with pytest.raises(BundleError, match=r"tail-floats\.onnx: its outputs .* says .*'tone'"):
        load(path)


def test_a_failure_of_onnx_runtime_is_a_model_error(tiny_bundle: Path) -> None:
    tail = OnnxTail(tiny_bundle / "cloud/tail-cut.onnx", CPU, threads=1)
    with pytest.raises(ModelError, match=r"tail-cut\.onnx: ONNX Runtime failed"):
        tail.run(feeds(np.zeros((1, 8, 16), np.uint8)))


@pytest.mark.skipif(has_cuda, reason="ONNX Runtime offers CUDA here")
def test_cuda_where_there_is_none_is_refused_with_the_way_out(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match=r"isthmus\[cloud-gpu\]"):
        load(tiny_bundle, "cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not has_cuda, reason="ONNX Runtime offers no CUDA here")
def test_on_a_gpu_the_tails_run_there_and_agree_with_the_cpu(tiny_bundle: Path) -> None:
    tails, _ = load(tiny_bundle, "cuda")
    assert {tail.provider for tail in tails.values()} == {CUDA}
    symbols = np.random.default_rng(3).integers(0, 16, (4, 8, 16, 16), dtype=np.uint8)
    on_cpu = OnnxTail(tiny_bundle / "cloud/tail-cut.onnx", CPU, threads=1)
    answer = tails["cut"].run(feeds(symbols))[0]
    assert np.allclose(answer, on_cpu.run(feeds(symbols))[0], atol=1e-3)
