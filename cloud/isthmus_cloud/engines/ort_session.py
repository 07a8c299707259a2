"""Sessions of ONNX Runtime: where they compute, and what they fail with, said in one place."""

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from isthmus.exact_sums import with_exact_sums

CPU = "CPUExecutionProvider"

__all__ = ["CPU", "CPU_PLACEMENT", "ORT_FAILURES", "Placement", "on_one_line", "open_session"]

ORT_FAILURES: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.EngineError,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,  # a feed of a type that it cannot take
    ValueError,  # a provider or input that it does not know
)

_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where ONNX Runtime computes.

    `word` is what people call it ("cuda"), `provider` ONNX Runtime's name; `options` are the
    provider's. What it cannot run goes to those of `behind`, then to the CPU. `memory` is ONNX
    Runtime's word for where tensors stay between the parts of a tail, None for the host.
    `plugged` are the devices of a provider that came as a plug-in. `largest_batch` is the most
    that it is prepared for, None where any batch will do; `precision` is not "" where it computes
    in less than fp32, and `halves` says that graphs are turned into fp16 ones for it. With
    `one_at_a_time` two runs at once would spoil each other's answers.
    """

    word: str
    provider: str
    options: Mapping[str, str] = field(default_factory=dict)
    behind: tuple[str, ...] = ()
    memory: str | None = None
    plugged: tuple[Any, ...] = ()
    largest_batch: int | None = None
    precision: str = ""
    halves: bool = False
    one_at_a_time: bool = False

    @property
    def title(self) -> str:
        """The provider, and its precision where that is not fp32."""
        return f"{self.provider} ({self.precision})" if self.precision else self.provider

    @property
    def turn(self) -> AbstractContextManager[object]:
        """What whoever uses the provider holds meanwhile: the one lock of the process, or none."""
        return _ONE_AT_A_TIME if self.one_at_a_time else nullcontext()

    @property
    def for_joins(self) -> "Placement":
        """Where batches are put together: TensorRT would build an engine for every size."""
        if self.largest_batch is None:
            return self
        return Placement(word=self.word, provider=self.behind[0], memory=self.memory)


CPU_PLACEMENT = Placement(word="cpu", provider=CPU)


def open_session(
    model: Path | bytes,
    placement: Placement,
    threads: int,
    options: Mapping[str, str] | None = None,
) -> Any:
    """A session that really has the placement's provider.

    `options` are added to the provider's own. Raises one of `ORT_FAILURES`, or RuntimeError where
    ONNX Runtime would have gone on without the provider.
    """
    given = {**placement.options, **(options or {})}
    with placement.turn:
        settings = _settings(threads)
        session = with_exact_sums(
            settings,
            lambda: _session(model, placement, settings, given),
            ORT_FAILURES if placement.provider == CPU else (),  # others have fusions of their own
        )
    found = session.get_providers()
    if found[0] != placement.provider:
        raise RuntimeError(
            f"ONNX Runtime {ort.__version__} left {placement.provider} out and offers "
            f"{', '.join(found)} instead: its libraries or its driver are missing"
        )
    return session


def _session(
    model: Path | bytes, placement: Placement, settings: Any, options: Mapping[str, str]
) -> Any:
    source = str(model) if isinstance(model, Path) else model
    if placement.plugged:
        settings.add_provider_for_devices(list(placement.plugged), dict(options))
        return ort.InferenceSession(source, settings, enable_fallback=0)
    first = (placement.provider, dict(options)) if options else placement.provider
    behind = [name for name in (*placement.behind, CPU) if name != placement.provider]
    return ort.InferenceSession(source, settings, providers=[first, *behind], enable_fallback=0)


def on_one_line(error: Exception) -> str:
    """What an error says, as one line: ONNX Runtime's messages have several."""
    return " ".join(str(error).split())


def _settings(threads: int) -> Any:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3  # errors; its warnings concern whoever built the graph
    # Every part has its own threads: those of the idle ones must not spin.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return settings
