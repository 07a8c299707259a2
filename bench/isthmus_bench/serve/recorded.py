"""Recorded frames of one candidate: the bytes that a device sends, and what the answer is."""

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from isthmus import TensorSpec

TOLERANCE = 1e-3  # of the largest value of the answer: batching changes the order of sums

__all__ = ["Case", "Item", "load_case", "save_case"]


class Item(msgspec.Struct, frozen=True):
    """One frame: as the message that crosses, as the raw bytes of its wire tensors (one after the
    other), and the bytes of the first output, float32, that its tail answers."""

    frame: bytes
    raw: bytes
    answer: bytes

    def is_answer(self, answer: bytes) -> bool:
        """Whether these bytes of a first output are this frame's, up to rounding."""
        wanted, got = _values(self.answer), _values(answer)
        if wanted.shape != got.shape:
            return False
        return bool(np.abs(wanted - got).max() <= TOLERANCE * max(1.0, np.abs(wanted).max()))


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Frames of one candidate; `macs_share` of the work is done before they are sent.

    `wires` are the tensors in `Item.raw`.
    """

    candidate: str
    cut: str
    macs_share: float
    wires: tuple[TensorSpec, ...]
    items: tuple[Item, ...]


def save_case(case: Case, path: Path) -> None:
    """Write it for other processes."""
    path.write_bytes(msgspec.msgpack.encode(case))


def load_case(path: str | Path) -> Case:
    """What `save_case` wrote."""
    return msgspec.msgpack.decode(Path(path).read_bytes(), type=Case)


def _values(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, np.float32)
