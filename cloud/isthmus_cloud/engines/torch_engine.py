"""PyTorch as the engine, for machines that have it and a GPU, but no GPU build of ONNX Runtime.

onnx2pytorch turns a part's graph into a module. Neither belongs to what the service needs: they are
looked for when this engine is asked for, and an operator that the importer lacks, or gets wrong, is
found before devices come (`trial.require_agreement`). Files are read as protobuf; nothing is
unpickled.
"""

import importlib
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import ConfigError, ModelError
from isthmus_cloud.engines.ort_session import CPU_PLACEMENT, ORT_FAILURES, open_session
from isthmus_cloud.engines.seam import AnyArray, Value

INSTALL = "isthmus[cloud-torch]"

__all__ = ["TorchEngine", "TorchPlacement", "TorchProgram", "torch_placements"]

# What a module of unknown operators and shapes may fail with; all of it concerns one batch.
_FAILURES: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    NotImplementedError,
)
_LOAD_FAILURES: tuple[type[Exception], ...] = (
    *_FAILURES,
    *ORT_FAILURES,
    AttributeError,
    OSError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchPlacement:
    """Where PyTorch computes: "cuda" or "cpu"; `precision` "fp16", or "" for fp32."""

    device: str
    precision: str = ""

    @property
    def title(self) -> str:
        """For people."""
        return f"PyTorch on {self.device}" + (f" ({self.precision})" if self.precision else "")


def torch_placements(provider: str) -> tuple[TorchPlacement, ...]:
    """The ways to run with provider "auto", "cuda" or "cpu", the one to be tried first in front.

    ConfigError where PyTorch or its importer is not installed, or has no CUDA.
    """
    torch = _module("torch")
    _module("onnx2pytorch")
    has_cuda = bool(torch.cuda.is_available())
    if provider == "cuda" and not has_cuda:
        raise ConfigError(
            f"PyTorch {torch.__version__} finds no CUDA device; check NVIDIA's driver "
            "(nvidia-smi), or choose the engine 'onnxruntime'"
        )
    if provider == "cpu" or not has_cuda:
        return (TorchPlacement(device="cpu"),)
    return (TorchPlacement(device="cuda", precision="fp16"), TorchPlacement(device="cuda"))


class TorchProgram:
    """One graph as a module; see `seam.Program`."""

    def __init__(self, path: Path, module: Any, placement: TorchPlacement) -> None:
        self._path = path
        self._torch = _module("torch")
        self._module = module
        self._placement = placement
        described = open_session(path, CPU_PLACEMENT, threads=1)
        nodes = described.get_inputs()
        self._inputs = {node.name: str(node.type) for node in nodes}
        self._outputs = {node.name: str(node.type) for node in described.get_outputs()}
        is_open = any(isinstance(size, str | None) for node in nodes for size in node.shape)
        self._sizes = () if is_open else (1,)

    @property
    def inputs(self) -> Mapping[str, str]:
        """The graph's inputs in order: ONNX Runtime's types by name, as "tensor(uint8)"."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs, in its order."""
        return tuple(self._outputs)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Any, or one item where the graph is made for one."""
        return self._sizes

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        """The outputs for a batch, as tensors of the device, once they are computed."""
        try:
            return self._computed(feeds)
        except _FAILURES as error:
            raise ModelError(f"{self._path}: PyTorch failed on a batch: {error!r}") from error

    def _computed(self, feeds: Mapping[str, Value]) -> list[Value]:
        torch, device = self._torch, self._placement.device
        given = [on_device(torch, feeds[name], device) for name in self._inputs]
        with ExitStack() as modes:
            modes.enter_context(torch.inference_mode())
            if self._placement.precision:
                modes.enter_context(torch.autocast(device, torch.float16))
            made = self._module(*given)
        several = list(made) if isinstance(made, list | tuple) else [made]
        pairs = zip(several, self._outputs.values(), strict=True)
        outputs = [tensor.float() if kind == "tensor(float)" else tensor for tensor, kind in pairs]
        if device == "cuda":
            torch.cuda.synchronize()
        return outputs


class TorchEngine:
    """Loads graphs into PyTorch; see `seam.Engine`. A file that is loaded again is the same
    program."""

    def __init__(self, threads: int, placement: TorchPlacement) -> None:
        self._torch = _module("torch")
        self._importer = _module("onnx2pytorch")
        self._onnx = _module("onnx")
        self._placement = placement
        self._lock = threading.Lock()
        self._programs: dict[Path, TorchProgram] = {}
        self._torch.set_num_threads(threads)  # of all modules of this process

    @property
    def provider(self) -> str:
        """PyTorch, its device, and the precision where it is not fp32."""
        return self._placement.title

    def load(self, path: Path) -> TorchProgram:
        """Ready to run; ModelError if the importer does not know an operator of it."""
        with self._lock:
            if path not in self._programs:
                self._programs[path] = self._opened(path)
            return self._programs[path]

    def join(self, values: Sequence[Value], axis: int) -> Value:
        """Batches as one, on the device."""
        device = self._placement.device
        try:
            tensors = [on_device(self._torch, value, device) for value in values]
            joined: Value = self._torch.cat(tensors, axis)
        except _FAILURES as error:
            raise ModelError(f"{len(values)} batches cannot be put together: {error}") from error
        return joined

    def to_host(self, value: Value) -> AnyArray:
        """The tensor as an array."""
        if isinstance(value, np.ndarray):
            return value
        assert isinstance(value, self._torch.Tensor)
        try:
            array: AnyArray = value.numpy(force=True)
        except _FAILURES as error:
            raise ModelError(f"a tensor cannot be read from {self.provider}: {error}") from error
        return array

    def close(self) -> None:
        """Let go of all modules."""
        with self._lock:
            self._programs.clear()

    def _opened(self, path: Path) -> TorchProgram:
        try:
            model = self._onnx.load(path)
            module = self._importer.ConvertModel(model).eval().to(self._placement.device)
            return TorchProgram(path, module, self._placement)
        except _LOAD_FAILURES as error:
            raise ModelError(
                f"{path}: onnx2pytorch cannot make a module of this part of a tail: {error!r}; "
                "choose the engine 'onnxruntime'"
            ) from error


def on_device(torch: Any, value: Value, device: str) -> Any:
    """A tensor where the module computes; arrays are copied there."""
    if isinstance(value, np.ndarray):
        # A copy: PyTorch takes no array that must not be written to, as frames off the wire are.
        value = torch.tensor(value)
    assert isinstance(value, torch.Tensor)
    return value.to(device)


def _module(name: str) -> Any:
    """Not an import of this package: the service does without."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"the engine 'torch' needs {name}, which cannot be imported ({error}); install "
            f"{INSTALL}, or choose the engine 'onnxruntime'"
        ) from error
