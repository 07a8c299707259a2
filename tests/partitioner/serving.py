"""The files of a plan in the hands of the real device, and of a cloud that runs them one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from isthmus import Bundle as Files
from isthmus import (
    Candidate,
    Cut,
    Encoding,
    FrameEncoder,
    Manifest,
    SymbolCoder,
    Symbols,
    decode_frame,
    left_to_answer,
)
from isthmus_edge import Chains, Stages
from isthmus_partitioner import Samples
from isthmus_partitioner.parts.tails import OpenTail
from isthmus_partitioner.runtime import open_session

AnyArray = NDArray[np.generic]
UInt8Array = NDArray[np.uint8]


def run_in_order(model: onnx.ModelProto | Path, *inputs: AnyArray) -> AnyArray:
    """The first output of a graph whose inputs are told apart by their order alone."""
    session = open_session(model, threads=1)
    names = [info.name for info in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]


@dataclass(frozen=True, eq=False)
class Served:
    """What came back for some items: outputs [n,*shape] by name, and the bytes that each sent."""

    answers: Mapping[str, AnyArray]
    payload_bytes: tuple[int, ...]


class Bundle:
    """All files of a manifest, loaded."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self.manifest = manifest
        files = Files(folder, manifest, "unchecked", ())
        self._chains, self._stages = Chains(files, threads=1), Stages(files)
        parts = {file for cut in manifest.cuts for file in cut.tail}
        sessions = {file: open_session(folder / file, threads=1) for file in parts}
        self._tails = {cut.id: OpenTail(cut.tail, sessions) for cut in manifest.cuts if cut.tail}

    def serve(self, candidate: Candidate, rung: int, items: Samples) -> Served:
        """Head segments, stages, wire and tail, one item after the other."""
        begun = msgspec.structs.replace(candidate, chosen=rung)
        answers, sizes = [], []
        for inputs in items.feeds(self.manifest.inputs):
            answer, size = self._answer(begun, inputs)
            answers.append(answer)
            sizes.append(size)
        stacked = {
            spec.name: np.stack([answer[spec.name].reshape(spec.shape) for answer in answers])
            for spec in self.manifest.outputs
        }
        return Served(stacked, tuple(sizes))

    def _answer(
        self, candidate: Candidate, inputs: Mapping[str, AnyArray]
    ) -> tuple[Mapping[str, AnyArray], int]:
        cut = self.manifest.cut_of(candidate)
        names = [tensor.boundary.name for tensor in cut.tensors]
        held = self._chains.of(cut).head(inputs, cut.depth, names)
        if candidate.is_local:
            return held, 0
        boundary = [held[name] for name in names]
        wire = self._stages.wire(cut, boundary, candidate.encodings, None)
        frame = FrameEncoder().encode(candidate, cut, candidate.chosen, wire)
        tensors, _ = decode_frame(frame, candidate, cut, SymbolCoder(), None)
        found = self._tails[cut.id].run(_feed(cut, tensors, candidate.encodings))
        answers = {name: held[name] for name in cut.answers}
        left = left_to_answer(self.manifest.outputs, cut.answers)
        answers |= {spec.name: found[spec.name] for spec in left}
        return answers, sum(len(payload.data) for payload in frame.payloads)

    def finish(self, candidate: Candidate, items: Samples) -> Mapping[str, AnyArray]:
        """What the device answers alone after the head of a candidate, as after an outage."""
        cut = self.manifest.cut_of(candidate)
        chain = self._chains.of(cut)
        answers = [
            chain.finish(chain.head(inputs, cut.depth), cut.depth)
            for inputs in items.feeds(self.manifest.inputs)
        ]
        return {
            spec.name: np.stack([answer[spec.name].reshape(spec.shape) for answer in answers])
            for spec in self.manifest.outputs
        }


def _feed(
    cut: Cut, tensors: Sequence[AnyArray], encodings: Sequence[Encoding]
) -> dict[str, AnyArray]:
    """What the first part of a tail reads: what crossed and what symbols stand for."""
    feed: dict[str, AnyArray] = {}
    for tensor, values, encoding in zip(cut.tensors, tensors, encodings, strict=True):
        name, *scales = tensor.feeds
        feed[name] = values
        if isinstance(encoding, Symbols):
            shape = [] if tensor.wire.batch_axis is None else [1]
            feed[scales[0]] = np.full(shape, encoding.step, np.float32)
            feed[scales[1]] = np.full(shape, encoding.zero_point, np.uint8)
    return feed
