"""The last step before the wire: from a cut's boundary tensors to what crosses."""

from collections.abc import Sequence

import numpy as np

from isthmus import Bundle, Cut, CutTensor, Encoding, Held, ModelError, Symbols
from isthmus_edge.device.runtime import AnyArray, Graph

__all__ = ["Stages"]


class Stages:
    """The stages of all cuts, loaded: small graphs, one for each cut tensor that needs one.

    A stage of integers has one input, the boundary tensor. A stage that quantises has six:
    boundary, step, zero point, the highest symbol, the symbols of the frame before, and how far
    (in steps) a value may move before it leaves its symbol there; 0 is no sticking.
    """

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._stages = {
            (cut.id, index): _Stage(tensor, Graph(bundle, tensor.stage, threads))
            for cut in bundle.manifest.cuts
            for index, tensor in enumerate(cut.tensors)
            if tensor.stage is not None
        }

    def wire(
        self,
        cut: Cut,
        boundary: Sequence[AnyArray],
        encodings: Sequence[Encoding],
        held: Held | None,
    ) -> tuple[AnyArray, ...]:
        """The wire tensors of a cut, a batch of one; `held` is what to stick to in a still scene.

        A tensor without a stage crosses as the chain holds it.
        """
        tensors = []
        for index, (tensor, encoding) in enumerate(zip(boundary, encodings, strict=True)):
            stage = self._stages.get((cut.id, index))
            if stage is None:
                tensors.append(tensor)
            elif isinstance(encoding, Symbols) and stage.quantises:
                tensors.append(stage.symbols(tensor, encoding, held, index))
            else:
                tensors.append(stage.integers(tensor))
        return tuple(tensors)


class _Stage:
    def __init__(self, tensor: CutTensor, graph: Graph) -> None:
        self.quantises = tensor.quantisation is None
        expected = 6 if self.quantises else 1
        if len(graph.inputs) != expected or len(graph.outputs) != 1:
            raise ModelError(
                f"{graph.file}: a stage with {len(graph.inputs)} inputs and {len(graph.outputs)} "
                f"outputs, the manifest asks for {expected} and 1; build the bundle again"
            )
        self._graph = graph
        self._nothing_held = np.zeros((1,) * len(tensor.wire.graph_shape), np.uint8)

    def integers(self, boundary: AnyArray) -> AnyArray:
        return self._run(boundary)

    def symbols(
        self, boundary: AnyArray, encoding: Symbols, held: Held | None, index: int
    ) -> AnyArray:
        return self._run(
            boundary,
            np.array(encoding.step, np.float32),
            np.array(encoding.zero_point, np.uint8),
            np.array(encoding.levels - 1, np.uint8),
            self._nothing_held if held is None else held.symbols[index],
            np.array(0.0 if held is None else held.hold, np.float32),
        )

    def _run(self, *tensors: AnyArray) -> AnyArray:
        feeds = dict(zip(self._graph.inputs, tensors, strict=True))
        (wire,) = self._graph.run(feeds, self._graph.outputs)
        return wire
