"""The TFLite twin of a network: written where it answers alike, refused where it does not."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.partitioner.networks import Builder, residual

from isthmus_partitioner import Network, SampleSets
from isthmus_partitioner.agreement.metrics import Metric
from isthmus_partitioner.precision.search import Precision
from isthmus_partitioner.profiles import twins
from isthmus_partitioner.profiles.twins import require_alike, twin_agreement, write_twin
from isthmus_partitioner.tflite import Difference, NotLoweredError, lower


def feeds(network: Network, sets: SampleSets) -> list[dict[str, np.ndarray]]:
    return list(sets.held_back[:2].feeds(network.inputs))


def test_a_twin_is_a_file_that_names_itself(
    network: Network, sets: SampleSets, tmp_path: Path
) -> None:
    path = tmp_path / "fp32.tflite"
    form = write_twin(network.model, network.path.parent, path, feeds(network, sets))
    assert form.file == "fp32.tflite"
    assert path.read_bytes()[4:8] == b"TFL3"


def test_an_int8_twin_is_within_rounding_of_its_original(
    network: Network, quantised: Precision, sets: SampleSets, metric: Metric
) -> None:
    assert quantised.int8 is not None
    require_alike(lower(quantised.int8), quantised.int8, feeds(network, sets))
    agreement = twin_agreement(network, quantised.int8, sets.held_back, metric)
    assert 0.5 <= agreement <= 1


def test_the_twin_of_the_network_itself_agrees_with_it(
    network: Network, sets: SampleSets, metric: Metric
) -> None:
    assert twin_agreement(network, network.model, sets.held_back, metric) == 1


def test_a_twin_that_answers_otherwise_is_refused_and_not_written(
    network: Network, sets: SampleSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = lower(residual(seed=1))
    with pytest.raises(NotLoweredError, match="answers otherwise"):
        require_alike(stranger, network.model, feeds(network, sets))
    monkeypatch.setattr(twins, "lower", lambda *_: stranger)
    path = tmp_path / "fp32.tflite"
    with pytest.raises(NotLoweredError, match="answers otherwise"):
        write_twin(network.model, tmp_path, path, feeds(network, sets))
    assert not path.exists()


@pytest.mark.parametrize(
    "difference",
    [Difference(mean_steps=1.01), Difference(relative=0.051), Difference(relative=float("nan"))],
)
def test_more_than_rounding_is_too_much(
    network: Network, difference: Difference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twins, "verify", lambda *_: difference)
    with pytest.raises(NotLoweredError, match=r"integers differ by .* steps"):
        require_alike(lower(network.model), network.model, [{}])


def test_an_op_without_a_form_is_named(tmp_path: Path) -> None:
    build = Builder()
    build.op("Mish", [build.conv(build.picture(), "stem", (3, 8), stride=4)], "odd")
    build.classes("odd", 8)
    model = onnx.shape_inference.infer_shapes(build.model(batch=1, opset=18))
    with pytest.raises(NotLoweredError, match="Mish"):
        write_twin(model, tmp_path, tmp_path / "odd.tflite")
