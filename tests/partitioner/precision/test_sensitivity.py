"""What int8 harms, measured at the output."""

from pathlib import Path

import numpy as np
import pytest
from tests.partitioner.precision.tiny import Energy, ignore, network_of, noise, with_skip

from isthmus_partitioner import Network
from isthmus_partitioner.precision.bases import quantised_bases
from isthmus_partitioner.precision.groups import fused_groups
from isthmus_partitioner.precision.sensitivity import Judge, damages, law


@pytest.fixture
def skip(tmp_path: Path) -> Network:
    return network_of(with_skip(), tmp_path)


def test_the_network_itself_agrees_with_itself(skip: Network) -> None:
    judge = Judge(skip, noise(skip, 4, 1), Energy())
    same = judge.closeness(skip.model)
    assert (same.agreement, same.divergence) == (1.0, 0.0)


def test_each_group_is_judged_alone(skip: Network) -> None:
    judge = Judge(skip, noise(skip, 4, 1), Energy())
    base = quantised_bases(skip, noise(skip, 6, 0), ignore)[0]
    groups = fused_groups(skip.model.graph, skip.macs)
    lines: list[str] = []
    found = damages(judge, base, groups, lines.append)
    assert (found > 0).all()
    together = judge.closeness(base.mix()).divergence
    assert found.max() < together
    assert lines


def test_a_group_without_integers_can_only_be_fp32(skip: Network) -> None:
    judge = Judge(skip, noise(skip, 4, 1), Energy())
    base = quantised_bases(skip, noise(skip, 6, 0), ignore)[0]
    first, *others = fused_groups(skip.model.graph, skip.macs)
    only = type(base)(base.name, True, base.splicer, base.int8_nodes - first.nodes, base.nodes)
    found = damages(judge, only, [first, *others], ignore)
    assert np.isinf(found).tolist() == [True, False, False]


def test_divergences_add_up_as_they_are_or_as_squares() -> None:
    alone = np.array([3.0, 4.0])
    assert law(alone, 7.0) == law(alone, 20.0) == 1.0
    assert law(alone, 5.0) == law(alone, 1.0) == 2.0
    between = law(alone, 5.6)
    assert float((alone**between).sum() ** (1 / between)) == pytest.approx(5.6, rel=0.02)
