"""Cuts, candidates and tensors that the tests of the wire are made of."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from isthmus import (
    UNMEASURED,
    Candidate,
    Cut,
    CutTensor,
    Encoding,
    FrameEncoder,
    Levels,
    Predictor,
    Quantisation,
    Rung,
    Stage,
    Symbols,
    TensorSpec,
    requantise_table,
)
from isthmus.tensors import (
    DataType,
)
from isthmus.v1 import split_pb2 as pb

AnyArray = NDArray[np.generic]
UInt8Array = NDArray[np.uint8]

DATA_TYPES: tuple[DataType, ...] = (
    "bool",
    "uint8",
    "int8",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
)
LEVELS: tuple[Levels, ...] = (16, 256)
PREDICTORS: tuple[Predictor, ...] = ("none", "left", "up")
SOURCE = Quantisation(scale=0.05, zero_point=120)


def plain(
    data_type: DataType, *shape: int, name: str = "ids", batch_axis: int | None = 0
) -> CutTensor:
    """A tensor that crosses as it is."""
    spec = TensorSpec(name=name, data_type=data_type, shape=shape, batch_axis=batch_axis)
    return CutTensor(boundary=spec, wire=spec)


def quantised(*shape: int, name: str = "map", batch_axis: int | None = 0) -> CutTensor:
    """A tensor of the int8 head, whose integers a table makes symbols of."""
    spec = TensorSpec(name=name, data_type="uint8", shape=shape, batch_axis=batch_axis)
    return CutTensor(boundary=spec, wire=spec, quantisation=SOURCE)


def staged(*shape: int, name: str = "hidden", batch_axis: int | None = 0) -> CutTensor:
    """A tensor of the fp32 head: its stage quantises, and what the encoder gets are symbols."""
    boundary = TensorSpec(name=name, data_type="float32", shape=shape, batch_axis=batch_axis)
    wire = msgspec.structs.replace(boundary, data_type="uint8")
    return CutTensor(boundary=boundary, wire=wire, stage=Stage())


def symbols(levels: Levels, predictor: Predictor = "none", zero_point: int = 8) -> Symbols:
    """An encoding whose step means nothing."""
    return Symbols(levels=levels, step=0.4, zero_point=zero_point, predictor=predictor)


def cut_of(*tensors: CutTensor) -> Cut:
    """A cut in the middle of some network."""
    return Cut(
        id="cut",
        chain="whole",
        depth=1,
        macs_share=0.5,
        tensors=tensors,
        tail=("cloud/tail-cut.onnx",),
    )


def candidate_of(*rungs: Sequence[Encoding], name: str = "cut-fp32") -> Candidate:
    """A candidate with these rungs and no figures."""
    return Candidate(
        id=name,
        cut="cut",
        precision="fp32",
        rungs=tuple(Rung(encodings=tuple(each), figures=UNMEASURED) for each in rungs),
        chosen=0,
        kept=True,
        reason="invented for tests",
    )


def carried(frame: pb.Frame) -> pb.Frame:
    """The frame as it comes out of the network: parsed from its bytes."""
    return pb.Frame.FromString(frame.SerializeToString())


def crossing(tensor: CutTensor, encoding: Encoding, values: AnyArray) -> AnyArray:
    """What has to arrive for `values`, with nothing held."""
    if isinstance(encoding, Symbols) and tensor.quantisation is not None:
        return requantise_table(tensor.quantisation, encoding)[values.view(np.uint8)]
    return values


def same(one: AnyArray, other: AnyArray) -> bool:
    """Equal to the bit (a NaN too), in shape and in type."""
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and one.tobytes() == other.tobytes()


def laplacian(shape: tuple[int, ...], scale: float, levels: Levels, seed: int = 0) -> UInt8Array:
    """Symbols of values like those of a network's linear outputs."""
    values = np.random.default_rng(seed).laplace(0, scale, shape)
    wire: UInt8Array = np.clip(np.rint(values) + levels // 2, 0, levels - 1).astype(np.uint8)
    return wire


def mostly(blank: int, share: float, count: int, levels: Levels, seed: int = 0) -> UInt8Array:
    """`count` symbols, of which a share is `blank`: exactly all at 1, exactly none at 0."""
    random = np.random.default_rng(seed)
    others = (blank + random.integers(1, levels, count)) % levels
    return np.where(random.random(count) < share, blank, others).astype(np.uint8)


def array_of(spec: TensorSpec, seed: int, share: float) -> AnyArray:
    """Arbitrary bits of `graph_shape` (of floats: NaN and infinities too), a share of zeros."""
    random = np.random.default_rng(seed)
    data_type = np.dtype(spec.data_type)
    words = random.integers(0, 256, (spec.size, data_type.itemsize), dtype=np.uint8)
    words[random.random(spec.size) < share] = 0
    if spec.data_type == "bool":
        words &= 1
    return words.view(data_type).reshape(spec.graph_shape)


def encoded(
    tensor: CutTensor, encoding: Encoding, values: AnyArray
) -> tuple[pb.Frame, Candidate, Cut]:
    """One tensor, sent once."""
    candidate, cut = candidate_of([encoding]), cut_of(tensor)
    return FrameEncoder().encode(candidate, cut, 0, [values]), candidate, cut
