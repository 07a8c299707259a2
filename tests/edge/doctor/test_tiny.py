"""The tiny network: its files are what the script makes, and both precisions compute the same."""

import importlib.util

import numpy as np
import onnx
import pytest
from tests.edge.doctor.tiny_models import activation_scales, build, layers

from isthmus_edge.doctor.tiny import FOLDER, INPUT_SCALE, cosine, int8_feed
from isthmus_edge.doctor.trial import try_tiny
from isthmus_edge.runtimes import found_runtimes

RUNTIMES = [found.runtime for found in found_runtimes() if found.runtime is not None]


def test_the_committed_files_are_what_the_script_makes() -> None:
    if importlib.util.find_spec("ai_edge_litert") is None:
        pytest.skip("LiteRT's schema module writes the .tflite files")
    assert {name: (FOLDER / name).read_bytes() for name in build()} == build()
    assert {path.name for path in FOLDER.iterdir()} == set(build())


def test_the_files_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 128 * 1024


@pytest.mark.parametrize("name", ["tiny-fp32.onnx", "tiny-int8.onnx"])
def test_the_onnx_files_are_valid(name: str) -> None:
    onnx.checker.check_model(onnx.load(FOLDER / name), full_check=True)


def test_scales_are_powers_of_two() -> None:
    scales = activation_scales(layers())
    assert scales[0] == INPUT_SCALE
    assert [np.frexp(scale)[0] for scale in scales] == [0.5] * len(scales)


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_every_runtime_here_computes_the_same_in_both_precisions(runtime: object) -> None:
    trial = try_tiny(runtime, 0.0, rounds=1)  # type: ignore[arg-type]
    assert trial.agreement > 0.999
    assert min(trial.fp32_ms, trial.int8_ms) > 0


def test_the_cosine_tells_another_answer_from_the_same() -> None:
    values = int8_feed()["picture"]
    centred = values.astype(np.float32) - 128
    assert cosine(values, centred) == pytest.approx(1)
    assert cosine(values, np.roll(centred, 1, axis=3)) < 0.98
    assert cosine(values, np.zeros_like(centred)) == 0
