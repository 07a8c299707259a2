"""The TFLite twins of a chain's segments, each compared with its original on real items."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import onnx

from isthmus import Chain, ModelError, RuntimeName, Segment
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.profiles.twins import write_twin
from isthmus_partitioner.runtime import AnyArray, all_cores, open_session, run_one
from isthmus_partitioner.samples import Samples
from isthmus_partitioner.tflite import NotLoweredError

_COMPARED = 3  # items

__all__ = ["TwinRefusedError", "with_twins"]

Held = dict[str, AnyArray]


class TwinRefusedError(ModelError):
    """A chain has no TFLite form, and its network was to run on one; the message says why.

    `network` is the profile's name of what the chain divides.
    """

    def __init__(self, network: str, problem: str) -> None:
        super().__init__(problem)
        self.network = network


def with_twins(
    network: Network, chain: Chain, runtime: RuntimeName, folder: Path, items: Samples
) -> tuple[Chain, tuple[str, ...]]:
    """The chain with `device/<chain>-<i>.tflite` beside its segments, to run on `runtime`.

    And why not, a sentence for each segment that has no such form: then the whole chain is ONNX,
    as nothing but ONNX Runtime could run it to its end.
    """
    held: list[Held] = [dict(feed) for feed in items[:_COMPARED].feeds(network.inputs)]
    segments, notes = [], []
    for segment in chain.segments:
        try:
            segments.append(_with_twin(segment, held, folder))
        except NotLoweredError as error:
            notes.append(f"{segment.file} has no TFLite form: {error}")
        _advance(segment, held, folder)
    if not notes:
        return msgspec.structs.replace(chain, segments=tuple(segments), runtime=runtime), ()
    for made in segments:
        if made.tflite is not None:
            (folder / made.tflite.file).unlink()
    return msgspec.structs.replace(chain, runtime="onnxruntime"), tuple(notes)


def _with_twin(segment: Segment, held: list[Held], folder: Path) -> Segment:
    path = folder / segment.file
    model = onnx.load(path)
    names = [spec.name for spec in segment.inputs]
    feeds: list[Mapping[str, AnyArray]] = [{n: item[n] for n in names} for item in held]
    twin = write_twin(_in_order(model, segment), path.parent, path.with_suffix(".tflite"), feeds)
    file = str(Path(segment.file).with_suffix(".tflite"))
    return msgspec.structs.replace(segment, tflite=msgspec.structs.replace(twin, file=file))


def _in_order(model: onnx.ModelProto, segment: Segment) -> onnx.ModelProto:
    """With inputs and outputs in the order of the manifest."""
    for infos, specs in (
        (model.graph.input, segment.inputs),
        (model.graph.output, segment.outputs),
    ):
        by_name = {info.name: info for info in infos}
        ordered = [by_name[spec.name] for spec in specs]
        others = [info for info in infos if info.name not in {spec.name for spec in specs}]
        del infos[:]
        infos.extend([*ordered, *others])
    return model


def _advance(segment: Segment, held: list[Held], folder: Path) -> None:
    session = open_session(folder / segment.file, threads=all_cores())
    makes = [spec.name for spec in segment.outputs]
    for item in held:
        feed = {spec.name: item[spec.name] for spec in segment.inputs}
        item |= dict(zip(makes, run_one(session, feed, makes), strict=True))
