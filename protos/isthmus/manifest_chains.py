"""What must hold of a manifest's chains and cuts: a device and a cloud can run them as they say.

A chain is a list of graphs that nobody here opens: what can be said of it is what each segment
reads and gives. A tensor has one name, is made once, and is read where it was made before.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from isthmus.manifest import (
    Chain,
    Cut,
    CutTensor,
    Manifest,
    Segment,
    Stage,
)
from isthmus.tensors import (
    TensorSpec,
)

__all__ = ["chain_problems", "cut_problems", "is_quantisation", "repeated"]

Specs = dict[str, TensorSpec]


def chain_problems(manifest: Manifest) -> Iterator[str]:
    """What is inconsistent in the model's inputs and outputs and the chains between them."""
    if not manifest.inputs or not manifest.outputs or not manifest.chains:
        yield "it has no inputs, no outputs or no chains"
    yield from repeated("input", (spec.name for spec in manifest.inputs))
    yield from repeated("output", (spec.name for spec in manifest.outputs))
    yield from repeated("chain", (chain.id for chain in manifest.chains))
    by_file: dict[str, Segment] = {}
    for chain in manifest.chains:
        yield from _segment_problems(manifest, chain)
        if chain.runtime in chain.unfit:
            yield f"chain {chain.id!r} is for {chain.runtime}, which it calls unfit"
        for segment in chain.segments:
            if by_file.setdefault(segment.file, segment) != segment:
                yield f"{segment.file} reads or gives other tensors in chain {chain.id!r}"


def _segment_problems(manifest: Manifest, chain: Chain) -> Iterator[str]:
    if not chain.segments:
        yield f"chain {chain.id!r} has no segments"
    known = _named(manifest.inputs)
    for segment in chain.segments:
        where = f"{segment.file} of chain {chain.id!r}"
        if not segment.inputs or not segment.outputs:
            yield f"{where} reads nothing or gives nothing"
        yield from repeated(f"{where}: input", (spec.name for spec in segment.inputs))
        for spec in segment.inputs:
            if known.get(spec.name) != spec:
                yield f"{where} reads {_what(spec)}, {_instead(known, spec.name)}"
        for spec in segment.outputs:
            if spec.name in known:
                yield f"{where} makes {spec.name!r}, which is there before it"
            known[spec.name] = spec
    for spec in manifest.outputs:
        if known.get(spec.name) != spec:
            yield f"chain {chain.id!r} does not end in {_what(spec)}, an output of the model"


def cut_problems(manifest: Manifest, cut: Cut) -> Iterator[str]:
    """What is inconsistent in one cut."""
    chain = next((each for each in manifest.chains if each.id == cut.chain), None)
    where = f"cut {cut.id!r}"
    if chain is None:
        yield f"{where} names the unknown chain {cut.chain!r}"
        return
    if not 0 <= cut.depth <= len(chain.segments):
        yield f"{where} has depth {cut.depth}, its chain has {len(chain.segments)} segments"
        return
    known = _available(manifest, chain, cut.depth)
    yield from _answer_problems(manifest, cut, known)
    if not (math.isfinite(cut.rest_ms) and cut.rest_ms >= 0):
        yield f"{where} has the impossible rest_ms {cut.rest_ms}"
    if cut.depth == len(chain.segments):
        if cut.tensors or cut.tail:
            yield f"{where} is the whole network and cannot have a tail"
        return
    if not cut.tensors or not cut.tail:
        yield f"{where} lacks its tensors or its tail"
    if len(cut.answers) >= len(manifest.outputs):
        yield f"{where} leaves its tail no output to give"
    yield from repeated(f"{where}: part of the tail", cut.tail)
    yield from repeated(f"{where}: tensor", (tensor.boundary.name for tensor in cut.tensors))
    yield from repeated(f"{where}: tensor on the wire", (t.wire.name for t in cut.tensors))
    for tensor in cut.tensors:
        yield from _cut_tensor_problems(cut, tensor, known)


