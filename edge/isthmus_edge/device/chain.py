"""A chain of segments that is loaded. A cut is "run the first i of them"."""

from collections.abc import Collection, Mapping, Sequence

from isthmus import Chain as ChainRecord
from isthmus import Segment
from isthmus_edge.device.calloff import CallOff
from isthmus_edge.runtimes import AnyArray, Graph

__all__ = ["Chain", "Link", "Tensors"]

Tensors = Mapping[str, AnyArray]  # what is held of one frame, by name, as the graphs take it


class Chain:
    """All segments of one chain loaded, ready for any of its cuts: switching costs nothing.

    A segment reads from what is held: inputs of the model, and what earlier segments made. A tensor
    stays as long as a later segment reads it or it is an output of the model.
    """

    def __init__(
        self, record: ChainRecord, links: Sequence["Link"], outputs: Sequence[str]
    ) -> None:
        self._links = links
        self._outputs = outputs
        self._needed = [
            {spec.name for segment in record.segments[depth:] for spec in segment.inputs}
            | set(outputs)
            for depth in range(len(record.segments) + 1)
        ]

    @property
    def segments(self) -> int:
        """How many there are: the depth of a cut behind all of them."""
        return len(self._links)

    def head(
        self, inputs: Tensors, depth: int, boundary: Collection[str] = ()
    ) -> dict[str, AnyArray]:
        """What is held behind the first `depth` segments, from the model's inputs.

        That is what the rest of the chain reads, outputs of the model that are there already, and
        the tensors named in `boundary`.
        """
        return self._through(inputs, range(depth), boundary)

    def finish(self, tensors: Tensors, depth: int) -> dict[str, AnyArray]:
        """The model's outputs in the manifest's order, from what `head(…, depth)` gave."""
        return self.outputs(self._through(tensors, range(depth, len(self._links)), ()))

    def step(
        self, held: Tensors, depth: int, call_off: CallOff | None = None
    ) -> dict[str, AnyArray]:
        """What is held behind the segment at `depth`, from what is held before it."""
        return self._through(held, range(depth, depth + 1), (), call_off)

    def outputs(self, held: Tensors) -> dict[str, AnyArray]:
        """The model's outputs in the manifest's order, from what is held behind the last one."""
        return {name: held[name] for name in self._outputs}

    def _through(
        self,
        tensors: Tensors,
        depths: range,
        boundary: Collection[str],
        call_off: CallOff | None = None,
    ) -> dict[str, AnyArray]:
        held = dict(tensors)
        for depth in depths:
            held |= self._links[depth].run(held, call_off)
            held = self._released(held, depth + 1, boundary)
        return self._released(held, depths.stop, boundary)

    def _released(
        self, held: Tensors, depth: int, boundary: Collection[str]
    ) -> dict[str, AnyArray]:
        needed = self._needed[depth]
        return {n: tensor for n, tensor in held.items() if n in needed or n in boundary}


class Link:
    """A segment and its graph, whose tensors go by the manifest's names."""

    def __init__(self, segment: Segment, graph: Graph) -> None:
        self.graph = graph
        self._inputs = tuple(spec.name for spec in segment.inputs)
        self._outputs = tuple(spec.name for spec in segment.outputs)

    def run(self, held: Tensors, call_off: CallOff | None) -> dict[str, AnyArray]:
        """What the segment makes of what is held, by name."""
        feeds = {name: held[name] for name in self._inputs}
        made = self.graph.run(feeds, self._outputs, call_off)
        return dict(zip(self._outputs, made, strict=True))
