"""Tails as they are loaded: what is there is what the manifest says, and it really runs."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from tests.tinybundle import BOUNDARY, COARSE

from isthmus import (
    BundleError,
    ModelError,
    decode_manifest,
    encode_manifest,
    open_bundle,
    sha256_of,
)
from isthmus_cloud import load_tails
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine, OrtProgram
from isthmus_cloud.engines.ort_session import CPU
from isthmus_cloud.engines.seam import Value


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


def load(path: Path, max_batch: int = 1) -> tuple[Mapping[str, Tail], list[str]]:
    """The tails, and what was announced meanwhile."""
    lines: list[str] = []
    engine = OrtEngine(Cores(1))
    return load_tails(open_bundle(path, "cloud"), engine, max_batch, lines.append), lines


def feeds(
    symbols: AnyArray, step: float = COARSE.step, zero_point: int = COARSE.zero_point
) -> dict[str, Value]:
    count = len(symbols)
    name = BOUNDARY.name
    return {
        name: symbols,
        f"{name}/step": np.full(count, step, np.float32),
        f"{name}/zero_point": np.full(count, zero_point, np.uint8),
    }


@pytest.fixture
def tail(tiny_bundle: Path) -> Tail:
    """That of the cut."""
    return load(tiny_bundle)[0]["cut"]


def test_every_tail_is_announced_when_it_is_ready(tiny_bundle: Path) -> None:
    _, lines = load(tiny_bundle)
    assert [line.partition(",")[0] for line in lines] == [
        f"tail 1/2 ready: input on {CPU}",
        f"tail 2/2 ready: cut on {CPU}",
    ]


def test_tails_share_the_parts_that_they_end_in(tiny_bundle: Path) -> None:
    tails, _ = load(tiny_bundle)
    assert tails["input"].parts[-1] is tails["cut"].parts[-1]
    assert tails["cut"].entry_to(tails["input"].parts[1:]) == tails["cut"].parts[:1]
    assert tails["input"].entry_to(tails["cut"].parts) is None


def test_batches_are_measured_where_they_are_wanted(tiny_bundle: Path) -> None:
    alone, _ = load(tiny_bundle)
    together, _ = load(tiny_bundle, max_batch=4)
    assert alone["cut"].most == 1
    assert alone["cut"].ms(1) == 0
    assert 1 <= together["cut"].most <= 4
    assert together["cut"].ms(1) > 0
    assert {size for part in together["cut"].parts for size in part.times.sizes} <= {1, 2, 4}


def test_a_tail_takes_a_batch(tail: Tail) -> None:
    symbols = np.random.default_rng(3).integers(0, 16, (3, 8, 16, 16), dtype=np.uint8)
    together = tail.run(feeds(symbols))[0]
    alone = [tail.run(feeds(symbols[i : i + 1]))[0] for i in range(3)]
    assert together.shape == (3, 10)
    assert np.allclose(together, np.concatenate(alone), atol=1e-6)


def test_step_and_zero_point_reach_the_tail(tail: Tail) -> None:
    symbols = np.random.default_rng(3).integers(0, 8, (1, 8, 16, 16), dtype=np.uint8)
    answer = tail.run(feeds(symbols, 0.25, 1))[0]
    assert np.allclose(answer, tail.run(feeds(symbols + np.uint8(4), 0.25, 5))[0])
    assert np.allclose(answer, tail.run(feeds(symbols * 2, 0.125, 2))[0])
    assert not np.allclose(answer, tail.run(feeds(symbols, 0.25, 2))[0])


def test_a_tail_that_zeros_do_not_run_through_is_loaded_and_waits_for_its_first_frame(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may decide on a value, such as a sampling rate, for which zero is no answer."""

    def refuse_zeros(program: OrtProgram, fed: Mapping[str, Value]) -> Sequence[Value]:
        if not any(np.any(np.asarray(value)) for value in fed.values()):
            raise ModelError("no branch for zero")
        return run(program, fed)

    run = OrtProgram.run
    monkeypatch.setattr(OrtProgram, "run", refuse_zeros)
    tails, lines = load(tiny_bundle, max_batch=8)
    assert len(lines) == len(tails) > 1
    assert "is checked with its first frame; on zeros: no branch for zero" in caplog.text
    symbols = np.full((1, 8, 16, 16), 9, np.uint8)
    assert tails["cut"].run(feeds(symbols))


def test_what_is_no_onnx_model_is_refused_by_name(tiny_bundle: Path, tmp_path: Path) -> None:
    path = bundle_with(tiny_bundle, tmp_path / "b", "cloud/tail-1.onnx", b"no model at all")
    with pytest.raises(ModelError, match=r"tail-1\.onnx.*build the bundle again"):
        load(path)


def test_a_part_that_reads_what_is_not_there_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    stranger = (tiny_bundle / "cloud/tail-0.onnx").read_bytes()
    path = bundle_with(tiny_bundle, tmp_path / "b", "cloud/entry-cut.onnx", stranger)
    with pytest.raises(
        BundleError, match=r"entry-cut\.onnx: reads picture, which nothing .* tail of 'cut'"
    ):
        load(path)


def test_a_tail_with_other_outputs_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    part = onnx.load(tiny_bundle / "cloud/tail-1.onnx")
    part.graph.node[-1].op_type = "ArgMax"
    part.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    del part.graph.output[0].type.tensor_type.shape.dim[1:]
    part.graph.node[-1].attribute.append(onnx.helper.make_attribute("keepdims", 0))
    path = bundle_with(tiny_bundle, tmp_path / "b", "cloud/tail-1.onnx", part.SerializeToString())
    with pytest.raises(BundleError, match=r"tail-1\.onnx: probabilities come as .*int64.*float32"):
        load(path)


def test_a_tail_whose_output_has_another_name_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    part = onnx.load(tiny_bundle / "cloud/tail-1.onnx")
    part.graph.output[0].name = part.graph.node[-1].output[0] = "odds"
    path = bundle_with(tiny_bundle, tmp_path / "b", "cloud/tail-1.onnx", part.SerializeToString())
    with pytest.raises(BundleError, match=r"tail-1\.onnx: the tail of .* not make probabilities"):
        load(path)


def test_a_tail_gives_what_its_head_has_not_answered(wide_bundle: Path) -> None:
    tails, _ = load(wide_bundle)
    given = {name: tuple(spec.name for spec in tail.outputs) for name, tail in tails.items()}
    assert given == {"input": ("probabilities", "tone")} | dict.fromkeys(
        ("floats", "pair", "curves"), ("probabilities",)
    )


def test_a_cut_with_a_tensor_that_has_no_batch_axis_takes_single_items(wide_bundle: Path) -> None:
    tails, _ = load(wide_bundle, max_batch=8)
    axes = {
        name: {tensor.wire.batch_axis for tensor in tail.cut.tensors}
        for name, tail in tails.items()
    }
    assert None in axes["input"]
    assert {name for name, tail in tails.items() if tail.most == 1} == {
        name for name, found in axes.items() if None in found
    }


def test_a_failure_of_onnx_runtime_is_a_model_error(tail: Tail) -> None:
    with pytest.raises(ModelError, match=r"entry-cut\.onnx: ONNX Runtime failed"):
        tail.run(feeds(np.zeros((1, 8, 16), np.uint8)))
