"""Builds what was proposed: chain and tails as files, with biases that earn their place."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from isthmus import Segment, Symbols, TensorSpec, requantise_table
from isthmus_partitioner.agreement import answer_index, closeness
from isthmus_partitioner.boundary import Boundary
from isthmus_partitioner.config import PictureSets, Progress, UInt8Array
from isthmus_partitioner.network import Network
from isthmus_partitioner.precision import Quantised
from isthmus_partitioner.propose import Proposal, activations
from isthmus_partitioner.runtime import (
    AnyArray,
    all_cores,
    open_session,
    pictures_feed,
    run_batches,
)
from isthmus_partitioner.segments import (
    STEP,
    SYMBOLS,
    ZERO_POINT,
    boundary_spec,
    device_chain,
    tail_model,
)

__all__ = ["INPUT", "LOCAL", "BuiltCut", "Parts", "build_parts", "tail_feed", "write_chain"]

INPUT, LOCAL = "input", "local"
INPUT_TAIL = f"cloud/tail-{INPUT}.onnx"


@dataclass(frozen=True, slots=True)
class BuiltCut:
    """A cut whose head and tail exist; `tail` is relative to the parts' folder."""

    id: str
    boundary: Boundary
    ladder: tuple[Symbols, Symbols]
    tail: str
    has_bias: bool


@dataclass(frozen=True, slots=True)
class Parts:
    """The files of a plan below `folder`, named as in the bundle."""

    folder: Path
    segments: tuple[Segment, ...]
    cuts: tuple[BuiltCut, ...]


def build_parts(
    network: Network,
    head: Quantised,
    proposals: Sequence[Proposal],
    pictures: PictureSets,
    folder: Path,
    progress: Progress,
) -> Parts:
    """Write the chain and a tail for each proposal and for the whole network."""
    for side in ("device", "cloud"):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for stale in (folder / side).glob("*.onnx"):
            stale.unlink()
    progress(f"building {len(proposals) + 1} segments and {len(proposals) + 1} tails")
    segments = write_chain(network, head, [p.boundary for p in proposals], folder)
    _write(tail_model(network, None), folder / INPUT_TAIL)
    fit = _BiasFit(network, [p.boundary for p in proposals], segments, pictures, folder)
    cuts = []
    for proposal, cut_id in zip(proposals, _ids(p.boundary for p in proposals), strict=True):
        model, has_bias = fit.better_tail(proposal)
        tail = f"cloud/tail-{cut_id}.onnx"
        _write(model, folder / tail)
        cuts.append(BuiltCut(cut_id, proposal.boundary, proposal.ladder, tail, has_bias))
    return Parts(folder, segments, tuple(cuts))


def write_chain(
    network: Network, head: Quantised, cuts: Sequence[Boundary], folder: Path
) -> tuple[Segment, ...]:
    """Write the device's chain, divided at `cuts`, in place of what chain was there."""
    for stale in (folder / "device").glob("segment-*.onnx"):
        stale.unlink()
    inputs = [network.input, *(boundary_spec(cut) for cut in cuts)]
    outputs: list[tuple[TensorSpec, ...]] = [(spec,) for spec in inputs[1:]]
    outputs.append(network.outputs)
    segments = []
    for index, model in enumerate(device_chain(network, head.head, cuts)):
        file = f"device/segment-{index}.onnx"
        _write(model, folder / file)
        segments.append(Segment(file=file, input=inputs[index], outputs=outputs[index]))
    return tuple(segments)


def tail_feed(symbols: AnyArray, step: float, zero_point: int) -> dict[str, AnyArray]:
    """What a tail is fed: symbols [n,*shape] and how they stand for real numbers."""
    return {
        SYMBOLS: symbols,
        STEP: np.asarray(step, np.float32),
        ZERO_POINT: np.asarray(zero_point, np.uint8),
    }


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


class _BiasFit:
    """What the tails may add per channel to take back a part of the head's error.

    The bias is the mean over the fitted pictures of fp32 tensor minus decoded wire at the finer
    step; it stays only where it lowers the KL on held-back pictures.
    """

    def __init__(
        self,
        network: Network,
        cuts: Sequence[Boundary],
        segments: Sequence[Segment],
        pictures: PictureSets,
        folder: Path,
    ) -> None:
        self._network = network
        self._real = activations(network, tuple(cuts), pictures.fitted)
        self._fitted = _head_symbols(segments, pictures.fitted, folder)
        self._held_back = _head_symbols(segments, pictures.held_back, folder)
        self._answer = answer_index(network.outputs)
        whole = open_session(network.model, threads=all_cores())
        feed = pictures_feed(whole, pictures.held_back)
        self._reference = run_batches(whole, feed)[self._answer]

    def better_tail(self, proposal: Proposal) -> tuple[onnx.ModelProto, bool]:
        """The tail with or without bias, whichever answers more like the unsplit network."""
        plain = tail_model(self._network, proposal.boundary)
        biased = tail_model(self._network, proposal.boundary, self._bias(proposal))
        has_bias = self._kl(biased, proposal) < self._kl(plain, proposal)
        return (biased if has_bias else plain), has_bias

    def _bias(self, proposal: Proposal) -> NDArray[np.float32]:
        boundary, finer = proposal.boundary, proposal.ladder[0]
        symbols = self._fitted[boundary.symbols]
        wire = requantise_table(boundary.quantisation, finer)[symbols].astype(np.float32)
        decoded = (wire - finer.zero_point) * np.float32(finer.step)
        error = self._real[boundary.cut.tensor] - decoded
        # Channels come second in what ONNX calls an image; all else is averaged.
        axes = (0, *range(2, error.ndim))
        bias: NDArray[np.float32] = error.mean(axis=axes, keepdims=True, dtype=np.float32)
        return bias

    def _kl(self, model: onnx.ModelProto, proposal: Proposal) -> float:
        session = open_session(model, threads=all_cores())
        boundary, finer = proposal.boundary, proposal.ladder[0]
        wire = requantise_table(boundary.quantisation, finer)[self._held_back[boundary.symbols]]
        feed = tail_feed(wire, finer.step, finer.zero_point)
        return closeness(self._reference, run_batches(session, feed)[self._answer]).kl


def _head_symbols(
    segments: Sequence[Segment], pictures: UInt8Array, folder: Path
) -> dict[str, UInt8Array]:
    """What the device computes at each boundary, uint8 [n,*shape]."""
    found: dict[str, UInt8Array] = {}
    symbols = pictures
    for segment in segments[:-1]:
        session = open_session(folder / segment.file, threads=all_cores())
        symbols = run_batches(session, {segment.input.name: symbols})[0].view(np.uint8)
        found[segment.outputs[0].name] = symbols
    return found
