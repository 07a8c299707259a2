"""What lies behind a cut, ready to run: parts that the tails of nested cuts share.

A tail is a list of parts. Frames of different cuts meet at the first part from which on their tails
are the same: from there they are one batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from isthmus import Cut, Manifest, TensorSpec, left_to_answer
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.engines.batch_times import UNMEASURED, BatchTimes, summed
from isthmus_cloud.engines.seam import Engine, Program, Value

if TYPE_CHECKING:
    from isthmus_cloud.answering.elsewhere import Elsewhere

__all__ = ["Part", "Tail", "outputs_of", "tails_of", "tensor_bytes"]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One graph; `name` is its file in the bundle, `times` how long batches of it take."""

    name: str
    program: Program
    times: BatchTimes = UNMEASURED

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it reads, in the graph's order."""
        return tuple(self.program.inputs)


@dataclass(frozen=True, eq=False)
class Tail:
    """The parts behind one cut, what each of its tensors' batch axis is, and what it answers.

    `axes` holds the batch axis of every tensor that crosses or lies between parts, by name; None
    for those without one. `most` is the greatest batch that is run, 1 where the bundle's graphs
    take a single item. `model` and `version` are those of the deployment. `elsewhere` runs it, if
    this process does not.
    """

    cut: Cut
    engine: Engine
    parts: tuple[Part, ...]
    outputs: tuple[TensorSpec, ...]
    axes: Mapping[str, int | None] = field(default_factory=dict)
    most: int = 1
    model: str = ""
    version: str = ""
    elsewhere: "Elsewhere | None" = None

    @property
    def is_free(self) -> bool:
        """Whether a batch of it can be begun, as soon as a worker is free."""
        return self.elsewhere is None or self.elsewhere.is_free

    def entry_to(self, rest: Sequence[Part]) -> tuple[Part, ...] | None:
        """What has to be run before a frame of this tail can join a batch that has still `rest`
        to run: at most one part. None if they never meet, or not there."""
        before = len(self.parts) - len(rest)
        if before not in {0, 1} or self.parts[before:] != tuple(rest):
            return None
        return self.parts[:before]

    def most_from(self, index: int) -> int:
        """The greatest batch that pays from this part on."""
        return self._mosts[index]

    def run(self, feeds: Mapping[str, Value]) -> list[AnyArray]:
        """The outputs for these feeds, one part after the other; ModelError if one fails."""
        values = dict(feeds)
        for part in self.parts:
            made = part.program.run({name: values[name] for name in part.reads})
            values |= zip(part.program.outputs, made, strict=True)
        return [self.engine.to_host(values[spec.name]) for spec in self.outputs]

    def ms(self, size: int) -> float:
        """What a batch of so many takes; 0 where nothing was measured."""
        return sum(part.times.ms(size) for part in self.parts)

    @cached_property
    def _mosts(self) -> tuple[int, ...]:
        times = [part.times for part in self.parts]
        return tuple(min(self.most, summed(times[index:]).knee) for index in range(len(times)))


def tensor_bytes(tail: Tail) -> int:
    """The memory of one frame's tensors at a tail: those that it decodes to, and its answer's."""
    decoded = (tensor.wire for tensor in tail.cut.tensors)
    return sum(spec.nbytes for spec in (*decoded, *tail.outputs))


def outputs_of(manifest: Manifest, cut: Cut) -> tuple[TensorSpec, ...]:
    """What the tail of a cut answers: the model's outputs that its head does not."""
    return tuple(left_to_answer(manifest.outputs, cut.answers))


def tails_of(
    manifest: Manifest,
    engine: Engine,
    parts: Mapping[str, Part],
    max_batch: int,
    model: str = "",
    version: str = "",
) -> dict[str, Tail]:
    """By cut id; `parts` by file. No batch is greater than all programs of its tail take."""
    axes = _axes(manifest, parts)
    tails = {}
    for cut in manifest.cuts:
        if cut.tail:
            own = tuple(parts[name] for name in cut.tail)
            most = min([max_batch, *(part.program.sizes[-1] for part in own if part.program.sizes)])
            tails[cut.id] = Tail(
                cut=cut,
                engine=engine,
                parts=own,
                outputs=outputs_of(manifest, cut),
                axes=axes,
                most=most if manifest.batched and _has_batches(cut) else 1,
                model=model,
                version=version,
            )
    return tails


def _has_batches(cut: Cut) -> bool:
    """A tensor without a batch axis crosses for one frame only: two of them cannot be joined."""
    return all(tensor.wire.batch_axis is not None for tensor in cut.tensors)


def _axes(manifest: Manifest, parts: Mapping[str, Part]) -> dict[str, int | None]:
    """Wire tensors have those of the manifest; an entry makes its cut's quantised tensors, in
    their order."""
    axes: dict[str, int | None] = {spec.name: spec.batch_axis for spec in manifest.outputs}
    for cut in manifest.cuts:
        quantised = [tensor for tensor in cut.tensors if tensor.is_quantised]
        for tensor in cut.tensors:
            axis = tensor.wire.batch_axis
            scalars_axis = None if axis is None else 0
            axes[tensor.wire.name] = axis
            axes |= dict.fromkeys(tensor.feeds[1:], scalars_axis)
        if quantised:
            made = parts[cut.tail[0]].program.outputs
            axes |= {
                name: tensor.wire.batch_axis for name, tensor in zip(made, quantised, strict=False)
            }
    return axes
