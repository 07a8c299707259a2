"""The device's one model: a chain of segments. A cut is "run the first i"."""

from collections.abc import Sequence

from isthmus import Bundle, ModelError, Segment
from isthmus_edge.runtime import AnyArray, Graph

__all__ = ["Chain"]


class Chain:
    """All segments loaded, ready for any cut: switching costs nothing."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._links = [
            _Link(segment, Graph(bundle, segment.file, threads))
            for segment in bundle.manifest.segments
        ]

    def head(self, tensors: Sequence[AnyArray], depth: int) -> tuple[AnyArray, ...]:
        """The boundary tensors behind the first `depth` segments, from the model's inputs."""
        return _through(self._links[:depth], tensors)

    def finish(self, tensors: Sequence[AnyArray], depth: int) -> tuple[AnyArray, ...]:
        """The model's outputs, from the boundary tensors that `head(…, depth)` gave."""
        return _through(self._links[depth:], tensors)


class _Link:
    """A segment and its graph, whose tensors go by the manifest's names and order."""

    def __init__(self, segment: Segment, graph: Graph) -> None:
        self._graph = graph
        self._inputs = tuple(spec.name for spec in segment.inputs)
        self._outputs = tuple(spec.name for spec in segment.outputs)
        if set(graph.inputs) != set(self._inputs) or not set(self._outputs) <= set(graph.outputs):
            raise ModelError(
                f"{graph.file}: goes from {list(graph.inputs)} to {list(graph.outputs)}, the "
                f"manifest says from {list(self._inputs)} to {list(self._outputs)}; build the "
                "bundle again"
            )

    def run(self, tensors: Sequence[AnyArray]) -> tuple[AnyArray, ...]:
        return self._graph.run(dict(zip(self._inputs, tensors, strict=True)), self._outputs)


def _through(links: Sequence[_Link], tensors: Sequence[AnyArray]) -> tuple[AnyArray, ...]:
    for link in links:
        tensors = link.run(tensors)
    return tuple(tensors)
