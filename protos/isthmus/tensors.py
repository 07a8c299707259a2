"""Arrays to wire tensors and back; sizes are compared with the manifest before decoding."""

import math

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import WireError
from isthmus.manifest import Encoding, Jpeg, Manifest, Quantisation, Raw, Symbols, TensorSpec
from isthmus.pictures import decode_jpeg, encode_jpeg
from isthmus.symbols import Coded, SymbolCoder, max_coded_bytes, requantise_table
from isthmus.v1 import split_pb2 as pb

__all__ = [
    "MESSAGE_HEADROOM_BYTES",
    "TensorEncoder",
    "decode_answer",
    "decode_tensor",
    "encode_answer",
    "max_frame_bytes",
    "max_payload_bytes",
]

AnyArray = NDArray[np.generic]

_DATA_TYPES: dict[str, pb.DataType] = {
    "uint8": pb.DATA_TYPE_UINT8,
    "float32": pb.DATA_TYPE_FLOAT32,
    "int64": pb.DATA_TYPE_INT64,
}
_JPEG_HEADROOM_BYTES = 64 * 1024
MESSAGE_HEADROOM_BYTES = 64 * 1024  # names, shapes, and the padding of a heartbeat


class TensorEncoder:
    """Encodes one cut tensor [1,*shape] in one encoding, over and over; one per thread."""

    def __init__(
        self,
        spec: TensorSpec,
        encoding: Encoding,
        source: Quantisation | None,
        coder: SymbolCoder,
    ) -> None:
        self._spec = spec
        self._encoding = encoding
        self._coder = coder
        self._table = np.arange(256, dtype=np.uint8)
        if isinstance(encoding, Symbols):
            if source is None:
                raise WireError(
                    f"tensor {spec.name!r} is not quantised and cannot cross as symbols"
                )
            self._table = requantise_table(source, encoding)

    def encode(self, tensor: NDArray[np.uint8]) -> pb.Tensor:
        """The message for one item, a uint8 array [1,*shape]."""
        message = pb.Tensor(
            name=self._spec.name,
            data_type=_DATA_TYPES[self._spec.data_type],
            shape=tensor.shape,
        )
        match self._encoding:
            case Symbols() as symbols:
                coded = self._coder.encode(self._table[tensor], symbols.levels)
                message.encoding = pb.ENCODING_SYMBOLS
                message.levels, message.step = symbols.levels, symbols.step
                message.zero_point, message.stored = symbols.zero_point, coded.stored
                message.payload = coded.payload
            case Jpeg(quality=quality):
                message.encoding = pb.ENCODING_JPEG
                message.payload = encode_jpeg(tensor[0], quality)
            case Raw():
                message.encoding = pb.ENCODING_RAW
                message.payload = tensor.tobytes()
        return message


def max_payload_bytes(spec: TensorSpec, encoding: Encoding) -> int:
    """The largest payload that is accepted for one item of `spec`."""
    match encoding:
        case Symbols(levels=levels):
            return max_coded_bytes(spec.size, levels)
        case Jpeg():
            return spec.nbytes + _JPEG_HEADROOM_BYTES
        case Raw():
            return spec.nbytes


def max_frame_bytes(manifest: Manifest) -> int:
    """The largest message that a device of this plan ever sends: gRPC's bound, never unlimited."""
    payloads = (
        max_payload_bytes(cut.tensor, candidate.encoding)
        for candidate in manifest.candidates
        if (cut := manifest.cut_of(candidate)).tensor is not None and candidate.encoding is not None
    )
    return max(payloads, default=0) + MESSAGE_HEADROOM_BYTES


