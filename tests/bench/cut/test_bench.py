"""The cut search's bench, on small networks: what it runs, what it says, what it leaves out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from isthmus import ConfigError
from isthmus_bench.cut.bench import CutBenchConfig, CutBenchResult, run_cut_bench
from isthmus_bench.cut.real import RealGraph, graph_subject
from isthmus_bench.cut.report import cut_json, cut_lines
from isthmus_bench.cut.synthetic import FAMILIES, synthetic_subject
from isthmus_partitioner.cuts.parametric import best_cuts, minimum_cut

ABSENT = RealGraph("vit", "no_such_package", "vit.onnx")


@pytest.fixture(scope="module")
def result() -> CutBenchResult:
    steps: list[str] = []
    config = CutBenchConfig(real=(ABSENT,), sizes=(20, 40), runs=2, whole_up_to=20)
    result = run_cut_bench(config, steps.append)
    assert steps == [f"{family}: {nodes} nodes" for family in FAMILIES for nodes in (20, 40)]
    return result


def test_every_family_is_timed_at_every_size(result: CutBenchResult) -> None:
    found = [(row.model, row.nodes, row.dag_nodes) for row in result.synthetic]
    assert found == [(family, nodes, nodes) for family in FAMILIES for nodes in (20, 40)]
    for row in result.synthetic:
        assert row.seconds > 0
        assert row.one_cut_seconds > 0
        assert (row.whole_flows_seconds is None) == (row.nodes > 20)
        assert 1 <= row.solves <= max(2, 2 * row.cuts - 1)


def test_a_graph_whose_package_is_missing_is_named(result: CutBenchResult) -> None:
    assert result.real == ()
    (missing,) = result.missing
    assert missing.startswith("vit: package no_such_package is not installed")
    assert any("no_such_package" in line for line in cut_lines(result))


def test_the_exponent_is_the_slope_in_logarithms(result: CutBenchResult) -> None:
    rows = [
        replace(result.synthetic[0], model=family, nodes=nodes, seconds=scale * nodes**power)
        for family, scale, power in (("a", 3.0, 1.0), ("b", 0.1, 1.5))
        for nodes in (10, 100, 1000)
    ]
    made_up = replace(result, synthetic=tuple(rows))
    assert made_up.growth_exponents() == pytest.approx({"a": 1.0, "b": 1.5})
    assert cut_json(made_up)["growth_exponent"] == pytest.approx(1.5)


def test_the_report_shows_every_row_and_the_json_every_figure(result: CutBenchResult) -> None:
    text = "\n".join(cut_lines(result))
    figures = cut_json(result)
    assert text.startswith("Measured on ")
    assert [text.count(family) >= 3 for family in FAMILIES] == [True] * len(FAMILIES)
    assert [row["model"] for row in figures["synthetic"]] == [r.model for r in result.synthetic]
    assert figures["synthetic"][0]["seconds"] == result.synthetic[0].seconds
    assert figures["runs"] == 2


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"sizes": (100,)}, {"sizes": (5, 100)}])
def test_a_bench_that_could_tell_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="two sizes or more"):
        replace(CutBenchConfig(), **wrong)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_made_up_network_is_the_same_every_time_and_worth_a_search(family: str) -> None:
    one, other = (synthetic_subject(family, 300) for _ in range(2))
    assert one.dag == other.dag
    assert one.costs.edge_ms.tolist() == other.costs.edge_ms.tolist()
    assert len(best_cuts(one.dag, one.costs, slowest_bps=1e5, fastest_bps=1e9)) > 1


@pytest.mark.parametrize("family", ["long-skips", "dense"])
def test_long_skips_and_dense_networks_have_no_single_tensor_that_joins_two_parts(
    family: str,
) -> None:
    dag = synthetic_subject(family, 60).dag
    inside = range(3, 55)
    if family == "long-skips":
        inside = range(1, 57)
    for node in inside:
        crossing = [
            tensor
            for tensor in dag.tensors
            if tensor.producer <= node and any(reader > node for reader in tensor.consumers)
        ]
        assert len(crossing) > 1


def test_a_file_becomes_costs_in_proportion_to_its_operators(tmp_path: Path) -> None:
    """Weights in a Constant node, an input of open size."""
    weight = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight),
        helper.make_node("Conv", ["x", "w"], ["mixed"]),
        helper.make_node("Relu", ["mixed"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [value("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    onnx.save(model, tmp_path / "tiny.onnx")
    subject = graph_subject("tiny", tmp_path / "tiny.onnx", (1, 3, 10, 10))
    assert (subject.nodes, subject.dag.node_count) == (3, 2)
    assert [tensor.name for tensor in subject.dag.tensors] == ["x", "mixed", "y"]
    conv, relu = 400 * 3 / 5e6 + 400 / 1e6, 400 / 1e6
    assert subject.costs.edge_ms.tolist() == pytest.approx([conv, relu])
    assert subject.costs.cloud_ms.tolist() == pytest.approx([conv / 10, relu / 10])
    assert subject.costs.wire_bytes.tolist() == [300, 400, 400]
    assert not subject.dag.tensors[1].is_cuttable  # runtimes fuse the two
    assert minimum_cut(subject.dag, subject.costs, 1e3).head == {0, 1}
