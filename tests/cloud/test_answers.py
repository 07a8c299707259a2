"""Frames over real gRPC: every one is answered once, and rightly."""

from collections.abc import Mapping
from typing import cast

import numpy as np
import onnxruntime as ort
import pytest

from isthmus import Bundle, SymbolCoder, Symbols, decode_answer, decode_tensor
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import RunningService
from tests.cloud.device import Device, Head, connected
from tests.tinybundle import PROBABILITIES

CANDIDATES = ["input-raw", "input-jpeg-q95", "cut-256", "cut-16"]


def computed_here(bundle: Bundle, frame: pb.Frame) -> np.ndarray[tuple[int, ...], np.dtype]:
    """What ONNX Runtime says to the frame's tensor, without any of the service's code."""
    candidate = bundle.manifest.candidate(frame.candidate)
    cut = bundle.manifest.cut_of(candidate)
    assert cut.tensor is not None
    assert cut.tail is not None
    assert candidate.encoding is not None
    tensor = decode_tensor(frame.tensors[0], cut.tensor, candidate.encoding, SymbolCoder())
    feeds: dict[str, np.ndarray] = {"picture": tensor}
    if isinstance(candidate.encoding, Symbols):
        feeds = {
            "symbols": tensor,
            "step": np.array(candidate.encoding.step, np.float32),
            "zero_point": np.array(candidate.encoding.zero_point, np.uint8),
        }
    session = ort.InferenceSession(bundle.file(cut.tail), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]
