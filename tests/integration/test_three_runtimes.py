"""EfficientNet-Lite0's int8 head on ONNX Runtime, LiteRT and tflite-runtime: the same integers.

tflite-runtime needs numpy 1, so it has an environment of its own, which `make test` makes; it has
no ONNX Runtime. Sums are the same on all three, ties and the rounding of their scales are not: an
integer is off by a step now and then, and what follows carries that on, as it does between ONNX
Runtime with and without its fusions.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.partitioner.conftest import ignore

from isthmus import RuntimeName
from isthmus_models import calibration_pictures, evaluation_pictures
from isthmus_partitioner import Samples, load_model
from isthmus_partitioner.cuts.cut import cut_before
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.parts.chains import ChainPlan, write_chain
from isthmus_partitioner.parts.twins import with_twins
from isthmus_partitioner.precision.bases import quantised_bases

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OLD_PYTHON = ROOT / ".venv-tflite" / "bin" / "python"
ITEMS = 6
Held = Mapping[str, NDArray[np.generic]]

# Mean difference to ONNX Runtime in steps, of any tensor that crosses.
TOLERANCE: Mapping[RuntimeName, float] = {"litert": 0.75, "tflite-runtime": 1.0}


@pytest.fixture(scope="module")
def folder(lite0: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole int8 network as four segments, in both forms."""
    folder = tmp_path_factory.mktemp("three")
    (folder / "device").mkdir()
    network = load_model(lite0)
    (spec,) = network.inputs
    samples = Samples({spec.name: calibration_pictures(6, 224)}, tuple("abcdef"))
    head = HeadGraph(network, quantised_bases(network, samples, ignore)[0].mix())
    count = len(network.model.graph.node)
    ends = (frozenset(range(count * part // 4)) for part in range(1, 4))
    cuts = (head.at(cut_before(network, end)) for end in ends)
    plan = ChainPlan("int8", "int8", head, tuple(cut for cut in cuts if cut is not None))
    chain, notes = with_twins(
        network, write_chain(network, plan, folder), "litert", folder, samples
    )
    assert notes == ()
    (folder / "chain.json").write_bytes(msgspec.json.encode(chain))
    with (folder / "items.npz").open("wb") as file:
        np.savez(file, allow_pickle=False, pictures=evaluation_pictures(ITEMS, 224))
    return folder


def held_by(folder: Path, runtime: RuntimeName) -> Held:
    python = sys.executable
    if runtime == "tflite-runtime":
        if not OLD_PYTHON.exists():
            pytest.skip("no environment with tflite-runtime here; `make test` makes it")
        python = str(OLD_PYTHON)
    program = Path(__file__).with_name("head_process.py")
    subprocess.run([python, str(program), str(folder), runtime], check=True, timeout=120)
    with np.load(folder / f"{runtime}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Held:
    return held_by(folder, "onnxruntime")


@pytest.mark.parametrize("runtime", TOLERANCE)
def test_the_head_gives_the_same_integers(
    folder: Path, reference: Held, runtime: RuntimeName
) -> None:
    held = held_by(folder, runtime)
    assert held.keys() == reference.keys()
    integers = [name for name, tensor in reference.items() if tensor.dtype == np.uint8]
    assert len(integers) == 3 * ITEMS
    for name in integers:
        assert held[name].dtype == np.uint8
        assert held[name].shape == reference[name].shape
        apart = np.abs(held[name].astype(int) - reference[name].astype(int))
        assert apart.mean() <= TOLERANCE[runtime]
    answers = [name for name, tensor in reference.items() if tensor.dtype == np.float32]
    assert len(answers) == ITEMS
    same = [held[name].argmax() == reference[name].argmax() for name in answers]
    assert sum(same) >= ITEMS - 1
