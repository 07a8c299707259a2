"""Device and cloud as the contract has them, on the files of a plan, with no link between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from isthmus import Candidate, Cut, FrameEncoder, Manifest, SymbolCoder, Symbols, decode_frame
from isthmus_partitioner.runtime import open_session, run_batches

AnyArray = NDArray[np.generic]
UInt8Array = NDArray[np.uint8]
FloatArray = NDArray[np.float32]


def run_in_order(model: onnx.ModelProto | Path, *inputs: AnyArray) -> AnyArray:
    """The first output of a graph whose inputs are told apart by their order alone."""
    session = open_session(model, threads=1)
    names = [info.name for info in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]


def run_stage(
    stage: onnx.ModelProto | Path,
    boundary: AnyArray,
    encoding: Symbols,
    previous: UInt8Array | None = None,
    hold: float = 0.0,
) -> UInt8Array:
    """Symbols of a stage that quantises; `previous` are those of the frame before."""
    nothing = np.zeros((1,) * boundary.ndim, np.uint8)
    symbols = run_in_order(
        stage,
        boundary,
        np.asarray(encoding.step, np.float32),
        np.asarray(encoding.zero_point, np.uint8),
        np.asarray(encoding.levels - 1, np.uint8),
        nothing if previous is None else previous,
        np.asarray(hold, np.float32),
    )
    return symbols.view(np.uint8)


@dataclass(frozen=True)
class Served:
    """What came back for some pictures."""

    answers: FloatArray
    payload_bytes: tuple[int, ...]


@dataclass(frozen=True)
class Bundle:
    """A manifest and the folder of its files."""

    manifest: Manifest
    folder: Path

    def serve(self, candidate: Candidate, rung: int, pictures: UInt8Array) -> Served:
        """Head segments, stage, wire and tail, one picture after the other."""
        cut = self.manifest.cut_of(candidate)
        boundary = self._chain(cut.depth, pictures)
        if candidate.is_local:
            return Served(boundary.view(np.float32), ())
        (encoding,) = candidate.rungs[rung].encodings
        encoder, coder = FrameEncoder(), SymbolCoder()
        arrived, sizes = [], []
        for index in range(len(pictures)):
            sent = self._wire(cut, encoding, boundary[index : index + 1])
            frame = encoder.encode(candidate, cut, rung, (sent,))
            tensors, _ = decode_frame(frame, candidate, cut, coder, None)
            arrived.append(tensors[0])
            sizes.append(len(frame.payloads[0].data))
        return Served(self._tail(cut, encoding, np.concatenate(arrived)), tuple(sizes))

    def _chain(self, depth: int, pictures: UInt8Array) -> AnyArray:
        tensor: AnyArray = pictures
        for segment in self.manifest.segments[:depth]:
            session = open_session(self.folder / segment.file, threads=1)
            tensor = run_batches(session, {segment.inputs[0].name: tensor})[0]
        return tensor

    def _wire(self, cut: Cut, encoding: object, boundary: AnyArray) -> AnyArray:
        (tensor,) = cut.tensors
        if tensor.stage is None:
            return boundary
        if tensor.quantisation is not None:
            return run_in_order(self.folder / tensor.stage, boundary)
        assert isinstance(encoding, Symbols)
        return run_stage(self.folder / tensor.stage, boundary, encoding)

    def _tail(self, cut: Cut, encoding: object, arrived: AnyArray) -> FloatArray:
        assert cut.tail is not None
        session = open_session(self.folder / cut.tail, threads=1)
        feeds: Mapping[str, AnyArray]
        if isinstance(encoding, Symbols):
            scalars = np.float32(encoding.step), np.uint8(encoding.zero_point)
            names = [info.name for info in session.get_inputs()]
            values = (arrived, *map(np.asarray, scalars))
            feeds = dict(zip(names, values, strict=True))
        else:
            feeds = {session.get_inputs()[0].name: arrived}
        return run_batches(session, feeds)[0].view(np.float32)
