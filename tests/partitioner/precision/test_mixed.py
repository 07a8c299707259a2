"""Where int8 begins is chosen by measured KL and time; fp32 is always a way out."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.partitioner.conftest import ignore
from tests.partitioner.networks import CLASSES, WIDE, Builder, pictures, saved

from isthmus_partitioner import (
    Network,
    PictureSets,
    PlanConfig,
    Quantised,
    load_model,
    quantise,
)
from isthmus_partitioner.precision.mixed import Variant, choose, fp32_then_int8
from isthmus_partitioner.runtime import open_session, run_batches


def variant(name: str, network_ms: float, kl: float) -> Variant:
    int8_from = None if name == "fp32" else "tensor"
    return Variant(
        name=name, fp32_layers=0, int8_from=int8_from, network_ms=network_ms, agreement=1.0, kl=kl
    )


FP32 = variant("fp32", 10.0, 0.0)


def test_the_fastest_within_the_kl_budget_is_chosen() -> None:
    tried = (FP32, variant("a", 5.0, 0.03), variant("b", 5.5, 0.009), variant("c", 6.0, 0.001))
    assert choose(tried, kl_budget=0.01)[0].name == "b"


def test_without_one_in_budget_the_most_faithful_of_the_fast_is_chosen() -> None:
    tried = (FP32, variant("a", 5.0, 0.09), variant("b", 7.0, 0.05), variant("c", 8.0, 0.04))
    chosen, reason = choose(tried, kl_budget=0.01)
    assert chosen.name == "b"  # c takes more than 1.5 times as long as a
    assert "none has KL" in reason


@pytest.mark.parametrize(
    ("tried", "why"),
    [
        ((FP32,), "no int8 variant"),
        ((FP32, variant("a", 11.0, 0.001)), "not faster"),
        ((FP32, variant("a", 5.0, 0.9)), "breaks"),
    ],
)
def test_a_network_that_int8_does_not_help_stays_fp32(tried: tuple[Variant, ...], why: str) -> None:
    chosen, reason = choose(tried, kl_budget=0.01)
    assert chosen is FP32
    assert why in reason


def scale_and_zero_point(model: onnx.ModelProto, tensor: str) -> tuple[float, int]:
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    (node,) = (
        n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == tensor
    )
    return float(constants[node.input[1]]), int(constants[node.input[2]])


def test_weights_are_int8_per_channel_and_activations_uint8(quantised: Quantised) -> None:
    assert quantised.int8 is not None
    constants = {t.name: t for t in quantised.int8.graph.initializer}
    weights = constants["inner.w_quantized"]
    assert weights.data_type == onnx.TensorProto.INT8
    assert list(constants["inner.w_scale"].dims) == [WIDE]
    zero_points = [t for name, t in constants.items() if name.endswith("stem.relu_zero_point")]
    assert [t.data_type for t in zero_points] == [onnx.TensorProto.UINT8]


def test_a_tensor_behind_a_relu_has_zero_point_zero(quantised: Quantised) -> None:
    assert quantised.int8 is not None
    scale, zero_point = scale_and_zero_point(quantised.int8, "last.relu")
    low, high = quantised.ranges["last.relu"]
    assert (low, zero_point) == (0.0, 0)
    assert scale == pytest.approx(high / 255)


def test_preprocessing_and_softmax_stay_float(quantised: Quantised) -> None:
    assert quantised.int8 is not None
    ends = {n.input[0] for n in quantised.int8.graph.node if n.op_type == "QuantizeLinear"}
    assert ends.isdisjoint({"real", "centred", "scaled", "logits", "answer"})


def test_a_mixed_network_is_fp32_in_front_and_int8_behind(
    network: Network, sets: PictureSets, tmp_path: Path
) -> None:
    config = PlanConfig(fp32_layers=(2,), kl_budget=100.0)
    mixed = quantise(network, sets, config, tmp_path, ignore)
    assert [(v.fp32_layers, v.int8_from) for v in mixed.variants] == [(0, None), (3, "sum")]
    front: set[str] = set()
    assert mixed.int8 is not None
    spliced = fp32_then_int8(network.model, mixed.int8, "sum")
    for node in spliced.graph.node:
        if node.op_type == "QuantizeLinear":
            break
        front.update(node.input)
    assert {"stem.w", "inner.w", "outer.w"} <= front


def test_calibration_leaves_no_file_behind(
    network: Network, sets: PictureSets, tmp_path: Path
) -> None:
    quantise(network, sets, PlanConfig(fp32_layers=(0,)), tmp_path, ignore)
    assert list(tmp_path.iterdir()) == []


def test_every_variant_answers_nearly_like_fp32(quantised: Quantised) -> None:
    assert [v.kl < 0.2 for v in quantised.variants] == [True] * 3


def test_a_network_that_cannot_be_quantised_keeps_an_fp32_head_and_says_why(
    sets: PictureSets, tmp_path: Path
) -> None:
    build = Builder()
    source = build.picture()
    build.op("ReduceMean", [source], "means", axes=[2, 3], keepdims=0)
    build.constant("three", np.asarray(3, np.float32))
    build.op("Pow", ["means", "three"], "powers")
    build.op("Pad", ["powers", build.constant("pads", np.asarray([0, 0, 0, 2], np.int64))], "wide")
    build.op("Softmax", ["wide"], "answer", axis=1)
    network = load_model(saved(build.model(), tmp_path / "model.onnx"))
    assert network.outputs[0].size == CLASSES
    result = quantise(network, sets, PlanConfig(), tmp_path, ignore)
    assert result.precision == "fp32"
    assert result.reason.startswith("stays fp32")
    answers = run_batches(open_session(result.head, threads=1), {"picture": pictures(2)})
    assert answers[0].shape == (2, CLASSES)
