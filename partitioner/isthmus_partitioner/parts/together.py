"""Whether frames can go through the tails together: asked of real items before a bundle says so."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from isthmus import ModelError, Symbols, TensorSpec, left_to_answer, quantised
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.refusals import first_line
from isthmus_partitioner.parts.tails import OpenTail, TailCut
from isthmus_partitioner.parts.values import activations
from isthmus_partitioner.runtime import AnyArray
from isthmus_partitioner.samples import Samples, joined, limited

__all__ = ["ITEMS", "TOLERANCE", "Frames", "frames_of", "some_items", "why_apart"]

ITEMS = 3  # that go together: an odd number, which no folded dimension hides
TOLERANCE = 1e-5  # of the largest value: kernels add in another order, no more

Frame = dict[str, AnyArray]  # what is fed to a tail, by name
Frames = Mapping[str, Sequence[Frame]]  # of several items, by cut


def some_items(sets: Sequence[Samples]) -> Samples:
    """`ITEMS` items of as many sources, the same ones again where there are fewer."""
    places = [(each, row) for each in sets for row in range(len(each))]
    rows = limited([each.sources[row] for each, row in places], ITEMS)
    chosen = (places[rows[number % len(rows)]] for number in range(ITEMS))
    return joined([each[[row]] for each, row in chosen])


def frames_of(
    network: Network, cuts: Sequence[TailCut], items: Samples
) -> dict[str, tuple[Frame, ...]]:
    """What each cut's tail is fed for each of the items, by cut.

    Symbols are of the fp32 network's values; each item has a step and a zero point of its own.
    """
    specs = {spec.name: spec for each in cuts for spec in each.cut.tensors}
    values = activations(network, tuple(specs.values()), items)
    return {each.id: tuple(_frame(each, values, row) for row in range(len(items))) for each in cuts}


def _frame(cut: TailCut, values: Mapping[str, AnyArray], row: int) -> Frame:
    arrivals = {arrival.feeds[0]: arrival for arrival in cut.arrivals}
    frame: Frame = {}
    for spec, tensor, encoding in zip(cut.cut.tensors, cut.tensors, cut.rung, strict=True):
        value = values[spec.name][row : row + 1]
        feeds = tensor.feeds
        if isinstance(encoding, Symbols) and feeds[0] in arrivals:
            own = _another(encoding, row)
            sent = arrivals[feeds[0]].transform.forward(value.view(np.float32))
            value = quantised(sent, own)
            scale_shape = [] if spec.batch_axis is None else [1]
            frame[feeds[1]] = np.full(scale_shape, own.step, np.float32)
            frame[feeds[2]] = np.full(scale_shape, own.zero_point, np.uint8)
        frame[feeds[0]] = value.reshape(tensor.wire.graph_shape)
    return frame


def _another(encoding: Symbols, row: int) -> Symbols:
    """One like it that no other row has."""
    return msgspec.structs.replace(
        encoding,
        step=encoding.step * (1 + row / 8),
        zero_point=min(encoding.zero_point + row, encoding.levels - 1),
    )


def why_apart(
    network: Network,
    cuts: Sequence[TailCut],
    tails: Mapping[str, OpenTail],
    frames: Frames,
) -> str:
    """Why frames have to be run one by one; empty if those of every cut can go together.

    Where a cut has a tensor without a batch axis, frames with the same value of it count; where
    the batch is folded into another of its dimensions, its frames are never joined.
    """
    for cut in cuts:
        if any(spec.name in network.unjoinable for spec in cut.cut.tensors):
            continue
        try:
            wrong = _wrong(network, cut, tails[cut.id], _alike(cut, frames[cut.id]))
        except ModelError as error:
            wrong = first_line(error)
        if wrong:
            return f"{ITEMS} frames of cut {cut.id} together: {wrong}"
    return ""


def _alike(cut: TailCut, frames: Sequence[Frame]) -> list[Frame]:
    """The same frames with what has no batch axis as the first of them has it."""
    names = {n for tensor in cut.tensors if tensor.wire.batch_axis is None for n in tensor.feeds}
    return [{n: frames[0][n] if n in names else v for n, v in frame.items()} for frame in frames]


def _wrong(network: Network, cut: TailCut, tail: OpenTail, frames: Sequence[Frame]) -> str:
    axes: dict[str, int | None] = {}
    for tensor in cut.tensors:
        first, *scales = tensor.feeds
        axis = tensor.wire.batch_axis
        axes |= {first: axis} | dict.fromkeys(scales, None if axis is None else 0)
    together = {
        name: value
        if axes[name] is None
        else np.concatenate([frame[name] for frame in frames], axes[name])
        for name, value in frames[0].items()
    }
    found = tail.run(together)
    alone = [tail.run(frame) for frame in frames]
    for spec in left_to_answer(network.outputs, cut.cut.answers):
        off = _off(found[spec.name], [each[spec.name] for each in alone], spec)
        if not off <= TOLERANCE:
            return f"output {spec.name!r} is off by {off:.1e} of its largest value"
    return ""


def _off(found: AnyArray, alone: Sequence[AnyArray], spec: TensorSpec) -> float:
    """The largest difference to each item's own answer, in largest values; inf if they differ
    otherwise than in finite floats."""
    if spec.batch_axis is None:
        return max(_apart(found, each) for each in alone)
    return _apart(found, np.concatenate(alone, spec.batch_axis))


def _apart(found: AnyArray, wanted: AnyArray) -> float:
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return np.inf
    if wanted.dtype.kind != "f":
        return 0.0 if np.array_equal(found, wanted) else np.inf
    left, right = found.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(right)
    if not np.array_equal(left[~finite], right[~finite], equal_nan=True):
        return np.inf
    largest = np.abs(right[finite]).max(initial=0)
    apart = np.abs(left[finite] - right[finite]).max(initial=0)
    return float(apart / largest) if apart else 0.0
