"""ONNX Runtime as tests use it beside each other: one thread, which no other one waits for."""

from functools import cache
from pathlib import Path

import onnxruntime as ort

__all__ = ["calm_session", "kept_session"]


def calm_session(model: bytes | str | Path) -> ort.InferenceSession:
    """By default there is a thread for each core, and those without work spin."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # an output of unknown rank is no news
    options.add_session_config_entry("session.x64quantprecision", "1")  # as everywhere in Isthmus
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@cache
def kept_session(path: Path) -> ort.InferenceSession:
    """Opened once, of a file that stays as it is."""
    return calm_session(path)
