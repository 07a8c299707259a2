"""The last step before the wire: from a cut's boundary tensors to what crosses."""

from collections.abc import Sequence

from isthmus import Bundle, Cut, Encoding, Held, open_stage
from isthmus_edge.runtimes import AnyArray

__all__ = ["Stages"]


class Stages:
    """The stages of all cuts of a bundle; BundleError if one of their files is wrong."""

    def __init__(self, bundle: Bundle) -> None:
        self._stages = {
            (cut.id, index): stage
            for cut in bundle.manifest.cuts
            for index, tensor in enumerate(cut.tensors)
            if (stage := open_stage(bundle.path, tensor)) is not None
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
            elif held is None or index not in held.symbols:
                tensors.append(stage.wire(tensor, encoding))
            else:
                tensors.append(stage.wire(tensor, encoding, held.symbols[index], held.hold))
        return tuple(tensors)
