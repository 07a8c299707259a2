"""Chains as files, and items on their way through them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from isthmus import Chain, Segment, TensorSpec
from isthmus_partitioner.graph.files import save_model
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.boundary import ChainCut, HeadGraph
from isthmus_partitioner.parts.segments import device_chain
from isthmus_partitioner.runtime import AnyArray, all_cores, open_session, run_one
from isthmus_partitioner.samples import Samples

__all__ = ["ChainPlan", "ChainRun", "write_chain"]


@dataclass(frozen=True, slots=True, eq=False)
class ChainPlan:
    """A chain to be: the head network, and where it is divided; each cut nests in the next.

    `is_second`: another chain of the same cuts, in the preferred precision, comes before it.
    """

    id: str
    precision: Literal["fp32", "int8"]
    head: HeadGraph
    cuts: tuple[ChainCut, ...]
    is_second: bool = False


def write_chain(network: Network, plan: ChainPlan, folder: Path) -> Chain:
    """Write the segments as `device/<chain>-<i>.onnx` below `folder`, in place of older ones."""
    for stale in (folder / "device").glob(f"{plan.id}-*.onnx*"):
        stale.unlink()
    segments = []
    for index, made in enumerate(device_chain(network, plan.head, plan.cuts)):
        file = f"device/{plan.id}-{index}.onnx"
        # Weights lie beside it: the runtime maps them instead of copying.
        save_model(made.model, folder / file, limit_bytes=0)
        segments.append(Segment(file=file, inputs=made.inputs, outputs=made.outputs))
    return Chain(id=plan.id, precision=plan.precision, segments=tuple(segments))


class ChainRun:
    """Items that go through a chain together, one segment at a time.

    `depth` segments have run. Holds for each item what later segments still read, and the model's
    outputs as far as they are known.
    """

    def __init__(self, network: Network, chain: Chain, folder: Path, samples: Samples) -> None:
        self._outputs = network.outputs
        self._chain, self._folder = chain, folder
        self._held: list[Mapping[str, AnyArray]] = list(samples.feeds(network.inputs))
        self._specs = {spec.name: spec for spec in network.inputs}
        self.depth = 0

    def advance_to(self, depth: int) -> None:
        """Run segments for every item until `depth` have run."""
        while self.depth < depth:
            self._advance()

    def _advance(self) -> None:
        segment = self._chain.segments[self.depth]
        session = open_session(self._folder / segment.file, threads=all_cores())
        self.depth += 1
        self._specs |= {spec.name: spec for spec in segment.outputs}
        reads = [spec.name for spec in segment.inputs]
        makes = [spec.name for spec in segment.outputs]
        kept = {spec.name for later in self._chain.segments[self.depth :] for spec in later.inputs}
        kept |= {spec.name for spec in self._outputs}
        kept |= set(makes)
        for row, held in enumerate(self._held):
            made = run_one(session, {name: held[name] for name in reads}, makes)
            together = dict(held) | dict(zip(makes, made, strict=True))
            self._held[row] = {name: v for name, v in together.items() if name in kept}

    def items(self, specs: Sequence[TensorSpec]) -> list[tuple[AnyArray, ...]]:
        """For each item these tensors in their graph shapes."""
        return [tuple(held[spec.name] for spec in specs) for held in self._held]

    def stacked(self, specs: Sequence[TensorSpec]) -> tuple[AnyArray, ...]:
        """These tensors of all items, each [n,*shape]."""
        return tuple(
            np.stack([held[spec.name].reshape(spec.shape) for held in self._held]) for spec in specs
        )

    def answers(self) -> dict[str, AnyArray]:
        """The model's outputs that are known by now, each [n,*shape]."""
        known = [spec for spec in self._outputs if self._held and spec.name in self._held[0]]
        return dict(zip((spec.name for spec in known), self.stacked(known), strict=True))
