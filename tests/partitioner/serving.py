"""The files of a plan in the hands of the real device and the real service, without a link."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from isthmus import Bundle as Files
from isthmus import Candidate, FrameEncoder, Manifest, SymbolCoder
from isthmus_cloud import ServiceConfig, load_tails
from isthmus_cloud.answering.routes import routes_of
from isthmus_edge import Chains, Stages
from isthmus_partitioner import Samples
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
    """Device and service with all files of a manifest loaded."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self.manifest = manifest
        files = Files(folder, manifest, "unchecked", ())
        self._chains, self._stages = Chains(files, threads=1), Stages(files)
        tails = load_tails(files, ServiceConfig(bundle=folder, provider="cpu"), lambda _line: None)
        self._routes = routes_of(manifest, tails)

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
        route = self._routes[candidate.id]
        tensors, _ = route.decode(frame, SymbolCoder(), None)
        outputs = route.run(candidate.chosen, tensors)
        answers = {name: held[name] for name in cut.answers}
        answers |= {s.name: value for s, value in zip(route.outputs, outputs, strict=True)}
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
