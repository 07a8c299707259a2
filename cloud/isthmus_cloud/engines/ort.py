"""ONNX Runtime as the engine: on the CPU, or wherever a placement says."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from isthmus import ModelError
from isthmus_cloud.engines.concat_graph import concat_graph
from isthmus_cloud.engines.cores import Cores, Share
from isthmus_cloud.engines.half import half_of
from isthmus_cloud.engines.ort_session import (
    CPU,
    CPU_PLACEMENT,
    ORT_FAILURES,
    Placement,
    on_one_line,
    open_session,
)
from isthmus_cloud.engines.seam import AnyArray, Value
from isthmus_cloud.engines.tensorrt import profile_of

__all__ = ["OrtEngine", "OrtProgram"]

_REBUILD = "build the bundle again with the version that runs here"


class OrtProgram:
    """One graph in ONNX Runtime; see `seam.Program`.

    `sessions` by what each uses; `cores` says which one runs, where there are several. Its batch
    sizes are any where the graph leaves a dimension open, one where it does not, and up to what the
    placement is prepared for.
    """

    def __init__(
        self, path: Path, sessions: Mapping[Share, Any], placement: Placement, cores: Cores
    ) -> None:
        self._path = path
        self._sessions = sessions
        self._first = next(iter(sessions.values()))
        self._cores = cores
        self._memory = placement.memory
        self._turn = placement.turn
        nodes = self._first.get_inputs()
        self._inputs = {node.name: str(node.type) for node in nodes}
        self._outputs = tuple(node.name for node in self._first.get_outputs())
        is_open = any(isinstance(size, str | None) for node in nodes for size in node.shape)
        most = placement.largest_batch or 0
        self._sizes = tuple(range(1, most + 1)) if is_open else (1,)

    @property
    def inputs(self) -> Mapping[str, str]:
        """The graph's inputs in order: ONNX Runtime's types by name, as "tensor(uint8)"."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs, in its order."""
        return self._outputs

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that it takes, ascending; () for any."""
        return self._sizes

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        """The outputs for a batch; `feeds` may hold more tensors than the graph reads."""
        try:
            read = {name: feeds[name] for name in self._inputs}
        except KeyError as missing:
            raise ModelError(
                f"{self._path}: reads {missing}, which neither crossed nor was made by a part "
                "before it; build the bundle again"
            ) from missing
        try:
            with self._turn, self._session() as session:
                return self._bound(session, read) if self._memory else self._on_host(session, read)
        except ORT_FAILURES as error:
            raise ModelError(
                f"{self._path}: ONNX Runtime failed on a batch: {on_one_line(error)}"
            ) from error

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """For this run: the only one, or that of its share of the processor."""
        if len(self._sessions) == 1:
            yield self._first
            return
        with self._cores.run() as share:
            yield self._sessions[share]

    def _on_host(self, session: Any, feeds: Mapping[str, Value]) -> Sequence[Value]:
        outputs: Sequence[Value] = session.run(None, feeds)
        return outputs

    def _bound(self, session: Any, feeds: Mapping[str, Value]) -> Sequence[Value]:
        """Run on the device's memory, where the outputs stay."""
        return bound_run(session, feeds, self._outputs, self._memory)


class OrtEngine:
    """Loads graphs into ONNX Runtime; see `seam.Engine`. A file that is loaded again is the same
    program. On the CPU it has a session for everything that `cores` may say."""

    def __init__(self, cores: Cores, placement: Placement = CPU_PLACEMENT) -> None:
        self._cores = cores
        self._threads = cores.alone
        self._placement = placement
        self._lock = threading.Lock()
        self._programs: dict[Path, OrtProgram] = {}
        self._joiners: dict[tuple[int, int, int, int], Any] = {}

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what computes, with the precision where it is not fp32."""
        return self._placement.title

    def load(self, path: Path) -> OrtProgram:
        """Ready to run; ModelError if ONNX Runtime cannot load the file here."""
        with self._lock:
            if path not in self._programs:
                self._programs[path] = self._opened(path)
            return self._programs[path]

    def join(self, values: Sequence[Value], axis: int) -> Value:
        """Batches as one, where they are: on the device if one of them is there."""
        if len(values) == 1:
            return values[0]
        if all(isinstance(value, np.ndarray) for value in values):
            return np.concatenate([_array(value) for value in values], axis)
        on_device = next(value for value in values if isinstance(value, ort.OrtValue))
        kind, rank = on_device.element_type(), len(on_device.shape())
        feeds = {str(index): value for index, value in enumerate(values)}
        try:
            joiner = self._joiner(len(values), kind, rank, axis)
            return bound_run(joiner, feeds, ("joined",), self._placement.memory)[0]
        except ORT_FAILURES as error:
            raise ModelError(
                f"{len(values)} batches cannot be put together on {self.provider}: "
                f"{on_one_line(error)}"
            ) from error

    def to_host(self, value: Value) -> AnyArray:
        """The tensor as an array."""
        if not isinstance(value, ort.OrtValue):
            return _array(value)
        try:
            array: AnyArray = value.numpy()
        except ORT_FAILURES as error:
            raise ModelError(
                f"a tensor cannot be read from {self.provider}: {on_one_line(error)}"
            ) from error
        return array

    def close(self) -> None:
        """Let go of all sessions."""
        with self._lock:
            self._programs.clear()
            self._joiners.clear()

    def _opened(self, path: Path) -> OrtProgram:
        try:
            options = self._options_for(path)
            model = half_of(path) if self._placement.halves else path
            sessions = {
                share: open_session(model, self._placement, share.threads, options)
                for share in self._shares()
            }
        except ORT_FAILURES as error:
            raise ModelError(
                f"{path}: ONNX Runtime {ort.__version__} cannot load this part of a tail on "
                f"{self.provider}: {on_one_line(error)}; {_REBUILD}"
            ) from error
        return OrtProgram(path, sessions, self._placement, self._cores)

    def _shares(self) -> tuple[Share, ...]:
        return self._cores.shares if self._placement.provider == CPU else (Share(self._threads),)

    def _options_for(self, path: Path) -> Mapping[str, str]:
        if self._placement.largest_batch is None:
            return {}
        nodes = open_session(path, CPU_PLACEMENT, self._threads).get_inputs()
        shapes = {node.name: tuple(node.shape) for node in nodes}
        return profile_of(path, shapes, self._placement.largest_batch)

    def _joiner(self, count: int, kind: int, rank: int, axis: int) -> Any:
        key = (count, kind, rank, axis)
        with self._lock:
            if key not in self._joiners:
                graph = concat_graph(*key)
                self._joiners[key] = open_session(graph, self._placement.for_joins, self._threads)
            return self._joiners[key]


def bound_run(
    session: Any, feeds: Mapping[str, Value], outputs: Sequence[str], memory: str | None
) -> Sequence[Value]:
    """Run with arrays copied to the device and tensors that are there read where they are; the
    outputs stay there."""
    binding = session.io_binding()
    held = []  # arrays are read when the session runs
    for name, value in feeds.items():
        if isinstance(value, ort.OrtValue):
            binding.bind_ortvalue_input(name, value)
        else:
            held.append(np.asarray(value, order="C"))
            binding.bind_cpu_input(name, held[-1])
    for name in outputs:
        binding.bind_output(name, memory)
    binding.synchronize_inputs()
    session.run_with_iobinding(binding)
    binding.synchronize_outputs()
    made: Sequence[Value] = binding.get_outputs()
    return made


def _array(value: Value) -> AnyArray:
    assert isinstance(value, np.ndarray)
    return value