def _answer_problems(
    manifest: Manifest, cut: Cut, known: Mapping[str, TensorSpec]
) -> Iterator[str]:
    outputs = {spec.name for spec in manifest.outputs}
    yield from repeated(f"cut {cut.id!r}: answer", cut.answers)
    for name in cut.answers:
        if name not in outputs or name not in known:
            yield f"cut {cut.id!r} answers {name!r}, no output that its head has computed"


def _cut_tensor_problems(
    cut: Cut, tensor: CutTensor, known: Mapping[str, TensorSpec]
) -> Iterator[str]:
    boundary, wire = tensor.boundary, tensor.wire
    where = f"tensor {boundary.name!r} of cut {cut.id!r}"
    if known.get(boundary.name) != boundary:
        yield f"{where} is {_what(boundary)}, {_instead(known, boundary.name)}"
    if tensor.stage is None and wire != boundary:
        yield f"{where} crosses in another form, but no stage makes it"
    if wire.batch_axis != boundary.batch_axis:
        yield f"{where} has batch axis {boundary.batch_axis}, and {wire.batch_axis} on the wire"
    can_be = cut.depth > 0 and wire.data_type == "uint8" and wire.graph_shape
    if tensor.is_quantised and not can_be:
        yield f"{where} cannot be quantised"
    if tensor.stage is not None:
        yield from _stage_problems(where, tensor, tensor.stage)
    own = tensor.quantisation
    if own is not None and (
        boundary.data_type != "uint8" or not is_quantisation(own.scale, own.zero_point, 256)
    ):
        yield f"{where} has an impossible scale or zero point"


def _stage_problems(where: str, tensor: CutTensor, stage: Stage) -> Iterator[str]:
    boundary, wire = tensor.boundary.graph_shape, tensor.wire.graph_shape
    changes_channels = bool(stage.order) or stage.projection is not None
    if changes_channels and (len(boundary) < 2 or (stage.order and stage.projection is not None)):
        yield f"{where} has a stage that cannot order or project its channels"
        return
    if stage.order and sorted(stage.order) != list(range(boundary[1])):
        yield f"{where} has a stage whose order is none of its {boundary[1]} channels"
    kept = (*boundary[:1], *boundary[2:]), (*wire[:1], *wire[2:])
    if stage.projection is None:
        kept = boundary, wire
    if kept[0] != kept[1]:
        yield f"{where} is {list(boundary)}, and {list(wire)} behind its stage"
    if stage.projection is not None and tensor.quantisation is not None:
        yield f"{where} is projected, and has a quantisation from before"
    held = stage.held
    if held is not None and not is_quantisation(held.scale, held.zero_point, 256):
        yield f"{where} has an impossible scale or zero point"


def is_quantisation(step: float, zero_point: int, levels: int) -> bool:
    """Whether symbols below `levels` can stand for numbers so."""
    return math.isfinite(step) and step > 0 and 0 <= zero_point < levels


def repeated(what: str, names: Iterable[str]) -> Iterator[str]:
    """A complaint for each name that is there more than once."""
    for name, times in Counter(names).items():
        if times > 1:
            yield f"{what} {name!r} stands in it twice"


def _available(manifest: Manifest, chain: Chain, depth: int) -> Specs:
    """What the device holds after the first `depth` segments, the model's inputs included."""
    made = (spec for segment in chain.segments[:depth] for spec in segment.outputs)
    return _named(manifest.inputs) | _named(made)


def _named(specs: Iterable[TensorSpec]) -> Specs:
    return {spec.name: spec for spec in specs}


def _what(spec: TensorSpec) -> str:
    batch = "" if spec.batch_axis == 0 else f", batch axis {spec.batch_axis}"
    return f"{spec.name!r} {spec.data_type}{list(spec.shape)}{batch}"


def _instead(known: Mapping[str, TensorSpec], name: str) -> str:
    return f"there is {_what(known[name])}" if name in known else "which is not there by then"
