"""An item of a plain request: the model's own inputs, as arrays."""

from collections.abc import Mapping, Sequence

from isthmus import Cut, SymbolCoder
from isthmus_cloud.answering.feeds import AnyArray, Scalars, Tensors
from isthmus_cloud.answering.packed import Packed, Plain

__all__ = ["Item"]


class Item:
    """The `Given` of a job at the cut `input`: `tensors` [*graph_shape] by name."""

    def __init__(self, cut: Cut, tensors: Mapping[str, AnyArray]) -> None:
        self._cut = cut
        self._tensors = tensors

    @property
    def payload_bytes(self) -> int:
        """See `Given.payload_bytes`."""
        return sum(tensor.nbytes for tensor in self._tensors.values())

    @property
    def scalars(self) -> Sequence[Scalars]:
        """See `Given.scalars`: inputs are not quantised."""
        return [()] * len(self._cut.tensors)

    @property
    def stream(self) -> str:
        """See `Given.stream`: it stands for itself."""
        return ""

    @property
    def refers(self) -> bool:
        """See `Given.refers`."""
        return False

    def decode(self, _: SymbolCoder) -> Tensors:
        """See `Given.decode`."""
        return tuple(self._tensors[tensor.wire.name] for tensor in self._cut.tensors)

    def packed(self) -> Packed:
        """See `Given.packed`."""
        return Packed(tensors={name: Plain.of(array) for name, array in self._tensors.items()})

    def give_up(self) -> None:
        """See `Given.give_up`."""
        self._tensors = {}
