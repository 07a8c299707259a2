"""Multiply-accumulates of each kind of layer, for one item."""

import numpy as np
import pytest
from tests.partitioner.graph.graphs import Array, parsed, weights

from isthmus_partitioner.graph.macs import macs_of
from isthmus_partitioner.graph.shapes import tensor_shapes

INT8 = np.zeros((4, 3, 3, 3), np.int8)
BYTE, SCALE = np.array(0, np.uint8), np.array(1, np.float32)


@pytest.mark.parametrize(
    ("body", "shapes", "constants", "macs"),
    [
        ("y = Conv (x, w)", {"y": (4, 6, 6)}, {"w": weights(4, 3, 3, 3)}, 4 * 36 * 27),
        (
            "y = QLinearConv (x, s, z, w, s, z, s, z)",
            {"y": (4, 6, 6)},
            {"w": INT8, "s": SCALE, "z": BYTE},
            4 * 36 * 27,
        ),
        (
            "y = ConvTranspose (x, w)",
            {"x": (3, 4, 4), "y": (5, 6, 6)},
            {"w": weights(3, 5, 3, 3)},
            3 * 16 * 45,
        ),
        ("y = MatMul (x, w)", {"y": (7, 5)}, {"w": weights(8, 5)}, 7 * 5 * 8),
        ("y = MatMul (x, x2)", {"x": (12, 128, 32), "y": (12, 128, 128)}, {}, 12 * 128 * 128 * 32),
        ("y = Gemm <transB = 1> (x, w)", {"y": (5,)}, {"w": weights(5, 8)}, 40),
        ("d = DequantizeLinear (w, s)\n y = Conv (x, d)", {"y": (4, 6, 6)},
         {"w": INT8, "s": SCALE}, 4 * 36 * 27),
        ("y = LSTM <hidden_size = 6> (x, w, r)", {"x": (20, 8), "y": (20, 1, 6)},
         {"w": weights(1, 24, 8), "r": weights(1, 24, 6)}, 20 * 24 * 14),
        ("y = Relu (x)", {"y": (8,)}, {}, 0),
        ("y = Conv (x, w)", {}, {"w": weights(4, 3, 3, 3)}, 0),
    ],
)  # fmt: skip
def test_a_layers_work_is_counted(
    body: str,
    shapes: dict[str, tuple[int, ...]],
    constants: dict[str, Array],
    macs: int,
) -> None:
    model = parsed(f"g (float x, float x2) => (float y) {{ {body} }}", 17, **constants)
    assert sum(macs_of(model.graph, shapes)) == macs


def test_stated_shapes_leave_out_the_batch() -> None:
    model = parsed("g (float[N, 3, 8] x, int64[N, 2] ids, float[N, k] open) => (float[N, 4] y) {}")
    assert tensor_shapes(model.graph) == {"x": (3, 8), "y": (4,)}
