"""A network that is loaded to be measured."""

from collections.abc import Mapping

from isthmus_edge.runtimes import AnyArray, GraphFiles, Runtime

__all__ = ["AnyArray", "Feed", "Measured"]

Feed = Mapping[str, AnyArray]


class Measured:
    """One graph of a kit on one runtime, with the very options that a frame is answered with.

    Raises ModelError for what this runtime cannot load or run.
    """

    def __init__(self, runtime: Runtime, files: GraphFiles, threads: int) -> None:
        self._graph = runtime.load(files, threads)
        self._inputs = [spec.name for spec in files.inputs]
        self._outputs = [spec.name for spec in files.outputs]

    def run(self, feed: Feed) -> None:
        """Compute all outputs for one item of the kit."""
        self._graph.run({name: feed[name] for name in self._inputs}, ())

    def answers(self, feed: Feed) -> tuple[AnyArray, ...]:
        """All outputs for one item of the kit; none of a prefix, of which nobody reads them."""
        return self._graph.run({name: feed[name] for name in self._inputs}, self._outputs)
