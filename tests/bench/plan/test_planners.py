"""What other planners choose, on a DAG whose answer is known."""

import numpy as np
import pytest

from isthmus_bench.plan.planners import chain_choice, dag_choice
from isthmus_partitioner.cuts.dag import MODEL_INPUT, Costs, Dag, DagTensor

# x -> 0 -> thin places "left" and "right" -> 3; only together do they part the network.
DAG = Dag(
    4,
    (
        DagTensor("x", MODEL_INPUT, (0,)),
        DagTensor("wide", 0, (1, 2)),
        DagTensor("left", 1, (3,)),
        DagTensor("right", 2, (3,)),
        DagTensor("answer", 3, (), is_output=True),
    ),
)
COSTS = Costs(
    edge_ms=np.array([1.0, 1.0, 1.0, 100.0]),
    cloud_ms=np.array([0.1, 0.1, 0.1, 1.0]),
    wire_bytes=np.array([1000.0, 2000.0, 10.0, 10.0, 4.0]),
    wire_ms=np.zeros(5),
)
CHAIN = (frozenset({0}),)
BOTH = frozenset({0, 1, 2})
MBPS = 1e6


def test_a_dag_planner_cuts_two_tensors_where_a_chain_planner_cannot() -> None:
    dag = dag_choice(DAG, COSTS, MBPS, 10.0)
    assert dag.head == BOTH
    assert dag.predicted_ms == pytest.approx(3 + 0.16 + 1 + 10)
    chain = chain_choice(DAG, CHAIN, COSTS, MBPS, 10.0)
    assert chain.head == frozenset()
    assert chain.predicted_ms == pytest.approx(8 + 1.3 + 10)


def test_a_chain_planner_takes_the_place_that_is_best() -> None:
    costs = Costs(COSTS.edge_ms, COSTS.cloud_ms, np.array([9e3, 1e3, 1e3, 1e3, 4]), COSTS.wire_ms)
    assert chain_choice(DAG, CHAIN, costs, MBPS, 0.0).head == CHAIN[0]


def test_a_long_round_trip_keeps_everything_on_the_device() -> None:
    chain = chain_choice(DAG, CHAIN, COSTS, MBPS, 1000.0)
    assert chain == dag_choice(DAG, COSTS, MBPS, 1000.0)
    assert chain.head is None
    assert chain.predicted_ms == pytest.approx(103.0)
