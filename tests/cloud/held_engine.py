"""An engine that a test holds up from outside, in whatever process it runs (see `far_gate`).

Zeros are no picture to it: a batch that holds an item of zeros fails. Services measure with zeros,
so they know nothing of its times, and let batches grow as far as they may.
"""

import os
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from isthmus import Bundle, ModelError
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine, OrtProgram
from isthmus_cloud.engines.seam import AnyArray, Value

GATE = "ISTHMUS_TEST_GATE"  # the path of its socket
LAST_PART = "tail-1.onnx"
HAIL = struct.Struct("<II")  # what comes to the gate: items, and the process that runs them
GO, FAIL = b"g", b"f"
HELD = f"python://{__name__}:held"

__all__ = ["FAIL", "GATE", "GO", "HAIL", "HELD", "HeldEngine", "held"]


def held(_provider: str, cores: Cores, _bundle: Bundle) -> "HeldEngine":
    """See `isthmus_cloud.engines.brought`."""
    return HeldEngine(OrtEngine(cores))


class HeldProgram:
    """As the one that it holds; the last part of a tail waits at the gate. Runs nothing once its
    engine `is_closed`."""

    def __init__(self, inner: OrtProgram, is_last: bool, is_closed: threading.Event) -> None:
        self._inner = inner
        self._is_last = is_last
        self._is_closed = is_closed

    @property
    def inputs(self) -> Mapping[str, str]:
        return self._inner.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._inner.outputs

    @property
    def sizes(self) -> tuple[int, ...]:
        return self._inner.sizes

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        first = np.asarray(feeds[next(iter(self.inputs))])
        if not first.reshape(len(first), -1).any(axis=1).all():
            raise ModelError("zeros are no picture, which is a secret of the house")
        if self._is_last and not _let_pass(len(first)):
            raise RuntimeError("secret of the house")
        if self._is_closed.is_set():
            raise RuntimeError("the engine was closed while its programs were still run")
        return self._inner.run(feeds)


class HeldEngine:
    """ONNX Runtime on the CPU behind a gate."""

    provider = "HeldExecutionProvider"

    def __init__(self, inner: OrtEngine) -> None:
        self._inner = inner
        self._is_closed = threading.Event()

    def load(self, path: Path) -> HeldProgram:
        return HeldProgram(self._inner.load(path), path.name == LAST_PART, self._is_closed)

    def join(self, values: Sequence[Value], axis: int) -> Value:
        return self._inner.join(values, axis)

    def to_host(self, value: Value) -> AnyArray:
        return self._inner.to_host(value)

    def close(self) -> None:
        self._is_closed.set()
        self._inner.close()


def _let_pass(items: int) -> bool:
    """Wait at the gate with a batch of so many; at once where none stands. False: it is to fail."""
    with socket.socket(socket.AF_UNIX) as gate:
        try:
            gate.connect(os.environ[GATE])
        except (FileNotFoundError, ConnectionRefusedError):
            return True
        gate.sendall(HAIL.pack(items, os.getpid()))
        return gate.recv(1) != FAIL
