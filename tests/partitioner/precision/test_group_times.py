"""Times of groups: they add up to the networks that were timed as wholes."""

from pathlib import Path

import pytest
from tests.partitioner.precision.tiny import ignore, network_of, noise, with_skip

from isthmus_partitioner.precision import group_times
from isthmus_partitioner.precision.bases import quantised_bases
from isthmus_partitioner.precision.group_times import borders, time_groups
from isthmus_partitioner.precision.groups import fused_groups


def test_times_of_groups_add_up_to_the_whole_and_stripes_price_conversions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = network_of(with_skip(), tmp_path)
    samples = noise(network, 4, 0)
    base = quantised_bases(network, samples, ignore)[0]
    groups = fused_groups(network.model.graph, network.macs)
    feed = next(samples.feeds(network.inputs))
    whole = {"fp32": 8.0, "int8": 4.0, "striped": 30.0}
    monkeypatch.setattr(group_times, "time_models", lambda models, _: {n: whole[n] for n in models})
    times = time_groups(network, base, groups, feed)
    assert times.fp32_ms.sum() == pytest.approx(8)
    assert times.int8_ms.sum() == pytest.approx(4)
    # Every other group is fp32: both borders are crossed.
    striped = times.int8_ms[0] + times.fp32_ms[1] + times.int8_ms[2]
    assert sum(times.borders_ms.values()) == pytest.approx(30 - striped)
    assert times.borders_ms.keys() == borders(network, groups).keys()


def test_borders_are_the_float_values_that_cross(tmp_path: Path) -> None:
    network = network_of(with_skip(), tmp_path)
    groups = fused_groups(network.model.graph, network.macs)
    # ra is read twice behind the first group: by the second layer and by its Add.
    assert borders(network, groups) == {(0, 1): 2 * 6 * 8 * 8, (1, 2): 6}
