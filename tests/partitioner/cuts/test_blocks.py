"""Blocks in series and windows of long blocks give the cut that the flow finds in the whole."""

import numpy as np
import pytest
from tests.partitioner.cuts.graphs import random_costs, random_dag

from isthmus_partitioner.cuts.blocks import Series, windows
from isthmus_partitioner.cuts.contraction import contracted
from isthmus_partitioner.cuts.dag import Costs, Dag, DagTensor
from isthmus_partitioner.cuts.flow import cheapest_edge
from isthmus_partitioner.cuts.precedence import Precedence
from isthmus_partitioner.cuts.problem import Problem, problem_of


def band(seed: int, nodes: int = 1500, width: int = 8) -> Problem:
    """Each node reads two of the last `width`, whose tensors are all read: no single one joins."""
    random = np.random.default_rng(seed)
    readers: list[set[int]] = [set() for _ in range(nodes)]
    for node in range(1, nodes):
        readers[max(0, node - width)].add(node)
        readers[int(random.integers(max(0, node - width), node))].add(node)
    tensors = [DagTensor("input", -1, (0,))]
    tensors += [DagTensor(f"t{n}", n, tuple(sorted(read))) for n, read in enumerate(readers)]
    valley = int(random.integers(50, nodes - 50))  # where tensors are thin
    is_thin = np.abs(np.arange(-1, nodes) - valley) < 40
    wire_bytes = random.integers(1, 5, nodes + 1) + np.where(is_thin, 0.0, 500.0)
    costs = Costs(
        edge_ms=random.integers(0, 5, nodes).astype(np.float64),
        cloud_ms=random.integers(0, 4, nodes).astype(np.float64),
        wire_bytes=np.concatenate(([1e5], wire_bytes[1:])),
        wire_ms=np.zeros(nodes + 1),
    )
    return problem_of(Dag(nodes, tuple(tensors)), costs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ms_per_byte", [0.25, 2.0])
def test_windows_of_a_long_block_give_the_cut_of_the_whole(seed: int, ms_per_byte: float) -> None:
    problem = band(seed)
    assert len(list(windows(problem, [(0, problem.last)]))) > 3
    edge = Series(problem).best(ms_per_byte)
    assert 1 < edge.sum() < problem.last  # neither nothing nor everything
    assert edge.tolist() == cheapest_edge(problem, ms_per_byte).tolist()


def test_towers_side_by_side_are_one_block_and_no_windows() -> None:
    """Nothing in one tower comes before anything in the other."""
    nodes = 3000
    tensors = [DagTensor("left", -1, (0,)), DagTensor("right", -1, (nodes // 2,))]
    for n in range(nodes - 1):
        is_end = n == nodes // 2 - 1
        tensors.append(DagTensor(f"t{n}", n, (nodes - 1 if is_end else n + 1,)))
    problem = problem_of(
        Dag(nodes, tuple(tensors)),
        Costs(np.ones(nodes), np.ones(nodes), np.ones(nodes + 1), np.ones(nodes + 1)),
    )
    whole = (0, problem.last)
    assert list(windows(problem, [whole])) == [whole]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_known_to_come_before_does_and_nearby_all_of_it_is_known(seed: int) -> None:
    random = np.random.default_rng(seed)
    dag = random_dag(random, 40)
    problem = problem_of(dag, random_costs(random, dag))
    count = problem.last + 1
    before = np.eye(count, dtype=np.bool_)  # [place, other]: place is other, or depends on it
    for tensor, reader in sorted(
        zip(problem.read, problem.reader, strict=True), key=lambda r: r[1]
    ):
        before[reader] |= before[problem.maker[tensor]]
    known = Precedence.of(problem)
    first, second = (side.ravel() for side in np.indices((count, count)))
    inner = (first <= second) & (first > 0)
    first, second = first[inner], second[inner]
    assert known.holds(first, second).tolist() == before[second, first].tolist()


@pytest.mark.parametrize("name", ["residual", "long skips", "branches"])
def test_networks_of_usual_shapes_are_contracted_to_next_to_nothing(name: str) -> None:
    """Costs that grow with depth on tensors that do not shrink: nothing inside is worth a cut."""
    nodes = 400
    readers: list[set[int]] = [{node + 1} for node in range(nodes - 1)] + [set()]
    for node in range(0, nodes - 4, 4):
        if name == "residual":
            readers[node].add(node + 4)
        elif name == "branches":  # 0 is read by 1, 2 and 3, which 4 joins
            readers[node] = {node + 1, node + 2, node + 3}
            readers[node + 1] = readers[node + 2] = readers[node + 3] = {node + 4}
        elif node < nodes // 2:
            readers[node].add(nodes - 1 - node)
    tensors = [DagTensor("input", -1, (0,))]
    tensors += [DagTensor(f"t{n}", n, tuple(sorted(read))) for n, read in enumerate(readers)]
    costs = Costs(
        np.full(nodes, 10.0), np.ones(nodes), np.full(nodes + 1, 1e5), np.zeros(nodes + 1)
    )
    problem, group = contracted(problem_of(Dag(nodes, tuple(tensors)), costs), 1e-6, 1e-1)
    assert problem.last < 4
    assert group[0] == 0
    assert group[-1] == problem.last
