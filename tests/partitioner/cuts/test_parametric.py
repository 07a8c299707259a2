"""All cuts that are best at some bandwidth: compared with every cut there is, one by one."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.partitioner.cuts.graphs import EveryCut, random_costs, random_dag

from isthmus import ConfigError
from isthmus_partitioner.cuts.dag import Costs, Dag, DagTensor
from isthmus_partitioner.cuts.flow import cheapest_edge
from isthmus_partitioner.cuts.parametric import CutSearch, best_cuts, cut_after, minimum_cut
from isthmus_partitioner.cuts.problem import problem_of

# Times per byte and their bandwidths: powers of two, so that nothing is rounded.
LOWEST, HIGHEST = 2.0**-4, 2.0**3
FASTEST_BPS, SLOWEST_BPS = 8e3 / LOWEST, 8e3 / HIGHEST
SEEDS = st.integers(0, 2**40)


@settings(max_examples=300, deadline=None)
@given(SEEDS, st.integers(1, 7))
def test_the_cuts_of_small_dags_are_those_that_trying_all_of_them_finds(
    seed: int, nodes: int
) -> None:
    random = np.random.default_rng(seed)
    dag = random_dag(random, nodes)
    costs = random_costs(random, dag)
    every = EveryCut.of(dag, costs)
    ms_per_byte = float(2.0 ** random.integers(-4, 4))
    found, best = minimum_cut(dag, costs, 8e3 / ms_per_byte), every.best(ms_per_byte)
    assert found.head == best.head
    assert found.wire_bytes == best.wire_bytes
    assert found.edge_ms + found.cloud_ms + found.wire_ms == best.fixed_ms
    search = CutSearch(dag, costs, SLOWEST_BPS, FASTEST_BPS)
    cuts = search.all()
    lines, changes = every.envelope(LOWEST, HIGHEST)
    assert [cut.head for cut in reversed(cuts)] == [line.head for line in lines]
    assert [8e3 / cut.from_bps for cut in reversed(cuts)] == pytest.approx([*changes, HIGHEST])
    assert search.solves <= max(2, 2 * len(cuts) - 1)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(20, 300))
def test_blocks_and_contraction_change_no_cut(seed: int, nodes: int) -> None:
    """Deep networks, so that there are blocks; the flow alone takes them as they are."""
    random = np.random.default_rng(seed)
    dag = random_dag(random, nodes, reach=int(random.integers(1, 5)))
    costs = random_costs(random, dag, whole=seed % 2 == 0)
    ms_per_byte = float(2.0 ** random.integers(-4, 4))
    alone = cheapest_edge(problem_of(dag, costs), ms_per_byte)[1:-1]
    found = minimum_cut(dag, costs, 8e3 / ms_per_byte)
    assert found.head == frozenset(np.flatnonzero(alone).tolist())


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(20, 100))
def test_the_cuts_of_larger_dags_are_each_the_best_where_they_are_said_to_be(
    seed: int, nodes: int
) -> None:
    random = np.random.default_rng(seed)
    dag = random_dag(random, nodes)
    costs = random_costs(random, dag, whole=False)
    search = CutSearch(dag, costs, SLOWEST_BPS, FASTEST_BPS)
    cuts = search.all()
    assert search.solves <= max(2, 2 * len(cuts) - 1)
    assert (cuts[0].from_bps, cuts[-1].to_bps) == (SLOWEST_BPS, FASTEST_BPS)
    for slower, faster in pairwise(cuts):
        assert slower.to_bps == faster.from_bps
        assert slower.wire_bytes < faster.wire_bytes
        meeting = slower.to_bps
        assert slower.cost_ms(meeting) == pytest.approx(faster.cost_ms(meeting))
    for cut in cuts:
        middle_bps = (cut.from_bps * cut.to_bps) ** 0.5
        best = minimum_cut(dag, costs, middle_bps)
        assert cut.cost_ms(middle_bps) == pytest.approx(best.cost_ms(middle_bps), rel=1e-6)


def chain(*, edge: float, cloud: float, sizes: list[float]) -> tuple[Dag, Costs]:
    """Node i reads tensor i and makes tensor i + 1; tensor 0 is the input."""
    nodes = len(sizes)
    tensors = tuple(
        DagTensor(f"t{n}", n - 1, (n,) if n < nodes else (), is_output=n == nodes)
        for n in range(nodes + 1)
    )
    costs = Costs(
        edge_ms=np.full(nodes, edge),
        cloud_ms=np.full(nodes, cloud),
        wire_bytes=np.array([*sizes, 5.0]),
        wire_ms=np.zeros(nodes + 1),
    )
    return Dag(nodes, tensors), costs


def test_a_chain_of_shrinking_tensors_is_cut_deeper_on_slower_links() -> None:
    dag, costs = chain(edge=10, cloud=1, sizes=[9000, 4000, 1000, 500])
    cuts = best_cuts(dag, costs, slowest_bps=1e3, fastest_bps=1e9)
    assert [sorted(cut.head) for cut in cuts] == [[0, 1, 2, 3], [0, 1], [0], []]
    assert [cut.tensors for cut in cuts] == [(), (2,), (1,), (0,)]
    # 9 ms more for 1000 bytes less, and so on: where the two cost the same
    gains = [1000 / 18, 3000 / 9, 5000 / 9]
    assert [cut.to_bps for cut in cuts[:-1]] == pytest.approx([gain * 8e3 for gain in gains])


def test_a_tensor_with_many_readers_is_paid_once() -> None:
    tensors = (
        DagTensor("input", -1, (0,)),
        DagTensor("shared", 0, (1, 2, 3)),
        *(DagTensor(f"answer{node}", node, ()) for node in (1, 2, 3)),
    )
    costs = Costs(
        edge_ms=np.array([1.0, 50, 50, 50]),
        cloud_ms=np.ones(4),
        wire_bytes=np.array([1e6, 100, 1, 1, 1]),
        wire_ms=np.array([0.0, 2, 0, 0, 0]),
    )
    found = minimum_cut(Dag(4, tensors), costs, 8e3)
    assert found.head == {0}
    assert found.tensors == (1,)
    assert (found.wire_ms, found.wire_bytes) == (2, 100)
    assert found.cost_ms(8e3) == 1 + 3 + 2 + 100


def test_a_cut_may_need_two_tensors_and_an_input() -> None:
    tensors = (
        DagTensor("picture", -1, (0,)),
        DagTensor("size", -1, (3,)),
        DagTensor("left", 0, (2,)),
        DagTensor("right", 0, (3,)),
        DagTensor("wide", 2, (3,)),
    )
    costs = Costs(
        edge_ms=np.array([1.0, 0, 99, 99]),
        cloud_ms=np.array([1.0, 0, 1, 1]),
        wire_bytes=np.array([1e6, 4, 100, 100, 1e6]),
        wire_ms=np.zeros(5),
    )
    found = minimum_cut(Dag(4, tensors), costs, 8e6)
    assert found.head == {0}
    assert found.tensors == (1, 2, 3)


def test_nothing_is_sent_where_the_edge_is_the_faster_side() -> None:
    dag, costs = chain(edge=1, cloud=3, sizes=[100, 10, 1])
    (found,) = best_cuts(dag, costs, slowest_bps=1e3, fastest_bps=1e12)
    assert (sorted(found.head), found.tensors) == ([0, 1, 2], ())
    assert (found.from_bps, found.to_bps) == (1e3, 1e12)


def test_a_tensor_that_may_not_cross_never_does() -> None:
    dag, costs = chain(edge=10, cloud=1, sizes=[9000, 0, 0, 1])
    kept = tuple(
        DagTensor(t.name, t.producer, t.consumers, is_cuttable=n not in {1, 2})
        for n, t in enumerate(dag.tensors)
    )
    cuts = best_cuts(Dag(4, kept), costs, slowest_bps=1e3, fastest_bps=1e9)
    assert {cut.tensors for cut in cuts} == {(3,), (0,)}


def test_free_nodes_go_to_the_cloud_and_ties_to_fewer_bytes() -> None:
    dag, costs = chain(edge=0, cloud=0, sizes=[8, 3, 3, 8])
    assert minimum_cut(dag, costs, 1e6).head == {0, 1, 2, 3}
    dag, costs = chain(edge=1, cloud=1, sizes=[0, 0, 8, 8])
    assert minimum_cut(dag, costs, 1e6).head == set()


def test_a_network_without_nodes_or_inputs_has_one_cut() -> None:
    nothing = np.zeros(0)
    assert minimum_cut(Dag(0, ()), Costs(nothing, nothing, nothing, nothing), 1e6).head == set()
    costs = Costs(np.ones(2), np.zeros(2), nothing, nothing)
    assert minimum_cut(Dag(2, ()), costs, 1e6).head == set()


def test_what_is_asked_about_one_cut_is_answered_whether_it_is_good_or_not() -> None:
    dag, costs = chain(edge=10, cloud=1, sizes=[9000, 4000, 1000, 500])
    found = cut_after(dag, costs, [0, 1, 2])
    assert (found.edge_ms, found.cloud_ms, found.tensors) == (30, 1, (3,))
    assert found.cost_ms(8e3) == 531


@pytest.mark.parametrize("bps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bandwidth_that_is_no_positive_number_is_refused(bps: float) -> None:
    dag, costs = chain(edge=10, cloud=1, sizes=[1])
    with pytest.raises(ConfigError, match="two positive numbers"):
        minimum_cut(dag, costs, bps)


def test_the_slower_bandwidth_comes_first() -> None:
    dag, costs = chain(edge=10, cloud=1, sizes=[1])
    with pytest.raises(ConfigError, match=r"2000.0 … 1000.0"):
        best_cuts(dag, costs, slowest_bps=2000.0, fastest_bps=1000.0)


def test_costs_of_another_dag_are_refused() -> None:
    dag, _ = chain(edge=10, cloud=1, sizes=[1, 1])
    _, costs = chain(edge=10, cloud=1, sizes=[1, 1, 1])
    with pytest.raises(ConfigError, match=r"edge_ms has the shape \(3,\); the DAG needs \(2,\)"):
        minimum_cut(dag, costs, 1e6)
