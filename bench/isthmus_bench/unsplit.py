"""The unsplit fp32 model: a baseline, and what all agreement is measured against."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

__all__ = ["Unsplit"]


class Unsplit:
    """The whole model in one ONNX Runtime session with one thread, as a small device runs it."""

    def __init__(self, model: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The first output for uint8 pictures [N,H,W,3]."""
        return np.asarray(self._session.run(None, {self._input: pictures})[0], np.float32)
