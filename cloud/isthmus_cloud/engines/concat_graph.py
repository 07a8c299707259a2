"""One ONNX graph written by hand: it puts batches together in the memory of the device they are in.

ONNX Runtime has no call for that, and the service has no tool that writes graphs: it needs none
but this one. The bytes are protobuf's: a tag (field number, kind) before each value. Field numbers
are those of the public onnx.proto.
"""

from itertools import count as counting

_IR_VERSION, _OPSET = 8, 17  # what every ONNX Runtime since 1.15 reads
_INT_ATTRIBUTE = 2

__all__ = ["concat_graph"]


def concat_graph(count: int, element_type: int, rank: int, axis: int) -> bytes:
    """A model that joins `count` tensors along `axis`, of any sizes.

    `element_type` is ONNX's number of their type (1 is float32, 2 is uint8), `rank` the number of
    their dimensions, `axis` counts from 0. Its inputs are "0", "1", …, its output is "joined".
    """
    names = [str(index) for index in range(count)]
    sizes = counting()

    def tensor(name: str) -> bytes:
        dims = b"".join(_field(1, _text(2, f"d{next(sizes)}")) for _ in range(rank))
        kind = _field(1, _number(1, element_type) + _field(2, dims))
        return _text(1, name) + _field(2, kind)

    attribute = _text(1, "axis") + _number(3, axis) + _number(20, _INT_ATTRIBUTE)
    node = b"".join(_text(1, name) for name in names)
    node += _text(2, "joined") + _text(4, "Concat") + _field(5, attribute)
    graph = _field(1, node) + _text(2, "join")
    graph += b"".join(_field(11, tensor(name)) for name in names) + _field(12, tensor("joined"))
    return _number(1, _IR_VERSION) + _field(7, graph) + _field(8, _number(2, _OPSET))


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the highest bit set."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
