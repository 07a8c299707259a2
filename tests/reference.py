"""What a bundle of the tests must answer, computed without the wire, the edge or the cloud room."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from isthmus import Cut, CutTensor, Encoding, Manifest, Picture, Symbols, open_bundle
from isthmus_edge import Answer

AnyArray = NDArray[np.generic]
Probabilities = NDArray[np.float32]
Orders = Mapping[str, NDArray[np.intp]]


class Reference:
    """The bundle's own graphs, run one after the other, with the quantiser as its formula says.

    `orders` holds the channel order on the wire by boundary tensor: what a stage does to it.
    """

    def __init__(self, bundle: Path, orders: Orders | None = None) -> None:
        self.manifest: Manifest = open_bundle(bundle, "device").manifest
        self._orders = {} if orders is None else orders
        self._segments = [_session(bundle / each.file) for each in self.manifest.segments]
        self._tails = {
            cut.id: _session(bundle / cut.tail)
            for cut in self.manifest.cuts
            if cut.tail is not None
        }

    def unsplit(self, picture: NDArray[np.uint8]) -> Probabilities:
        """The probabilities [1,10] of the whole fp32 network."""
        return _run(self._tails["input"], [picture])

    def expected(
        self, candidate_id: str, picture: NDArray[np.uint8], rung: int | None = None
    ) -> Probabilities:
        """The probabilities [1,10] by way of a candidate, by default at its chosen rung."""
        candidate = self.manifest.candidate(candidate_id)
        cut = self.manifest.cut_of(candidate)
        boundary = self._boundary(cut, picture)
        if candidate.is_local:
            return np.asarray(boundary[0], np.float32)
        encodings = candidate.rungs[candidate.chosen if rung is None else rung].encodings
        feeds: list[AnyArray] = []
        for values, tensor, encoding in zip(boundary, cut.tensors, encodings, strict=True):
            feeds += self._fed(values, tensor, encoding)
        return _run(self._tails[cut.id], feeds)

    def is_right(self, answer: Answer, picture: NDArray[np.uint8]) -> bool:
        """Whether this is the picture's answer, by the way that it says it came."""
        (got,) = answer.outputs.values()
        if answer.place == "cloud":
            expected = self.expected(answer.candidate, picture, answer.rung)
        else:
            expected = self.expected(self.manifest.local.id, picture)
        return np.allclose(got, expected, atol=1e-5)

    def _boundary(self, cut: Cut, picture: NDArray[np.uint8]) -> list[AnyArray]:
        tensors: list[AnyArray] = [picture]
        for segment, session in zip(self.manifest.segments, self._segments, strict=True):
            if segment in self.manifest.segments[: cut.depth]:
                feeds = dict(zip((s.name for s in segment.inputs), tensors, strict=True))
                tensors = session.run([s.name for s in segment.outputs], feeds)
        return tensors

    def _fed(self, boundary: AnyArray, tensor: CutTensor, encoding: Encoding) -> list[AnyArray]:
        """What the tail gets for one tensor of the cut."""
        order = self._orders.get(tensor.boundary.name)
        values = boundary if order is None else boundary[:, order]
        known = tensor.quantisation
        match encoding:
            case Symbols(step=step, zero_point=zero_point):
                real = values.astype(np.float64)
                if known is not None:
                    real = (real - known.zero_point) * known.scale
                symbols = np.clip(np.rint(real / step) + zero_point, 0, encoding.levels - 1)
                return [symbols.astype(np.uint8), *_scalars(step, zero_point)]
            case Picture(format="jpeg", quality=int(quality)):
                return [_through_jpeg(values, quality)]
            case _ if known is not None:
                return [values, *_scalars(known.scale, known.zero_point)]
            case _:
                return [values]


def _scalars(step: float, zero_point: int) -> list[AnyArray]:
    return [np.array(step, np.float32), np.array(zero_point, np.uint8)]


def _through_jpeg(picture: AnyArray, quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(picture.view(np.uint8)[0]).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))[np.newaxis]


def _run(session: ort.InferenceSession, feeds: list[AnyArray]) -> Probabilities:
    names = [value.name for value in session.get_inputs()]
    return np.asarray(session.run(None, dict(zip(names, feeds, strict=True)))[0], np.float32)


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # as on the device: another order of sums, another rounding
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
