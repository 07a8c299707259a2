"""A DAG and its costs check themselves: wrong numbers are named before the search."""

import numpy as np
import pytest

from isthmus import ConfigError, ModelError
from isthmus_partitioner.cuts.dag import Costs, Dag, DagTensor


@pytest.mark.parametrize(
    ("producer", "consumers"),
    [(1, (1,)), (2, (1,)), (0, (3,)), (-2, (0,)), (0, (2, 1)), (0, (1, 1)), (3, ())],
)
def test_a_tensor_that_does_not_fit_the_order_is_named(
    producer: int, consumers: tuple[int, ...]
) -> None:
    with pytest.raises(ModelError, match=r"'odd' is made by node .*node numbers below 3"):
        Dag(3, (DagTensor("fine", -1, (0, 2)), DagTensor("odd", producer, consumers)))


def test_a_dag_has_no_fewer_than_no_nodes() -> None:
    with pytest.raises(ModelError, match="-1 nodes"):
        Dag(-1, ())


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["edge_ms", "cloud_ms", "wire_bytes", "wire_ms"])
def test_a_cost_that_makes_no_sense_is_named_with_its_place(name: str, wrong: float) -> None:
    arrays = {key: np.ones(2) for key in ("edge_ms", "cloud_ms", "wire_bytes", "wire_ms")}
    arrays[name] = np.array([0.0, wrong])
    with pytest.raises(ConfigError, match=rf"{name}\[1\] is {wrong}; allowed: 0 or more"):
        Costs(**arrays)
