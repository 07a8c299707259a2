"""What the tiny bundle must answer, computed without the wire, the edge room or the cloud room."""

import io
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image
from tests.tinybundle import BOUNDARY_QUANTISATION, PROBABILITIES

from isthmus import Jpeg, Manifest, Symbols, open_bundle
from isthmus_edge import Answer

Probabilities = NDArray[np.float32]


class Reference:
    """The bundle's own graphs, run one after the other, with the quantiser as its formula says."""

    def __init__(self, bundle: Path) -> None:
        self.manifest: Manifest = open_bundle(bundle, "device").manifest
        names = ("device/segment-0", "device/segment-1", "cloud/tail-input", "cloud/tail-cut")
        self._sessions = {name: _session(bundle / f"{name}.onnx") for name in names}

    def unsplit(self, picture: NDArray[np.uint8]) -> Probabilities:
        """The probabilities [1,10] of the whole fp32 network."""
        return self._run("cloud/tail-input", picture=picture)

    def expected(self, candidate_id: str, picture: NDArray[np.uint8]) -> Probabilities:
        """The probabilities [1,10] by way of a candidate."""
        encoding = self.manifest.candidate(candidate_id).encoding
        match encoding:
            case None:
                return self._run("device/segment-1", boundary=self._boundary(picture))
            case Symbols():
                return self._run(
                    "cloud/tail-cut",
                    symbols=_requantised(self._boundary(picture), encoding),
                    step=np.array(encoding.step, np.float32),
                    zero_point=np.array(encoding.zero_point, np.uint8),
                )
            case Jpeg(quality=quality):
                return self.unsplit(_through_jpeg(picture, quality))
            case _:
                return self.unsplit(picture)

    def is_right(self, answer: Answer, picture: NDArray[np.uint8]) -> bool:
        """Whether this is the picture's answer, by the way that it says it came."""
        (got,) = answer.outputs.values()
        way = answer.candidate if answer.place == "cloud" else self.manifest.local.id
        return np.allclose(got, self.expected(way, picture), atol=1e-5)

    def _boundary(self, picture: NDArray[np.uint8]) -> NDArray[np.generic]:
        return np.asarray(self._sessions["device/segment-0"].run(None, {"picture": picture})[0])

    def _run(self, name: str, **feeds: NDArray[np.generic]) -> Probabilities:
        return np.asarray(self._sessions[name].run([PROBABILITIES.name], feeds)[0], np.float32)


def _requantised(boundary: NDArray[np.generic], to: Symbols) -> NDArray[np.uint8]:
    source = BOUNDARY_QUANTISATION
    real = (boundary.astype(np.float64) - source.zero_point) * source.scale
    symbols = np.clip(np.rint(real / to.step) + to.zero_point, 0, to.levels - 1)
    return np.asarray(symbols, np.uint8)


def _through_jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(picture[0]).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))[np.newaxis]


def _session(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])
