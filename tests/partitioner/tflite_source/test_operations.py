"""Each operation as ONNX answers what LiteRT answers, in the file's layout and channels first."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tests.partitioner.tflite_source.tflites import Tflite, answers_of, with_fields

from isthmus_partitioner.runtime import open_session, run_one
from isthmus_partitioner.tflite_source.emitter import emit
from isthmus_partitioner.tflite_source.flatbuffer import read_source

IMAGE = (1, 6, 7, 4)
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
RELU, RELU6 = schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.RELU6

Draw = Callable[[Tflite, int], int]
Shape = Sequence[int]


def conv(shape: Shape, weights: Shape, **fields: Any) -> Draw:
    options = with_fields(schema.Conv2DOptionsT(), **{"strideH": 1, "strideW": 1, **fields})

    def draw(build: Tflite, image: int) -> int:
        inputs = [image, build.noise(*weights), build.noise(weights[0])]
        return build.make("CONV_2D", inputs, shape, options)

    return draw


def depthwise(shape: Shape, weights: Shape, **fields: Any) -> Draw:
    defaults = {"strideH": 1, "strideW": 1, "depthMultiplier": weights[3] // 4}
    options = with_fields(schema.DepthwiseConv2DOptionsT(), **{**defaults, **fields})

    def draw(build: Tflite, image: int) -> int:
        inputs = [image, build.noise(*weights), build.noise(weights[3])]
        return build.make("DEPTHWISE_CONV_2D", inputs, shape, options)

    return draw


def transposed(shape: Shape, kernel: int, **fields: Any) -> Draw:
    options = with_fields(schema.TransposeConvOptionsT(), **fields)

    def draw(build: Tflite, image: int) -> int:
        inputs = [build.integers(*shape), build.noise(shape[3], kernel, kernel, 4), image]
        return build.make("TRANSPOSE_CONV", inputs, shape, options)

    return draw


def pool(kind: str, shape: Shape, **fields: Any) -> Draw:
    options = with_fields(schema.Pool2DOptionsT(), **fields)
    return lambda build, image: build.make(kind, [image], shape, options)


def plain(kind: str, options: Any = None, shape: Shape = IMAGE, **fields: Any) -> Draw:
    if options is not None:
        options = with_fields(options, **fields)
    return lambda build, image: build.make(kind, [image], shape, options)


def positive(kind: str) -> Draw:
    """Of the absolute value, and a bit: where roots and logarithms are defined."""

    def draw(build: Tflite, image: int) -> int:
        size = build.make("ABS", [image], IMAGE)
        more = build.make("ADD", [size, build.constant(0.1)], IMAGE, schema.AddOptionsT())
        return build.make(kind, [more], IMAGE)

    return draw


def both(kind: str, other: Shape, options: Any = None, **fields: Any) -> Draw:
    """With a constant of a shape that broadcasts."""
    if options is not None:
        options = with_fields(options, **fields)
    return lambda build, image: build.make(kind, [image, build.noise(*other)], IMAGE, options)


def moved(kind: str, shape: Shape, options: Any, *lists: Shape, **fields: Any) -> Draw:
    """With lists of integers as further inputs."""
    options = options if options is None else with_fields(options, **fields)

    def draw(build: Tflite, image: int) -> int:
        return build.make(kind, [image, *(build.integers(*v) for v in lists)], shape, options)

    return draw


def joined(axis: int, shape: Shape) -> Draw:
    options = with_fields(schema.ConcatenationOptionsT(), axis=axis)

    def draw(build: Tflite, image: int) -> int:
        return build.make("CONCATENATION", [image, build.noise(*IMAGE), image], shape, options)

    return draw


def split(kind: str) -> Draw:
    """Into four of one channel, or into channels 1 and 3: the second."""

    def draw(build: Tflite, image: int) -> int:
        sizes = (1, 1, 1, 1) if kind == "SPLIT" else (1, 3)
        axis = build.constant(np.array(3, np.int32))
        parts = [build.tensor((*IMAGE[:3], size)) for size in sizes]
        if kind == "SPLIT":
            options = with_fields(schema.SplitOptionsT(), numSplits=4)
            build.op(kind, [axis, image], parts, options)
        else:
            options = with_fields(schema.SplitVOptionsT(), numSplits=2)
            build.op(kind, [image, build.integers(*sizes), axis], parts, options)
        return parts[1]

    return draw


def dense(*, keeps: bool = False, fused: int = 0) -> Draw:
    options = with_fields(
        schema.FullyConnectedOptionsT(), keepNumDims=keeps, fusedActivationFunction=fused
    )
    shape = (*IMAGE[:3], 5) if keeps else (42, 5)

    def draw(build: Tflite, image: int) -> int:
        inputs = [image, build.noise(5, 4), build.noise(5)]
        return build.make("FULLY_CONNECTED", inputs, shape, options)

    return draw


def product(adj_x: bool, adj_y: bool) -> Draw:
    options = with_fields(schema.BatchMatMulOptionsT(), adjX=adj_x, adjY=adj_y)
    rows, inner = (4, 7) if adj_x else (7, 4)
    other = (1, 6, 3, inner) if adj_y else (1, 6, inner, 3)

    def draw(build: Tflite, image: int) -> int:
        return build.make("BATCH_MATMUL", [image, build.noise(*other)], (1, 6, rows, 3), options)

    return draw


def strided(shape: Shape, begin: Shape, end: Shape, steps: Shape, **masks: int) -> Draw:
    return moved("STRIDED_SLICE", shape, schema.StridedSliceOptionsT(), begin, end, steps, **masks)


def resize(kind: str, height: int, width: int, **fields: Any) -> Draw:
    options = {
        "RESIZE_BILINEAR": schema.ResizeBilinearOptionsT,
        "RESIZE_NEAREST_NEIGHBOR": schema.ResizeNearestNeighborOptionsT,
    }[kind]()
    return moved(kind, (1, height, width, 4), options, (height, width), **fields)


def padded_with(build: Tflite, image: int) -> int:
    pads = build.constant(np.array([[0, 0], [1, 0], [0, 2], [0, 1]], np.int32))
    inputs = [image, pads, build.constant(np.float32(0.5))]
    return build.make("PADV2", inputs, (1, 7, 9, 5), schema.PadV2OptionsT())


def padded(kind: str, options: Any) -> Draw:
    def draw(build: Tflite, image: int) -> int:
        pads = build.constant(np.array([[0, 0], [1, 2], [0, 2], [0, 1]], np.int32))
        return build.make(kind, [image, pads], (1, 9, 9, 5), options)

    return draw


def packed(build: Tflite, image: int) -> int:
    options = with_fields(schema.PackOptionsT(), valuesCount=2, axis=1)
    flat = build.make("RESHAPE", [image, build.integers(6, 28)], (6, 28))
    return build.make("PACK", [flat, build.noise(6, 28)], (6, 2, 28), options)


def unpacked(build: Tflite, image: int) -> int:
    rows = [build.tensor((1, 6, 4)) for _ in range(7)]
    build.op("UNPACK", [image], rows, with_fields(schema.UnpackOptionsT(), num=7, axis=2))
    return rows[5]


def gathered(build: Tflite, image: int) -> int:
    options = with_fields(schema.GatherOptionsT(), axis=2)
    return build.make("GATHER", [image, build.integers(5, 0)], (1, 6, 2, 4), options)


def most_likely(build: Tflite, image: int) -> int:
    options = with_fields(schema.ArgMaxOptionsT(), outputType=schema.TensorType.INT32)
    axis = build.constant(np.array(3, np.int32))
    return build.make("ARG_MAX", [image, axis], IMAGE[:3], options, result=np.int32)


def as_integers(build: Tflite, image: int) -> int:
    large = build.make("MUL", [image, build.constant(9.0)], IMAGE, schema.MulOptionsT())
    return build.make("CAST", [large], IMAGE, schema.CastOptionsT(), result=np.int32)


def chosen(build: Tflite, image: int) -> int:
    zero = build.constant(0.0)
    above = build.make("GREATER", [image, zero], IMAGE, schema.GreaterOptionsT(), result=np.bool_)
    inputs = [above, image, build.noise(*IMAGE)]
    return build.make("SELECT_V2", inputs, IMAGE, schema.SelectV2OptionsT())


def half_weights(build: Tflite, image: int) -> int:
    """Weights in float16 behind a DEQUANTIZE."""
    stored = build.constant(build.random.uniform(-1, 1, (5, 3, 3, 4)).astype(np.float16))
    weights = build.make("DEQUANTIZE", [stored], (5, 3, 3, 4))
    options = with_fields(schema.Conv2DOptionsT(), padding=SAME, strideH=1, strideW=1)
    return build.make("CONV_2D", [image, weights, build.noise(5)], (1, 6, 7, 5), options)


def own_shape(build: Tflite, image: int) -> int:
    options = with_fields(schema.ShapeOptionsT(), outType=schema.TensorType.INT32)
    return build.make("SHAPE", [image], (4,), options, result=np.int32)


REDUCED = schema.ReducerOptionsT
CASES: dict[str, Draw] = {
    "conv same": conv((1, 6, 7, 5), (5, 3, 3, 4), padding=SAME),
    "conv valid": conv((1, 4, 6, 5), (5, 3, 2, 4), padding=VALID),
    "conv strided": conv((1, 3, 4, 5), (5, 3, 3, 4), padding=SAME, strideH=2, strideW=2),
    "conv dilated": conv(
        (1, 6, 7, 5), (5, 3, 3, 4), padding=SAME, dilationHFactor=2, dilationWFactor=2
    ),
    "conv grouped": conv((1, 6, 7, 6), (6, 3, 3, 2), padding=SAME),
    "conv relu6": conv((1, 6, 7, 5), (5, 1, 1, 4), fusedActivationFunction=RELU6),
    "depthwise": depthwise((1, 6, 7, 4), (1, 3, 3, 4), padding=SAME),
    "depthwise wider": depthwise((1, 3, 4, 8), (1, 5, 5, 8), padding=SAME, strideH=2, strideW=2),
    "transposed same": transposed((1, 12, 14, 3), 3, padding=SAME, strideH=2, strideW=2),
    "transposed valid": transposed((1, 13, 15, 3), 3, padding=VALID, strideH=2, strideW=2),
    "dense": dense(fused=RELU),
    "dense kept": dense(keeps=True),
    "product": product(False, False),
    "product turned": product(True, False),
    "product other turned": product(False, True),
    "max pool": pool(
        "MAX_POOL_2D", (1, 3, 4, 4), padding=SAME, filterHeight=3, filterWidth=3, strideH=2,
        strideW=2,
    ),
    "average pool": pool(
        "AVERAGE_POOL_2D", (1, 6, 7, 4), padding=SAME, filterHeight=3, filterWidth=2, strideH=1,
        strideW=1, fusedActivationFunction=RELU,
    ),
    "average pool valid": pool(
        "AVERAGE_POOL_2D", (1, 2, 3, 4), padding=VALID, filterHeight=3, filterWidth=3, strideH=2,
        strideW=2,
    ),
    "mean of image": moved("MEAN", (1, 4), REDUCED(), (1, 2)),
    "mean kept": moved("MEAN", (1, 1, 1, 4), REDUCED(), (1, 2), keepDims=True),
    "mean of a row": moved("MEAN", (1, 7, 4), REDUCED(), (1,)),
    "sum of channels": moved("SUM", (1, 6, 7), REDUCED(), (-1,)),
    "largest": moved("REDUCE_MAX", (1, 6, 1, 4), REDUCED(), (2,), keepDims=True),
    "smallest": moved("REDUCE_MIN", (1, 6, 7), REDUCED(), (3,)),
    "reshape": moved("RESHAPE", (1, 42, 4), None, (1, 42, 4)),
    "reshape open": moved("RESHAPE", (42, 4), None, (-1, 4)),
    "reshape by options": plain("RESHAPE", schema.ReshapeOptionsT(), (1, 168), newShape=[1, 168]),
    "expand dims": moved("EXPAND_DIMS", (1, 6, 7, 1, 4), schema.ExpandDimsOptionsT(), (3,)),
    "squeeze": plain("SQUEEZE", schema.SqueezeOptionsT(), (6, 7, 4), squeezeDims=[0]),
    "transpose": moved("TRANSPOSE", (1, 4, 7, 6), schema.TransposeOptionsT(), (0, 3, 2, 1)),
    "transpose to planes": moved(
        "TRANSPOSE", (1, 4, 6, 7), schema.TransposeOptionsT(), (0, 3, 1, 2)
    ),
    "concatenation": joined(3, (1, 6, 7, 12)),
    "concatenation of rows": joined(1, (1, 18, 7, 4)),
    "split": split("SPLIT"),
    "split of sizes": split("SPLIT_V"),
    "slice": moved("SLICE", (1, 2, 7, 3), schema.SliceOptionsT(), (0, 1, 0, 1), (1, 2, -1, 3)),
    "strided slice": strided((1, 3, 3, 4), (0, 1, 6, 0), (1, 6, 0, 4), (1, 2, -2, 1)),
    "strided slice masked": strided(
        (1, 6, 4, 4), (0, 3, 1, 0), (0, 5, -2, 0), (1, 1, 1, 1), beginMask=11, endMask=11
    ),
    "strided slice shrunk": strided(
        (1, 7, 4), (0, -1, 0, 0), (0, 0, 0, 0), (1, 1, 1, 1), beginMask=13, endMask=13,
        shrinkAxisMask=2,
    ),
    "pad": padded("PAD", schema.PadOptionsT()),
    "pad with a value": padded_with,
    "mirror pad": padded("MIRROR_PAD", schema.MirrorPadOptionsT()),
    "bilinear centred": resize("RESIZE_BILINEAR", 12, 10, halfPixelCenters=True),
    "bilinear cornered": resize("RESIZE_BILINEAR", 11, 13, alignCorners=True),
    "bilinear": resize("RESIZE_BILINEAR", 9, 14),
    "nearest centred": resize("RESIZE_NEAREST_NEIGHBOR", 12, 17, halfPixelCenters=True),
    "nearest cornered": resize("RESIZE_NEAREST_NEIGHBOR", 11, 13, alignCorners=True),
    "nearest": resize("RESIZE_NEAREST_NEIGHBOR", 13, 3),
    "softmax": plain("SOFTMAX", schema.SoftmaxOptionsT(), beta=2.0),
    "log softmax": plain("LOG_SOFTMAX", schema.LogSoftmaxOptionsT()),
    "logistic": plain("LOGISTIC"),
    "tanh": plain("TANH"),
    "relu": plain("RELU"),
    "relu6": plain("RELU6"),
    "relu to one": plain("RELU_N1_TO_1"),
    "leaky relu": plain("LEAKY_RELU", schema.LeakyReluOptionsT(), alpha=0.3),
    "prelu": both("PRELU", (1, 1, 4)),
    "hard swish": plain("HARD_SWISH", schema.HardSwishOptionsT()),
    "elu": plain("ELU"),
    "gelu": plain("GELU", schema.GeluOptionsT()),
    "gelu approximate": plain("GELU", schema.GeluOptionsT(), approximate=True),
    "add": both("ADD", IMAGE, schema.AddOptionsT(), fusedActivationFunction=RELU),
    "add channels": both("ADD", (4,), schema.AddOptionsT()),
    "add columns": both("ADD", (7, 1), schema.AddOptionsT()),
    "sub": both("SUB", (1, 1, 1, 4), schema.SubOptionsT()),
    "mul": both("MUL", (), schema.MulOptionsT(), fusedActivationFunction=RELU6),
    "div": both("DIV", (4,), schema.DivOptionsT()),
    "maximum": both("MAXIMUM", (4,), schema.MaximumMinimumOptionsT()),
    "minimum": both("MINIMUM", IMAGE, schema.MaximumMinimumOptionsT()),
    "squared difference": both("SQUARED_DIFFERENCE", (4,), schema.SquaredDifferenceOptionsT()),
    "abs": plain("ABS"),
    "neg": plain("NEG"),
    "exp": plain("EXP"),
    "log": positive("LOG"),
    "sqrt": positive("SQRT"),
    "rsqrt": positive("RSQRT"),
    "square": plain("SQUARE"),
    "pow": lambda build, image: build.make(
        "POW", [build.make("ABS", [image], IMAGE), build.constant(1.5)], IMAGE, schema.PowOptionsT()
    ),
    "gather": gathered,
    "cast": as_integers,
    "pack": packed,
    "unpack": unpacked,
    "arg max": most_likely,
    "select": chosen,
    "shape": own_shape,
    "depth to space": plain("DEPTH_TO_SPACE", schema.DepthToSpaceOptionsT(), (1, 12, 14, 1),
                            blockSize=2),
    "half weights": half_weights,
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_operation_answers_as_litert_does(case: str, tmp_path: Path) -> None:
    """On an input, and on what a convolution made, which is there channels first."""
    build = Tflite()
    image = build.input(*IMAGE)
    outputs = [CASES[case](build, source) for source in (image, build.conv(image, 4))]
    path = build.save(tmp_path / "model.tflite", *outputs)
    feed = build.random.uniform(-2, 2, IMAGE).astype(np.float32)

    session = open_session(emit(read_source(path)), threads=1)
    found = run_one(session, {"in0": feed}, [f"t{number}" for number in outputs])
    for ours, wanted in zip(found, answers_of(path, [feed]), strict=True):
        assert ours.dtype == wanted.dtype
        assert np.allclose(ours.astype(np.float64), wanted, rtol=1e-4, atol=1e-5)
