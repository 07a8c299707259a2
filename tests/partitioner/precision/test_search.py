"""The search as a whole, on networks so small that only its structure can be checked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.partitioner.graph.graphs import parsed
from tests.partitioner.precision.tiny import (
    Energy,
    answers,
    ignore,
    network_of,
    noise_sets,
    two_inputs,
    with_skip,
)

from isthmus import ModelError
from isthmus_partitioner.precision.front import pareto
from isthmus_partitioner.precision.qdq import integer_layers
from isthmus_partitioner.precision.search import search


@pytest.mark.parametrize("make", [with_skip, two_inputs])
def test_the_front_holds_fp32_and_the_choice_is_a_measured_point(
    tmp_path: Path, make: Callable[[], onnx.ModelProto]
) -> None:
    network = network_of(make(), tmp_path)
    lines: list[str] = []
    found = search(network, noise_sets(network), Energy(), lines.append, budget=0.01)
    assert found.front == pareto(found.tried)
    assert found.chosen in found.tried
    assert min(point.divergence for point in found.front) == 0
    assert {point.kind for point in found.tried} == {"fp32", "int8", "mixed"}
    assert found.groups == 3
    assert all(len(point.fp32_groups) <= 3 for point in found.tried)
    fp32 = next(point for point in found.tried if point.kind == "fp32")
    assert (len(fp32.fp32_groups), fp32.ms) == (3, found.fp32_ms)
    assert found.int8 is not None
    assert integer_layers(found.int8) == 3
    assert found.chosen.divergence <= 0.01
    assert (found.reason != "", lines != []) == (True, True)


def test_the_head_answers_as_the_chosen_point_says(tmp_path: Path) -> None:
    network = network_of(with_skip(), tmp_path)
    found = search(network, noise_sets(network), Energy(), ignore, budget=0.5)
    wanted, got = answers(network.model, network), answers(found.head, network)
    share = np.square(got - wanted).sum() / np.square(wanted).sum()
    assert share < 0.01
    assert [info.name for info in found.head.graph.output] == ["y"]
    assert [info.name for info in found.head.graph.input] == ["x"]


def test_a_device_of_integers_gets_a_network_that_is_int8_throughout(tmp_path: Path) -> None:
    network = network_of(with_skip(), tmp_path)
    found = search(network, noise_sets(network), Energy(), ignore, budget=1e-9, integer_only=True)
    assert found.chosen.kind == "int8"
    assert integer_layers(found.head) == 3
    assert "integers only" in found.reason


def without_layers() -> onnx.ModelProto:
    return parsed("g (float[N,4] x) => (float[N,4] y) { y = Softmax (x) }")


def test_a_network_that_cannot_be_quantised_stays_fp32_and_says_why(tmp_path: Path) -> None:
    network = network_of(without_layers(), tmp_path)
    found = search(network, noise_sets(network), Energy(), ignore, budget=0.01)
    assert found.head is network.model
    assert (found.int8, found.int8_ms, found.groups) == (None, None, 0)
    assert found.reason.startswith("stays fp32: ")
    assert [point.kind for point in found.front] == ["fp32"]
    with pytest.raises(ModelError, match="integer-only device"):
        search(network, noise_sets(network), Energy(), ignore, budget=0.01, integer_only=True)
