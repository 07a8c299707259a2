"""Builds what was proposed, as files: the chain, a stage and a tail for each cut."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from isthmus import CutTensor, Segment, Symbols, TensorSpec
from isthmus_partitioner.config import PictureSets, PlanConfig, Progress
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.boundary import Boundary
from isthmus_partitioner.parts.segments import device_chain, whole_model
from isthmus_partitioner.precision.mixed import Quantised
from isthmus_partitioner.wire.bottleneck import Verdict
from isthmus_partitioner.wire.fitting import CutFitter
from isthmus_partitioner.wire.stages import quantises, stage_is_needed, stage_model, wire_spec
from isthmus_partitioner.wire.transform import Transform

__all__ = ["INPUT", "LOCAL", "BuiltCut", "Parts", "build_parts", "write_chain"]

INPUT, LOCAL = "input", "local"
INPUT_TAIL = f"cloud/tail-{INPUT}.onnx"


@dataclass(frozen=True, slots=True)
class BuiltCut:
    """A cut whose head and tail exist; `tail` and the tensor's stage are relative to the folder.

    `transform` in words; `bottleneck` says what came of a projection, if one was tried.
    """

    id: str
    boundary: Boundary
    tensor: CutTensor
    ladder: tuple[Symbols, ...]
    tail: str
    has_bias: bool
    transform: str
    bottleneck: Verdict | None

    @property
    def files(self) -> tuple[str, ...]:
        """What the cut needs beside the chain."""
        return (self.tail,) if self.tensor.stage is None else (self.tail, self.tensor.stage)


@dataclass(frozen=True, slots=True)
class Parts:
    """The files of a plan below `folder`, named as in the bundle."""

    folder: Path
    segments: tuple[Segment, ...]
    cuts: tuple[BuiltCut, ...]


def build_parts(  # noqa: PLR0913, PLR0917  what is built, from what, where
    network: Network,
    head: Quantised,
    proposals: Sequence[Boundary],
    pictures: PictureSets,
    config: PlanConfig,
    folder: Path,
    progress: Progress,
) -> Parts:
    """Write the chain and, for each proposal, stage and tail; and a tail for the whole network."""
    for side in ("device", "cloud"):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for stale in (folder / side).glob("*.onnx"):
            stale.unlink()
    progress(f"building {len(proposals) + 1} segments and {len(proposals) + 1} tails")
    segments = write_chain(network, head, proposals, folder)
    _write(whole_model(network), folder / INPUT_TAIL)
    fitter = CutFitter(network, proposals, segments, pictures, config, folder)
    cuts = []
    for boundary, cut_id in zip(proposals, _ids(proposals), strict=True):
        progress(f"fitting ladder, transform and tail of {cut_id}")
        fitted = fitter.fit(boundary)
        tail = f"cloud/tail-{cut_id}.onnx"
        _write(fitted.tail, folder / tail)
        cuts.append(
            BuiltCut(
                id=cut_id,
                boundary=boundary,
                tensor=_write_stage(network, boundary, fitted.transform, cut_id, folder),
                ladder=fitted.ladder,
                tail=tail,
                has_bias=fitted.has_bias,
                transform=fitted.transform.described(boundary.cut.shape),
                bottleneck=fitted.bottleneck,
            )
        )
    return Parts(folder, segments, tuple(cuts))


def _write_stage(
    network: Network, boundary: Boundary, transform: Transform, cut_id: str, folder: Path
) -> CutTensor:
    stage = None
    if stage_is_needed(boundary, transform):
        stage = f"device/wire-{cut_id}.onnx"
        _write(stage_model(boundary, transform, network.model), folder / stage)
    return CutTensor(
        boundary=boundary.spec,
        wire=wire_spec(boundary, transform),
        quantisation=None if quantises(boundary, transform) else boundary.quantisation,
        stage=stage,
    )


def write_chain(
    network: Network, head: Quantised, cuts: Sequence[Boundary], folder: Path
) -> tuple[Segment, ...]:
    """Write the device's chain, divided at `cuts`, in place of what chain was there."""
    for stale in (folder / "device").glob("segment-*.onnx"):
        stale.unlink()
    inputs = [network.input, *(cut.spec for cut in cuts)]
    outputs: list[tuple[TensorSpec, ...]] = [(spec,) for spec in inputs[1:]]
    outputs.append(network.outputs)
    segments = []
    for index, model in enumerate(device_chain(network, head.head, cuts)):
        file = f"device/segment-{index}.onnx"
        _write(model, folder / file)
        segments.append(Segment(file=file, inputs=(inputs[index],), outputs=outputs[index]))
    return tuple(segments)


def _write(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString(deterministic=True))


def _ids(cuts: Iterable[Boundary]) -> list[str]:
    """Tensor names made fit for file names, distinct also where case does not count."""
    taken = {INPUT, LOCAL}
    ids = []
    for cut in cuts:
        plain = re.sub(r"[^A-Za-z0-9._]+", "-", cut.cut.tensor).strip("-.") or "cut"
        name, count = plain, 2
        while name.lower() in taken:
            name, count = f"{plain}-{count}", count + 1
        taken.add(name.lower())
        ids.append(name)
    return ids
