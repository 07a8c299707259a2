"""Small graphs of what transformers are made of, by name, and seeded items for them."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from tests.partitioner.graph.graphs import Array, parsed, weights

ITEMS = 3
IDS = 9  # of the tables that ids choose from

_U8 = {"z": np.asarray(131, np.uint8), "zy": np.asarray(120, np.uint8)}
_STEPS = {"s": np.asarray(0.03, np.float32), "sy": np.asarray(0.05, np.float32)}
_GRIDS: Mapping[str, Array] = _U8 | _STEPS


def graph(body: str, opset: int = 17, /, **constants: Array) -> onnx.ModelProto:
    """As `parsed`, with any names for the constants."""
    model = parsed(body, opset)
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


def integers(*shape: int, seed: int = 0) -> NDArray[np.int8]:
    """Seeded int8, none of them -128."""
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


def steps(count: int, seed: int = 0) -> NDArray[np.float32]:
    """A step for each channel."""
    return (0.002 + 0.004 * np.random.default_rng(seed).random(count)).astype(np.float32)


def numbers(*values: float) -> NDArray[np.int64]:
    """Axes, shapes, places."""
    return np.asarray(values, np.int64)


def items(model: onnx.ModelProto, count: int = ITEMS) -> list[dict[str, Array]]:
    """Normal reals, ids below IDS, any bytes; for every input, a batch of one."""
    random = np.random.default_rng(7)
    makers: Mapping[str, Callable[[list[int]], Array]] = {
        "float32": lambda shape: np.asarray(random.normal(0, 1.5, shape), np.float32),
        "int64": lambda shape: random.integers(0, IDS, shape),
        "uint8": lambda shape: random.integers(0, 256, shape).astype(np.uint8),
    }
    kept = {tensor.name for tensor in model.graph.initializer}
    rows: list[dict[str, Array]] = []
    for _ in range(count):
        row = {}
        for info in model.graph.input:
            if info.name not in kept:
                kind = info.type.tensor_type
                shape = [dim.dim_value or 1 for dim in kind.shape.dim]
                name = str(helper.tensor_dtype_to_np_dtype(kind.elem_type).name)
                row[info.name] = makers[name](shape)
        rows.append(row)
    return rows


def _one(kind: str, attributes: str = "", shape: str = "1,5,8", opset: int = 20) -> onnx.ModelProto:
    """One op of one input."""
    return graph(f"g (float[{shape}] x) => (float y) {{ y = {kind} {attributes} (x) }}", opset)


def _reduced(kind: str, axes: tuple[int, ...], keeps: int) -> onnx.ModelProto:
    body = f"g (float[1,4,5,8] x) => (float y) {{ y = {kind} <keepdims={keeps}> (x, axes) }}"
    return graph(body, 18, axes=numbers(*axes))


_ROOT = np.asarray(2**0.5, np.float32)
_HALF = {"half": np.asarray(0.5, np.float32), "one": np.asarray(1, np.float32)}

GELU_FORMS: Mapping[str, onnx.ModelProto] = {
    "gelu, halved last": graph(
        """g (float[1,5,8] x) => (float y) {
            d = Div (x, root) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half) }""",
        root=_ROOT,
        **_HALF,
    ),
    "gelu, halved first": graph(
        """g (float[1,5,8] x) => (float y) {
            h = Mul (half, x) d = Mul (x, root) e = Erf (d) a = Add (one, e) y = Mul (h, a) }""",
        root=1 / _ROOT,
        **_HALF,
    ),
    "gelu, halved between": graph(
        """g (float[1,5,8] x) => (float y) {
            d = Div (x, root) e = Erf (d) a = Add (e, one) h = Mul (a, half) y = Mul (x, h) }""",
        root=_ROOT,
        **_HALF,
    ),
}

REALS: Mapping[str, onnx.ModelProto] = {
    "matmul, bias, relu": graph(
        """g (float[N,5,8] x) => (float[N,5,6] y) {
            p = MatMul (x, w) a = Add (p, b) y = Relu (a) }""",
        w=weights(8, 6),
        b=weights(6, seed=1),
    ),
    "matmul of matrices": graph(
        "g (float[1,5,8] x) => (float y) { y = MatMul (x, w) }", w=weights(8, 6)
    ),
    "product that is read twice": graph(
        """g (float[1,5,8] x) => (float p, float y) { p = MatMul (x, w) y = Add (p, b) }""",
        w=weights(8, 6),
        b=weights(6, seed=1),
    ),
    "product and a matrix": graph(
        """g (float[1,6,8] x) => (float y) { p = MatMul (x, w) y = Add (p, b) }""",
        w=weights(8, 6),
        b=weights(6, 6, seed=1),
    ),
    "matmul of stacks": graph(
        "g (float[1,3,5,8] a, float[1,3,8,4] b) => (float y) { y = MatMul (a, b) }"
    ),
    "matmul of a stack and a matrix": graph(
        "g (float[1,3,5,8] a, float[8,4] b) => (float y) { y = MatMul (a, b) }"
    ),
    "matmul of a constant and a stack": graph(
        "g (float[1,3,5,8] x) => (float y) { y = MatMul (w, x) }", w=weights(1, 3, 4, 5)
    ),
    "gemm": graph(
        """g (float[N,8] x) => (float[N,6] y) {
            y = Gemm <alpha=0.5, beta=2.0, transB=1> (x, w, b) }""",
        w=weights(6, 8),
        b=weights(1, 6, seed=1),
    ),
    "gemm of two inputs": graph(
        "g (float[5,8] a, float[4,8] b) => (float y) { y = Gemm <transB=1> (a, b) }"
    ),
    "softmax": _one("Softmax", "<axis=-1>"),
    "softmax over a middle axis": _one("Softmax", "<axis=1>", "1,4,5,8"),
    "softmax of old": _one("Softmax", "<axis=1>", "1,4,5,8", opset=11),
    "log softmax": _one("LogSoftmax", "<axis=-1>"),
    "layer norm": graph(
        """g (float[1,5,8] x) => (float y) {
            y = LayerNormalization <axis=-1, epsilon=0.001> (x, w, b) }""",
        w=weights(8),
        b=weights(8, seed=1),
    ),
    "layer norm over two axes": graph(
        "g (float[1,4,5,8] x) => (float y) { y = LayerNormalization <axis=2> (x, w) }",
        w=weights(5, 8),
    ),
    "layer norm in parts": graph(
        """g (float[1,5,8] x) => (float y) {
            m = ReduceMean <axes=[-1]> (x) c = Sub (x, m) p = Pow (c, two)
            v = ReduceMean <axes=[-1]> (p) e = Add (v, least) d = Sqrt (e) n = Div (c, d)
            w = Mul (n, scale) y = Add (w, bias) }""",
        two=np.asarray(2, np.float32),
        least=np.asarray(1e-5, np.float32),
        scale=weights(8),
        bias=weights(8, seed=1),
    ),
    "gelu": _one("Gelu"),
    "gelu by tanh": _one("Gelu", '<approximate="tanh">'),
    **GELU_FORMS,
    "erf": _one("Erf"),
    "reciprocal": _one("Reciprocal"),
    "heads": graph(
        """g (float[N,5,12] x) => (float[N,5,12] y) {
            s = Reshape (x, sizes) h = Transpose <perm=[0,2,3,1]> (s)
            t = Transpose <perm=[0,3,1,2]> (h) y = Reshape (t, joined) }""",
        sizes=numbers(0, 5, 3, 4),
        joined=numbers(0, -1, 12),
    ),
    "expand": graph(
        "g (float[1,1,8] x) => (float y) { y = Expand (x, sizes) }", sizes=numbers(2, 5, 8)
    ),
    "embedding": graph(
        "g (int64[N,5] ids) => (float[N,5,8] y) { y = Gather (table, ids) }", table=weights(IDS, 8)
    ),
    "first token": graph(
        "g (float[1,5,8] x) => (float y) { y = Gather <axis=1> (x, place) }",
        place=np.asarray(-5, np.int64),
    ),
    "other order": graph(
        "g (float[1,5,8] x) => (float y) { y = Gather <axis=2> (x, places) }",
        places=numbers(7, -7, 1),
    ),
    "channels in another order": graph(
        """g (float[1,3,8,8] x) => (float y) {
            c = Conv <pads=[1,1,1,1]> (x, w) y = Gather <axis=1> (c, places) }""",
        w=weights(4, 3, 3, 3),
        places=numbers(2, 0, 3, 1),
    ),
    "a few of many channels": graph(
        """g (float[1,3,8,8] x) => (float y) {
            c = Conv <pads=[1,1,1,1]> (x, w) y = Gather <axis=1> (c, places) }""",
        w=weights(16, 3, 3, 3),
        places=numbers(9, 0, 3),
    ),
    "channels behind the height": graph(
        """g (float[1,3,8,8] x) => (float y) {
            c = Conv <pads=[1,1,1,1]> (x, w) y = Transpose <perm=[0,2,1,3]> (c) }""",
        w=weights(4, 3, 3, 3),
    ),
    "mask": graph(
        """g (int64[1,5] ids, float[1,5,5] x) => (float y) {
            e = Equal (ids, zero) n = Not (e) m = Unsqueeze (n, axes) y = Where (m, x, low) }""",
        zero=numbers(4),
        axes=numbers(1),
        low=np.asarray(-1e4, np.float32),
    ),
    "ids compared": graph(
        """g (int64[1,5] ids) => (bool a, bool b, bool c, bool d) {
            a = Less (ids, four) b = LessOrEqual (ids, four)
            c = Greater (ids, four) d = GreaterOrEqual (ids, four) }""",
        four=numbers(4),
    ),
    "masks joined": graph(
        """g (float[1,5,8] x, float[1,1,8] o) => (bool y) {
            a = Less (x, o) b = GreaterOrEqual (x, low) c = And (a, b)
            d = Greater (x, high) e = LessOrEqual (x, low) f = Or (d, e)
            n = IsNaN (x) g = Or (f, n) y = Or (c, g) }""",
        low=np.asarray(-1, np.float32),
        high=np.asarray(2, np.float32),
    ),
    "largest": _reduced("ReduceMax", (-1,), 1),
    "least": _reduced("ReduceMin", (1, 2), 0),
    "sum": _reduced("ReduceSum", (1, 3), 0),
    "sum of squares": _reduced("ReduceSumSquare", (3,), 1),
    "length": _reduced("ReduceL2", (1,), 1),
    "mean": _reduced("ReduceMean", (1,), 0),
    "place of the largest": graph(
        """g (float[1,5,8] x) => (int64 y) { y = ArgMax <axis=-1, keepdims=0> (x) }"""
    ),
    "place of the least": graph("g (float[1,5,8] x) => (int64 y) { y = ArgMin <axis=1> (x) }"),
    "largest channels of a conv": graph(
        """g (float[1,3,8,8] x) => (float y) {
            c = Conv <pads=[1,1,1,1]> (x, w) m = ReduceMax <axes=[2,3], keepdims=0> (c)
            y = Softmax <axis=1> (m) }""",
        w=weights(4, 3, 3, 3),
    ),
    "softmax of channels": graph(
        """g (float[1,3,8,8] x) => (float y) {
            c = Conv <pads=[1,1,1,1]> (x, w) y = Softmax <axis=1> (c) }""",
        w=weights(4, 3, 3, 3),
    ),
}

_WEIGHTS: Mapping[str, Array] = {
    "w": integers(16, 6, seed=1),
    "ws": steps(6),
    "wz": np.zeros(6, np.int8),
    "b": weights(6, seed=2),
}
_READ = "xd = DequantizeLinear (x, s, z) wd = DequantizeLinear <axis=1> (w, ws, wz)"
_GIVEN = "y = QuantizeLinear (a, sy, zy)"

INTEGERS: Mapping[str, onnx.ModelProto] = {
    "integers to integers": graph(
        f"g (uint8[N,5,16] x) => (uint8[N,5,6] y) {{ {_READ} a = MatMul (xd, wd) {_GIVEN} }}",
        **_WEIGHTS,
        **_GRIDS,
    ),
    "one step for all weights": graph(
        f"""g (uint8[N,5,16] x) => (uint8[N,5,6] y) {{
            xd = DequantizeLinear (x, s, z) wd = DequantizeLinear (w, ws)
            a = MatMul (xd, wd) {_GIVEN} }}""",
        w=integers(16, 6, seed=1),
        ws=np.asarray(0.004, np.float32),
        **_GRIDS,
    ),
    "gemm with its bias": graph(
        f"""g (uint8[N,16] x) => (uint8[N,6] y) {{
            xd = DequantizeLinear (x, s, z) wd = DequantizeLinear <axis=0> (w, ws, wz)
            bd = DequantizeLinear <axis=0> (b, bs, bz)
            p = Gemm <transB=1> (xd, wd, bd) a = Relu (p) {_GIVEN} }}""",
        w=integers(6, 16, seed=1),
        ws=steps(6),
        wz=np.zeros(6, np.int8),
        b=np.arange(-300, 300, 100).astype(np.int32),
        bs=np.float32(0.03) * steps(6),
        bz=np.zeros(6, np.int32),
        **_GRIDS,
    ),
    "rounded behind a reshape": graph(
        f"""g (uint8[N,5,16] x) => (uint8 y) {{ {_READ} p = MatMul (xd, wd)
            r = Reshape (p, sizes) a = Transpose <perm=[0,2,1,3]> (r) {_GIVEN} }}""",
        sizes=numbers(1, 5, 2, 3),
        **_WEIGHTS,
        **_GRIDS,
    ),
    "moved integers": graph(
        """g (uint8[1,5,16] x) => (uint8 y) { xd = DequantizeLinear (x, s, z)
            r = Reshape (xd, sizes) rq = QuantizeLinear (r, s, z)
            rd = DequantizeLinear (rq, s, z) a = Transpose <perm=[0,2,1,3]> (rd)
            aq = QuantizeLinear (a, s, z) ad = DequantizeLinear (aq, s, z)
            g = Gather <axis=2> (ad, places) y = QuantizeLinear (g, s, z) }""",
        sizes=numbers(1, 5, 4, 4),
        places=numbers(3, 1),
        **_GRIDS,
    ),
    "attention": graph(
        """g (uint8[1,2,5,8] x, uint8[1,2,8,5] k) => (uint8 y) {
            xd = DequantizeLinear (x, s, z) kd = DequantizeLinear (k, s, z)
            p = MatMul (xd, kd) pq = QuantizeLinear (p, sy, zy)
            pd = DequantizeLinear (pq, sy, zy) a = Softmax <axis=-1> (pd)
            y = QuantizeLinear (a, share, none) }""",
        share=np.asarray(1 / 255, np.float32),
        none=np.asarray(0, np.uint8),
        **_GRIDS,
    ),
    "norm and gelu": graph(
        f"""g (uint8[1,5,8] x) => (uint8 y) {{ xd = DequantizeLinear (x, s, z)
            n = LayerNormalization (xd, w, b) nq = QuantizeLinear (n, s, z)
            nd = DequantizeLinear (nq, s, z) a = Gelu (nd) {_GIVEN} }}""",
        20,
        w=weights(8),
        b=weights(8, seed=1),
        **_GRIDS,
    ),
    "erf between quantisers": graph(
        f"""g (uint8[1,5,8] x) => (uint8 y) {{ xd = DequantizeLinear (x, s, z)
            a = Erf (xd) {_GIVEN} }}""",
        **_GRIDS,
    ),
    "largest integers": graph(
        """g (uint8[1,5,8] x) => (uint8 y) { xd = DequantizeLinear (x, s, z)
            m = ReduceMax <axes=[1], keepdims=0> (xd) y = QuantizeLinear (m, s, z) }""",
        **_GRIDS,
    ),
    "embedding of integers": graph(
        """g (int64[N,5] ids) => (uint8[N,5,8] y) { t = DequantizeLinear (table, s, z)
            r = Gather (t, ids) y = QuantizeLinear (r, s, z) }""",
        table=np.random.default_rng(3).integers(0, 256, (IDS, 8)).astype(np.uint8),
        **_GRIDS,
    ),
}

# Layers of integers whose answers stay reals.
BOTH: Mapping[str, onnx.ModelProto] = {
    "integers to reals": graph(
        f"g (uint8[N,5,16] x) => (float[N,5,6] y) {{ {_READ} y = MatMul (xd, wd) }}",
        **_WEIGHTS,
        **_GRIDS,
    ),
    "integers to reals, bias, relu": graph(
        f"""g (uint8[N,5,16] x) => (float[N,5,6] y) {{ {_READ}
            p = MatMul (xd, wd) a = Add (b, p) y = Relu (a) }}""",
        **_WEIGHTS,
        **_GRIDS,
    ),
    "read as integers and as reals": graph(
        f"""g (uint8[N,5,16] x) => (uint8[N,5,6] y, float[N,5,6] r) {{ {_READ}
            a = MatMul (xd, wd) r = Relu (a) {_GIVEN} }}""",
        **_WEIGHTS,
        **_GRIDS,
    ),
    "given as integers and as reals": graph(
        f"""g (uint8[N,5,16] x) => (uint8[N,5,6] y, float[N,5,6] a) {{ {_READ}
            a = MatMul (xd, wd) {_GIVEN} }}""",
        **_WEIGHTS,
        **_GRIDS,
    ),
    "a last gemm": graph(
        """g (uint8[N,16] x) => (float[N,6] y) {
            xd = DequantizeLinear (x, s, z) wd = DequantizeLinear <axis=0> (w, ws, wz)
            bd = DequantizeLinear <axis=0> (b, bs, bz)
            y = Gemm <transB=1> (xd, wd, bd) }""",
        w=integers(6, 16, seed=1),
        ws=steps(6),
        wz=np.zeros(6, np.int8),
        b=np.arange(-300, 300, 100).astype(np.int32),
        bs=np.float32(0.03) * steps(6),
        bz=np.zeros(6, np.int32),
        **_GRIDS,
    ),
    "weights alone are integers": graph(
        """g (float[N,5,16] x) => (float[N,5,6] y) {
            wd = DequantizeLinear <axis=1> (w, ws, wz) y = MatMul (x, wd) }""",
        w=integers(16, 6, seed=1),
        ws=steps(6),
        wz=np.zeros(6, np.int8),
    ),
}
