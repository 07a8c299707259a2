"""Any mix of precisions from one QDQ graph: bit for bit, with names that follow from tensors."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization.onnx_model import ONNXModel
from tests.partitioner.graph.graphs import parsed, weights
from tests.partitioner.networks import residual, two_branches
from tests.partitioner.precision.tiny import (
    answers,
    ignore,
    network_of,
    node_of,
    quantised,
    splicer_of,
    two_inputs,
    with_skip,
)

from isthmus_partitioner import Network
from isthmus_partitioner.precision.bases import quantised_bases
from isthmus_partitioner.precision.splice import Splicer, dequantised_name, quantised_name
from isthmus_partitioner.samples import Samples

Make = Callable[[], onnx.ModelProto]


@pytest.fixture
def skip(tmp_path: Path) -> Network:
    return network_of(with_skip(), tmp_path)


def reads(model: onnx.ModelProto, output: str) -> list[str]:
    """What the node that makes a tensor reads."""
    return next(list(node.input) for node in model.graph.node if output in node.output)


@pytest.mark.parametrize("make", [with_skip, two_inputs])
def test_without_fp32_groups_the_answers_are_the_qdq_graphs(tmp_path: Path, make: Make) -> None:
    network = network_of(make(), tmp_path)
    qdq = quantised(network)
    ordered = ONNXModel(qdq.model)
    ordered.topological_sort()
    mix = Splicer(network.model, qdq).mix(())
    assert np.array_equal(answers(mix, network), answers(ordered.model, network))


@pytest.mark.parametrize("make", [with_skip, two_inputs])
def test_with_all_groups_in_fp32_the_answers_are_the_networks(tmp_path: Path, make: Make) -> None:
    network = network_of(make(), tmp_path)
    mix = splicer_of(network).mix(range(len(network.model.graph.node)))
    assert np.array_equal(answers(mix, network), answers(network.model, network))
    assert not {"QuantizeLinear", "DequantizeLinear"} & {n.op_type for n in mix.graph.node}


@pytest.mark.parametrize("make", [residual, two_branches])
def test_every_single_group_can_change_its_precision(tmp_path: Path, make: Make) -> None:
    network = network_of(make(), tmp_path)
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (4, *network.inputs[0].shape), np.uint8)
    samples = Samples({network.inputs[0].name: pictures}, ("noise",) * 4)
    base = quantised_bases(network, samples, ignore)[0]
    assert base.int8_nodes
    for index in sorted(base.int8_nodes):
        onnx.checker.check_model(base.mix(frozenset({index})), full_check=True)
        onnx.checker.check_model(base.mix(base.int8_nodes - {index}), full_check=True)


def test_a_float_group_reads_the_raw_tensor_of_a_float_one_and_its_own_weights(
    skip: Network,
) -> None:
    first, second = node_of(skip, "a"), node_of(skip, "b")
    mix = splicer_of(skip).mix({first, second})
    assert reads(mix, "a") == ["x", "wa", "ba"]
    assert reads(mix, "b") == ["ra", "wb", "bb"]


def test_behind_an_integer_group_a_float_one_reads_the_dequantised_tensor(skip: Network) -> None:
    mix = splicer_of(skip).mix({node_of(skip, "b")})
    barrier, *own = reads(mix, "b")
    assert (reads(mix, barrier), own) == ([dequantised_name("ra")], ["wb", "bb"])
    assert reads(mix, "ra")[0] == dequantised_name("x")  # the Conv: its Relu vanished


def test_behind_a_float_group_the_border_is_the_uint8_tensor_of_the_same_name(
    skip: Network,
) -> None:
    splicer = splicer_of(skip)
    for fp32 in (set(), {node_of(skip, "a"), node_of(skip, "ra")}):
        mix = splicer.mix(fp32)
        assert reads(mix, quantised_name("ra")) == ["ra", "ra_scale", "ra_zero_point"]
        assert reads(mix, dequantised_name("ra"))[0] == quantised_name("ra")
        assert dequantised_name("ra") in reads(mix, "b")


def test_an_activation_that_the_quantiser_removed_goes_with_its_layer(skip: Network) -> None:
    splicer = splicer_of(skip)
    activation, layer = node_of(skip, "ra"), node_of(skip, "a")
    assert "Relu" not in {n.op_type for n in splicer.mix({activation}).graph.node}
    assert "Relu" in {n.op_type for n in splicer.mix({layer}).graph.node}


def test_conversions_stand_once_however_many_read_them(skip: Network) -> None:
    mix = splicer_of(skip).mix({node_of(skip, "b")})
    made = Counter(name for node in mix.graph.node for name in node.output)
    names = Counter(node.name for node in mix.graph.node)
    assert made.most_common(1)[0][1] == names.most_common(1)[0][1] == 1


def test_a_bias_that_a_float_and_an_integer_layer_share_is_the_right_one_for_each(
    tmp_path: Path,
) -> None:
    model = parsed(
        """g (float[N,3,4,4] x) => (float[N,3,4,4] y) {
            a = Conv (x, wa, b)
            y = Conv (a, wy, b)
        }""",
        wa=weights(3, 3, 1, 1, seed=1), wy=weights(3, 3, 1, 1, seed=2), b=weights(3, seed=3),
    )  # fmt: skip
    network = network_of(model, tmp_path)
    splicer = splicer_of(network)
    for tensor in ("a", "y"):
        mix = splicer.mix({node_of(network, tensor)})
        assert reads(mix, tensor)[2] == "b"
        error = answers(mix, network) - answers(network.model, network)
        assert np.abs(error).mean() < 0.05


def test_an_answer_that_an_integer_layer_makes_is_never_computed_in_float(skip: Network) -> None:
    mix = splicer_of(skip).mix(())
    assert reads(mix, "y")[0] == quantised_name("y")
    assert reads(mix, quantised_name("y"))[0] not in ("y", "p")


def test_layers_with_float_answers_are_read_as_they_are(tmp_path: Path) -> None:
    network = network_of(two_inputs(), tmp_path)
    mix = splicer_of(network).mix({node_of(network, "both")})
    assert "b" in reads(mix, "both")


def test_mixes_of_every_subset_of_groups_run_and_are_near(skip: Network) -> None:
    splicer = splicer_of(skip)
    wanted = answers(skip.model, skip)
    layers = [node_of(skip, name) for name in ("a", "b", "s", "p", "y")]
    for bits in range(2 ** len(layers)):
        fp32 = {layer for place, layer in enumerate(layers) if bits >> place & 1}
        got = answers(splicer.mix(fp32), skip)
        assert np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max(), fp32