def decode_tensor(
    message: pb.Tensor, spec: TensorSpec, encoding: Encoding, coder: SymbolCoder
) -> NDArray[np.uint8]:
    """The array [1,*shape] of a frame's tensor; WireError names what the plan says otherwise."""
    _check_header(message, spec, encoding)
    shape = (1, *spec.shape)
    match encoding:
        case Symbols(levels=levels):
            coded = Coded(message.payload, message.stored)
            return coder.decode(coded, spec.size, levels).reshape(shape)
        case Jpeg():
            height, width, _ = spec.shape
            return decode_jpeg(message.payload, height, width).reshape(shape)
        case Raw():
            return np.frombuffer(message.payload, np.uint8).reshape(shape)


def _check_header(message: pb.Tensor, spec: TensorSpec, encoding: Encoding) -> None:
    expected: tuple[tuple[str, object, object], ...] = (
        ("shape", tuple(message.shape), (1, *spec.shape)),
        ("data type", message.data_type, _DATA_TYPES[spec.data_type]),
        ("encoding", message.encoding, _wire_encoding(encoding)),
    )
    if isinstance(encoding, Symbols):
        expected += (
            ("levels", message.levels, encoding.levels),
            ("step", message.step, float(np.float32(encoding.step))),
            ("zero point", message.zero_point, encoding.zero_point),
        )
    for what, got, wanted in expected:
        if got != wanted:
            raise WireError(f"tensor {spec.name!r}: {what} is {got}, the plan says {wanted}")
    limit = max_payload_bytes(spec, encoding)
    size = len(message.payload)
    if size > limit or (isinstance(encoding, Raw) and size != limit):
        raise WireError(f"tensor {spec.name!r}: payload of {size} bytes, the plan allows {limit}")


def _wire_encoding(encoding: Encoding) -> pb.Encoding:
    match encoding:
        case Symbols():
            return pb.ENCODING_SYMBOLS
        case Jpeg():
            return pb.ENCODING_JPEG
        case Raw():
            return pb.ENCODING_RAW


def encode_answer(spec: TensorSpec, output: AnyArray, top_k: int) -> pb.Tensor:
    """An output [1,*shape] for the way down; `top_k` > 0 sends only each row's greatest values.

    On a thin link 1000 float32 probabilities (4 KB) cost as much as the cut tensor itself.
    """
    message = pb.Tensor(name=spec.name, data_type=_DATA_TYPES[spec.data_type], shape=output.shape)
    if 0 < top_k < output.size and spec.data_type == "float32":
        row = output.reshape(-1)
        best = np.argsort(row)[::-1][:top_k]
        message.encoding, message.top_k = pb.ENCODING_TOP_K, top_k
        message.payload = best.astype("<u4").tobytes() + row[best].astype("<f4").tobytes()
    else:
        message.encoding = pb.ENCODING_RAW
        message.payload = np.ascontiguousarray(output).tobytes()
    return message


def decode_answer(message: pb.Tensor, spec: TensorSpec) -> AnyArray:
    """The output [1,*shape]; after `top_k`, values that were not sent read -inf."""
    shape = (1, *spec.shape)
    if tuple(message.shape) != shape or message.data_type != _DATA_TYPES[spec.data_type]:
        raise WireError(f"output {spec.name!r}: {tuple(message.shape)}, the plan says {shape}")
    if message.encoding == pb.ENCODING_RAW and len(message.payload) == spec.nbytes:
        return np.frombuffer(message.payload, np.dtype(spec.data_type)).reshape(shape)
    if message.encoding == pb.ENCODING_TOP_K and len(message.payload) == 8 * message.top_k:
        return _scatter(message, math.prod(shape)).reshape(shape)
    raise WireError(f"output {spec.name!r}: payload of {len(message.payload)} bytes does not fit")


def _scatter(message: pb.Tensor, size: int) -> NDArray[np.float32]:
    k = message.top_k
    indices = np.frombuffer(message.payload, "<u4", count=k)
    if k > size or (k and indices.max() >= size):
        raise WireError(f"output {message.name!r}: an index lies outside of its {size} values")
    row = np.full(size, -np.inf, np.float32)
    row[indices] = np.frombuffer(message.payload, "<f4", offset=4 * k)
    return row
