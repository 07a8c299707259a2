"""A profile says of every node what it costs, and of whose outputs it reads."""

from collections.abc import Callable

import msgspec
import numpy as np
import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.profiles.test_node_times import made_up
from tests.partitioner.workshop import made_up_costs

from isthmus_partitioner import Network, Profile
from isthmus_partitioner.planning.node_costs import NodeCosts
from isthmus_partitioner.profiles.profile import profile_of
from isthmus_partitioner.profiles.runtime_choice import RuntimeNote


def made(network: Network, costs: NodeCosts | None = None) -> Profile:
    known = costs or made_up_costs(network, slower=3)
    return profile_of(network, known, made_up(network), "a server", "fp32 for 2 groups")


def test_every_node_of_the_network_has_a_row(network: Network) -> None:
    rows = made(network).nodes
    nodes = network.model.graph.node
    assert [(row.name, row.op) for row in rows] == [(n.name, n.op_type) for n in nodes]
    assert [row.macs for row in rows] == list(network.macs)


def test_rows_hold_the_costs_of_their_nodes_and_wholes_their_sums(network: Network) -> None:
    costs = made_up_costs(network, slower=3)
    found = made(network, costs)
    assert [row.fp32_ms for row in found.nodes] == costs.device["fp32"].tolist()
    assert [row.int8_ms for row in found.nodes] == costs.device["int8"].tolist()
    assert [row.cloud_ms for row in found.nodes] == costs.cloud.tolist()
    assert found.fp32_ms == pytest.approx(3000)
    assert found.int8_ms == pytest.approx(1500)
    assert found.cloud_ms == pytest.approx(10)


def test_without_an_int8_head_there_are_no_times_of_one(network: Network) -> None:
    both = made_up_costs(network)
    only = NodeCosts({"fp32": both.here["fp32"]}, {"fp32": both.device["fp32"]}, both.cloud)
    found = made(network, only)
    assert found.int8_ms is None
    assert {row.int8_ms for row in found.nodes} == {None}


def test_sizes_are_those_of_one_item(network: Network) -> None:
    found = made(network)
    rows = {row.name: row for row in found.nodes}
    assert rows["stem.relu"].shape == (8, 8, 8)
    assert rows["stem.relu"].output_bytes == 8 * 8 * 8 * 4
    assert found.input_bytes == 32 * 32 * 3


def test_a_row_names_the_rows_that_it_reads(network: Network) -> None:
    rows = made(network).nodes
    place = {row.name: index for index, row in enumerate(rows)}
    assert rows[place["sum"]].reads == tuple(sorted((place["outer"], place["stem.relu"])))
    assert rows[0].reads == ()
    assert all(max(row.reads, default=-1) < index for index, row in enumerate(rows))


def test_all_inputs_count(read: Callable[[onnx.ModelProto], Network]) -> None:
    assert made(read(branched.with_gain())).input_bytes == 32 * 32 * 3 + 8


def test_a_profile_says_where_it_was_measured_and_what_was_noted(network: Network) -> None:
    device = made_up(network)
    noted = msgspec.structs.replace(device, notes=("it grew hot",))
    found = profile_of(network, made_up_costs(network), noted, "a server", "int8")
    assert found.edge == "board, 1 thread, ONNX Runtime 1"
    assert (found.cloud, found.head_name) == ("a server", "int8")
    assert found.memory_bytes == {"fp32": 1}
    assert found.notes == ("it grew hot",)
    two = msgspec.structs.replace(device.conditions, threads=2)
    several = msgspec.structs.replace(device, conditions=two)
    again = profile_of(network, made_up_costs(network), several, "a server", "int8")
    assert again.edge == "board, 2 threads, ONNX Runtime 1"


def test_a_profile_survives_json(network: Network) -> None:
    found = made(network)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Profile) == found
    assert np.isfinite([row.fp32_ms for row in found.nodes]).all()


def test_a_profile_tells_of_every_runtime_and_counts_the_memory_of_the_one_that_runs(
    network: Network,
) -> None:
    device = made_up(network)
    (times,) = device.networks
    other = msgspec.structs.replace(times, runtime="litert", memory_bytes=7, ms=99.0, high_ms=99.0)
    both = msgspec.structs.replace(device, networks=(times, other))
    note = RuntimeNote(network="fp32", runtime="litert", times=(), reason="told to")
    costs = made_up_costs(network)
    found = profile_of(network, costs, both, "a server", "int8", (note,))
    assert found.runtimes == (note,)
    assert found.memory_bytes == {"fp32": 7}
    assert profile_of(network, costs, both, "a server", "int8").memory_bytes == {"fp32": 1}
