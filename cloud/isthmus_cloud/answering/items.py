"""An item of a plain request: the model's own inputs, as arrays or encoded pictures."""

from collections.abc import Mapping, Sequence

from isthmus import Cut, SymbolCoder, TensorSpec
from isthmus.picture_files import decoding_bytes, read_picture
from isthmus_cloud.answering.feeds import AnyArray, Scalars, Tensors
from isthmus_cloud.answering.picture_room import PictureRoom

__all__ = ["Item"]


class Item:
    """The `Given` of a job at the cut `input`; `tensors` by name, pictures as JPEG or PNG.

    These may have any size, so that it takes `room` to decode them.
    """

    def __init__(
        self, cut: Cut, tensors: Mapping[str, AnyArray | bytes], room: PictureRoom
    ) -> None:
        self._cut = cut
        self._room = room
        self._tensors: Mapping[str, AnyArray | bytes] | None = tensors

    @property
    def payload_bytes(self) -> int:
        """See `Given.payload_bytes`."""
        tensors = (self._tensors or {}).values()
        return sum(len(t) if isinstance(t, bytes) else t.nbytes for t in tensors)

    @property
    def scalars(self) -> Sequence[Scalars]:
        """See `Given.scalars`: inputs are not quantised."""
        return [()] * len(self._cut.tensors)

    def decode(self, _: SymbolCoder) -> Tensors:
        """See `Given.decode`; PictureError for what is no picture, or too large a one."""
        given = self._tensors or {}
        specs = [tensor.wire for tensor in self._cut.tensors]
        return tuple(self._array(given[spec.name], spec) for spec in specs)

    def give_up(self) -> None:
        """See `Given.give_up`."""
        self._tensors = None

    def _array(self, given: AnyArray | bytes, spec: TensorSpec) -> AnyArray:
        if not isinstance(given, bytes):
            return given
        height, width = spec.shape[:2]
        with self._room.taken(decoding_bytes(given)):
            return read_picture(given, height, width).reshape(spec.graph_shape)
