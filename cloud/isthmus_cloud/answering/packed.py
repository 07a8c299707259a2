"""A frame or an item as bytes, on its way from one process of the service to another."""

import msgspec
import numpy as np

from isthmus import WireError
from isthmus_cloud.answering.feeds import AnyArray

__all__ = ["Packed", "Plain"]


class Plain(msgspec.Struct, frozen=True, array_like=True):
    """A tensor as it lies in memory, in C order."""

    data_type: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: AnyArray) -> "Plain":
        """A copy of it."""
        return cls(array.dtype.name, array.shape, array.tobytes())

    def array(self) -> AnyArray:
        """A view of the bytes; WireError if they are not that many."""
        try:
            return np.frombuffer(self.data, np.dtype(self.data_type)).reshape(self.shape)
        except (TypeError, ValueError) as error:
            raise WireError(
                f"{len(self.data)} bytes are no {self.data_type} {list(self.shape)}: {error}"
            ) from error


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """A frame of a candidate as its device sent it, or without one the tensors of a plain item.

    `stream` names the one whose kept symbols it refers to or replaces, "" where it stands for
    itself; `mark` and `reference` are the frame's.
    """

    candidate: str = ""
    frame: bytes = b""
    tensors: dict[str, Plain] = {}
    stream: str = ""
    mark: int = 0
    reference: int = 0

    @property
    def refers(self) -> bool:
        """Whether it cannot be decoded without what its stream has kept."""
        return self.reference > 0
