"""PyTorch as the engine: tested where it is installed, on the CPU; with CUDA where there is one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.cloud.engines.tail_of_the_cut import EARLY, ENTRY, LATE

from isthmus import Bundle, ModelError
from isthmus_cloud.engines.choice import open_engine
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine
from isthmus_cloud.engines.torch_engine import TorchEngine, TorchPlacement
from isthmus_cloud.engines.trial import MOST_ERROR, require_agreement, trial_feeds

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("onnx2pytorch", reason="onnx2pytorch is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # what PyTorch and the importer warn of is theirs

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
]


@pytest.fixture(params=DEVICES)
def engine(request: pytest.FixtureRequest) -> Iterator[TorchEngine]:
    engine = TorchEngine(1, TorchPlacement(device=request.param))
    yield engine
    engine.close()


def test_it_agrees_with_onnx_runtime(engine: TorchEngine, bundle: Bundle) -> None:
    assert require_agreement(engine, OrtEngine(Cores(1)), bundle) < MOST_ERROR / 10
    for part in (ENTRY, LATE, EARLY):
        mine, theirs = engine.load(bundle.file(part)), OrtEngine(Cores(1)).load(bundle.file(part))
        assert list(mine.inputs.items()) == list(theirs.inputs.items())
        assert (mine.outputs, mine.sizes) == (theirs.outputs, theirs.sizes)


def test_in_fp16_it_is_close_and_its_tensors_have_the_graphs_types(bundle: Bundle) -> None:
    half = TorchEngine(1, TorchPlacement(device="cpu", precision="fp16"))
    assert 1e-5 < require_agreement(half, OrtEngine(Cores(1)), bundle, of_all=True) < MOST_ERROR
    feeds = trial_feeds(bundle.manifest, bundle.manifest.cuts[0], 2)
    (real,) = half.load(bundle.file(EARLY)).run(feeds)
    assert half.to_host(real).dtype == np.float32


def test_it_is_chosen(bundle: Bundle) -> None:
    assert open_engine("torch", "cpu", Cores(1), bundle).provider == "PyTorch on cpu"
    automatic = open_engine("torch", "auto", Cores(1), bundle).provider
    assert automatic.startswith("PyTorch on " + ("cuda" if torch.cuda.is_available() else "cpu"))


def test_batches_are_joined_on_the_device(engine: TorchEngine, bundle: Bundle) -> None:
    input_cut, cut = bundle.manifest.cuts[:2]
    parts = [
        engine.load(bundle.file(EARLY)).run(trial_feeds(bundle.manifest, input_cut, 2))[0],
        engine.load(bundle.file(ENTRY)).run(trial_feeds(bundle.manifest, cut, 2))[0],
    ]
    on_host = [engine.to_host(part) for part in parts]
    joined = engine.join([*parts, on_host[0]], 0)
    assert isinstance(joined, torch.Tensor)
    assert np.array_equal(engine.to_host(joined), np.concatenate([*on_host, on_host[0]]))
    late = engine.load(bundle.file(LATE))
    together = engine.to_host(late.run({"relu_0": joined})[0])
    assert np.allclose(together[:2], engine.to_host(late.run({"relu_0": parts[0]})[0]), atol=1e-6)
    with pytest.raises(ModelError, match="2 batches cannot be put together"):
        engine.join([parts[0], np.zeros((1, 8, 4, 4), np.float32)], 0)


def test_a_failure_is_a_model_error_and_the_next_batch_runs(
    engine: TorchEngine, bundle: Bundle
) -> None:
    late = engine.load(bundle.file(LATE))
    for feeds in ({"relu_0": np.zeros((1, 3, 16, 16), np.float32)}, {}):
        with pytest.raises(ModelError, match=r"tail-1\.onnx: PyTorch failed on a batch"):
            late.run(feeds)
    read_only = np.zeros((1, 8, 16, 16), np.float32)
    read_only.setflags(write=False)
    assert engine.to_host(late.run({"relu_0": read_only})[0]).shape == (1, 10)


def test_an_operator_that_the_importer_lacks_is_refused(
    engine: TorchEngine, tmp_path: Path
) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], domain="com.example")
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    graph = helper.make_graph([node], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "odd.onnx")
    with pytest.raises(ModelError, match=r"odd\.onnx: onnx2pytorch cannot .*'onnxruntime'"):
        engine.load(tmp_path / "odd.onnx")
