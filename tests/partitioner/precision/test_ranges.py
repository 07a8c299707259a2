"""Ranges of activations: exact extremes and percentiles in one pass."""

from pathlib import Path

import numpy as np
import pytest
from tests.partitioner.graph.graphs import parsed
from tests.partitioner.precision.tiny import network_of, noise, two_inputs

from isthmus_partitioner import Network
from isthmus_partitioner.precision.ranges import PERCENTILE, collect_ranges
from isthmus_partitioner.samples import Samples


@pytest.fixture
def doubled(tmp_path: Path) -> Network:
    return network_of(
        parsed("g (float[N,60000] x) => (float[N,60000] y) { y = Add (x, x) }"), tmp_path
    )


def items(*rows: np.ndarray) -> Samples:
    return Samples({"x": np.stack(rows).astype(np.float32)}, ("noise",) * len(rows))


def test_a_percentile_leaves_out_as_many_values_as_it_says(doubled: Network) -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((7, 60000)).astype(np.float32)
    rows[3, :9] = 50  # more than one item's share of what is left out
    found = collect_ranges(doubled, items(*rows), ["x", "y"])
    beyond = int(rows.size * (1 - PERCENTILE / 100) / 2)
    assert beyond == 2
    ordered = np.sort(rows, axis=None)
    ends = (float(ordered[beyond]), float(ordered[-1 - beyond]))
    assert found["percentile"] == {"x": ends, "y": (2 * ends[0], 2 * ends[1])}
    assert found["minmax"]["x"] == (float(ordered[0]), 50.0)


def test_values_that_are_not_finite_do_not_count(doubled: Network) -> None:
    row = np.zeros(60000)
    row[:4] = (np.nan, np.inf, -np.inf, 3)
    assert collect_ranges(doubled, items(row), ["y"])["minmax"] == {"y": (0.0, 6.0)}
    nothing = np.full(60000, np.nan)
    assert collect_ranges(doubled, items(nothing), ["y"])["minmax"] == {}


def test_every_input_has_its_range(tmp_path: Path) -> None:
    network = network_of(two_inputs(), tmp_path)
    samples = noise(network, 3, 1)
    found = collect_ranges(network, samples, ["x", "z", "b"])["minmax"]
    for name in ("x", "z"):
        assert found[name] == (samples.arrays[name].min(), samples.arrays[name].max())
