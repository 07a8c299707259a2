"""What transformers are made of gives the same numbers in LiteRT as in ONNX Runtime."""

import numpy as np
import onnx
import pytest
from tests.partitioner.graph.graphs import Array, weights
from tests.partitioner.tflite.transformer_cases import (
    BOTH,
    GELU_FORMS,
    INTEGERS,
    REALS,
    graph,
    integers,
    items,
    numbers,
    steps,
)

from isthmus_partitioner.runtime import open_session, run_one, session_options
from isthmus_partitioner.tflite import NotLoweredError, Twin, lower, verify
from isthmus_partitioner.tflite.schema import Op, schema

_NAMES = {value: name for name, value in vars(Op).items() if not name.startswith("_")}


def operators(model: onnx.ModelProto) -> list[tuple[str, int]]:
    """Names and versions of a lowered graph's operators, in order."""
    lowered = schema.ModelT.InitFromObj(schema.Model.GetRootAs(lower(model).data))
    codes = [(_NAMES[code.builtinCode], code.version) for code in lowered.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in lowered.subgraphs[0].operators]


def apart(model: onnx.ModelProto) -> float:
    """How far answers are from those of the graph computed node by node, at most."""
    options = session_options(1)
    options.graph_optimization_level = options.graph_optimization_level.ORT_DISABLE_ALL
    session = open_session(model, threads=1, options=options)
    names = [info.name for info in model.graph.output]
    twin = Twin(lower(model), model)
    worst = 0.0
    for feed in items(model):
        for made, wanted in zip(twin.run(feed), run_one(session, feed, names), strict=True):
            assert (made.shape, made.dtype) == (wanted.shape, wanted.dtype)
            worst = max(worst, float(np.abs(np.float64(made) - np.float64(wanted)).max()))
    return worst


@pytest.mark.parametrize("name", sorted(REALS))
def test_reals_are_the_same(name: str) -> None:
    assert apart(REALS[name]) < 1e-5


@pytest.mark.parametrize("name", sorted(INTEGERS))
def test_integers_are_the_same(name: str) -> None:
    assert apart(INTEGERS[name]) == 0


@pytest.mark.parametrize("name", sorted(BOTH))
def test_layers_of_integers_answer_in_the_same_reals(name: str) -> None:
    assert apart(BOTH[name]) < 1e-5


@pytest.mark.parametrize("name", sorted(INTEGERS))
def test_integers_are_one_step_from_those_of_the_optimised_graph_at_most(name: str) -> None:
    """ONNX Runtime has tables for softmax and rounds products itself."""
    model = INTEGERS[name]
    assert verify(lower(model), model, items(model)).steps <= 1


def test_a_dense_layer_takes_its_bias_and_its_activation_along() -> None:
    assert operators(REALS["matmul, bias, relu"]) == [("FULLY_CONNECTED", 5)]


def test_a_layer_of_integers_is_one_operator_of_integers() -> None:
    assert operators(INTEGERS["integers to integers"]) == [("FULLY_CONNECTED", 6)]
    assert operators(INTEGERS["gemm with its bias"]) == [("FULLY_CONNECTED", 5)]


def test_a_layer_whose_answer_is_rounded_later_gives_integers_at_once() -> None:
    kinds = [kind for kind, _ in operators(INTEGERS["rounded behind a reshape"])]
    assert kinds == ["FULLY_CONNECTED", "RESHAPE", "TRANSPOSE"]


def test_integers_that_only_move_stay_integers() -> None:
    kinds = {kind for kind, _ in operators(INTEGERS["moved integers"])}
    assert kinds == {"RESHAPE", "TRANSPOSE", "GATHER"}


def test_channels_are_put_in_order_as_planes() -> None:
    kinds = [kind for kind, _ in operators(REALS["channels in another order"])]
    assert kinds == ["CONV_2D", "TRANSPOSE", "GATHER"]


def test_a_few_of_many_channels_are_taken_where_they_are() -> None:
    kinds = [kind for kind, _ in operators(REALS["a few of many channels"])]
    assert kinds == ["CONV_2D", "GATHER"]


def test_a_bias_that_integers_would_round_is_added_to_reals() -> None:
    """Then the answer is that of ONNX Runtime to the bit, and not one step off now and then."""
    model = graph(
        """g (uint8[N,64,16] x) => (uint8[N,64,6] y) {
            xd = DequantizeLinear (x, s, z) wd = DequantizeLinear <axis=1> (w, ws, wz)
            p = MatMul (xd, wd) a = Add (p, b) y = QuantizeLinear (a, sy, z) }""",
        w=integers(16, 6),
        ws=steps(6) * np.float32(20),
        wz=np.zeros(6, np.int8),
        b=weights(6, seed=2),
        s=np.asarray(0.03, np.float32),
        sy=np.asarray(0.2, np.float32),
        z=np.asarray(128, np.uint8),
    )
    assert operators(model)[-1] == ("QUANTIZE", 1)
    assert verify(lower(model), model, items(model)).equal == 1


def test_a_softmax_of_channels_moves_nothing() -> None:
    kinds = [kind for kind, _ in operators(REALS["softmax of channels"])]
    assert kinds == ["CONV_2D", "SOFTMAX"]


@pytest.mark.parametrize("name", sorted(GELU_FORMS))
def test_a_gelu_that_is_spelled_out_becomes_one_operator(name: str) -> None:
    kinds = [kind for kind, _ in operators(GELU_FORMS[name])]
    assert kinds.count("GELU") == 1
    assert not {"ABS", "ADD", "SUB"} & set(kinds)


def test_an_erf_that_belongs_to_no_gelu_is_computed_everywhere() -> None:
    model = graph("g (float[1,8] x) => (float y) { y = Erf (x) }")
    values = np.asarray([[0, 1e-8, -1e-7, 1e-3, -0.5, 3, -40, 1e4]], np.float32)
    assert verify(lower(model), model, [{"x": values}]).relative < 1e-6


@pytest.mark.parametrize(
    ("kind", "node", "constants", "why"),
    [
        ("MatMul", "y = MatMul (x, v)", {"v": weights(8)}, "vector"),
        ("Gemm", "y = Gemm <transA=1> (x, w)", {"w": weights(5, 4)}, "transposed left side"),
        ("Gemm", "y = Gemm (x, w, c)", {"w": weights(8, 4), "c": weights(5, 4)}, "not one for"),
        ("Gemm", "y = Gemm <alpha=2.0, transB=1> (x, x)", {}, "right side is computed"),
        ("Gather", "y = Gather <axis=1> (x, i)", {"i": numbers(8)}, "outside of 8"),
        ("ArgMax", "y = ArgMax <axis=1, select_last_index=1> (x)", {}, "last place"),
        (
            "LayerNormalization",
            "n, m = LayerNormalization (x, w) y = Relu (m)",
            {"w": weights(8)},
            "means or deviations",
        ),
    ],
)
def test_what_is_not_covered_is_refused_by_name(
    kind: str, node: str, constants: dict[str, Array], why: str
) -> None:
    answer = "int64" if kind == "ArgMax" else "float"
    model = graph(f"g (float[5,8] x) => ({answer} y) {{ {node} }}", 18, **constants)
    with pytest.raises(NotLoweredError, match=rf"node .* \({kind}\): .*{why}"):
        lower(model)
