"""The tails on ONNX Runtime: one ready session for every cut, on the GPU where there is one."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from isthmus import (
    Bundle,
    BundleError,
    ConfigError,
    Cut,
    Manifest,
    ModelError,
    TensorSpec,
    left_to_answer,
)
from isthmus_cloud.answering.feeds import AnyArray, blank_feeds
from isthmus_cloud.config import ProviderChoice, ServiceConfig

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

__all__ = ["CPU", "CUDA", "OnnxTail", "TailEngine", "load_tails", "outputs_of"]

_ORT_FAILURES: tuple[type[Exception], ...] = (
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

_OTHER_NAMES = {"float32": "float", "float64": "double"}  # as ONNX Runtime calls them

_logger = logging.getLogger(__name__)


class TailEngine(Protocol):
    """Runs what lies behind one cut; called from worker threads, several at once."""

    @property
    def provider(self) -> str:
        """What computes, by ONNX Runtime's name."""

    def run(self, feeds: Sequence[AnyArray]) -> Sequence[AnyArray]:
        """Outputs in the manifest's order, without those that the cut's head has answered.

        `feeds` are, for each tensor of the cut, the wire tensor (a batch of one) and, where it is
        quantised, its step (float32 []) and zero point (uint8 []): value = (q - zero_point) * step.
        """


class OnnxTail:
    """One tail in an ONNX Runtime session."""

    def __init__(self, path: Path, provider: str, threads: int) -> None:
        self._path = path
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; its warnings concern whoever built the graph
        # Every tail has its own threads: those of the idle ones must not spin.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = [provider] if provider == CPU else [provider, CPU]
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except _ORT_FAILURES as error:
            raise ModelError(
                f"{path}: ONNX Runtime {ort.__version__} cannot load this tail: {error}; "
                "build the bundle again with the version that runs here"
            ) from error
        inputs = self._session.get_inputs()
        self._inputs = {node.name: str(node.type) for node in inputs}
        self._outputs = tuple(node.name for node in self._session.get_outputs())

    @property
    def provider(self) -> str:
        """The provider that is really in use: ONNX Runtime falls back without a word."""
        return str(self._session.get_providers()[0])

    @property
    def inputs(self) -> Mapping[str, str]:
        """The graph's inputs in order: ONNX Runtime's types by name, as "tensor(uint8)"."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs, in its order."""
        return self._outputs

    def run(self, feeds: Sequence[AnyArray]) -> Sequence[AnyArray]:
        """See `TailEngine.run`; ModelError if ONNX Runtime fails."""
        try:
            outputs: Sequence[AnyArray] = self._session.run(
                None, dict(zip(self._inputs, feeds, strict=True))
            )
        except _ORT_FAILURES as error:
            raise ModelError(f"{self._path}: ONNX Runtime failed on a frame: {error}") from error
        return outputs


def load_tails(
    bundle: Bundle, config: ServiceConfig, announce: Callable[[str], None]
) -> Mapping[str, OnnxTail]:
    """Ready, warm tails by cut id; one line of progress for each."""
    provider = _wanted_provider(config.provider)
    cuts = [cut for cut in bundle.manifest.cuts if cut.tail is not None]
    tails: dict[str, OnnxTail] = {}
    for number, cut in enumerate(cuts, 1):
        started = time.perf_counter()
        tails[cut.id] = tail = _load_tail(bundle, cut, provider, config.threads)
        if config.provider == "cuda" and tail.provider != CUDA:
            raise ConfigError(f"provider is 'cuda', but {_cuda_is_missing()}")
        took_ms = (time.perf_counter() - started) * 1e3
        announce(f"tail {number}/{len(cuts)} ready: {cut.id} on {tail.provider}, {took_ms:.0f} ms")
    if provider == CUDA and any(tail.provider == CPU for tail in tails.values()):
        _logger.warning("the tails run on the CPU: %s", _cuda_is_missing())
    return tails


def outputs_of(manifest: Manifest, cut: Cut) -> tuple[TensorSpec, ...]:
    """What the tail of a cut answers: the model's outputs that its head does not."""
    return tuple(left_to_answer(manifest.outputs, cut.answers))


def _wanted_provider(choice: ProviderChoice) -> str:
    if choice == "cpu":
        return CPU
    if CUDA in ort.get_available_providers():
        # The CUDA libraries that came by pip are found only after this.
        ort.preload_dlls()
        return CUDA
    if choice == "cuda":
        raise ConfigError(f"provider is 'cuda', but {_cuda_is_missing()}")
    return CPU


def _cuda_is_missing() -> str:
    found = ", ".join(ort.get_available_providers())
    return (
        f"ONNX Runtime cannot use CUDA here (it offers {found}); install isthmus[cloud-gpu] in "
        "place of isthmus[cloud] and check the driver, or choose the provider 'cpu'"
    )


def _load_tail(bundle: Bundle, cut: Cut, provider: str, threads: int) -> OnnxTail:
    assert cut.tail is not None
    path = bundle.file(cut.tail)
    tail = OnnxTail(path, provider, threads)
    feeds = blank_feeds(cut)
    _check_inputs(path, tail.inputs, feeds)
    try:
        answers = tail.run(feeds)
    except ModelError as error:  # it may decide on a value for which zero is no answer
        _logger.warning("%s: is checked with its first frame; on zeros: %s", path, error)
        return tail
    made = dict(zip(tail.outputs, answers, strict=True))
    _check_outputs(path, made, outputs_of(bundle.manifest, cut))
    return tail


def _check_inputs(path: Path, inputs: Mapping[str, str], feeds: Sequence[AnyArray]) -> None:
    wanted = [_type_name(feed) for feed in feeds]
    if list(inputs.values()) != wanted:
        got = ", ".join(f"{name} {kind}" for name, kind in inputs.items())
        raise BundleError(
            f"{path}: its inputs are {got}, the manifest says {', '.join(wanted)}; "
            "build the bundle again"
        )


def _type_name(feed: AnyArray) -> str:
    name = feed.dtype.name
    return f"tensor({_OTHER_NAMES.get(name, name)})"


def _check_outputs(
    path: Path, outputs: Mapping[str, AnyArray], specs: Sequence[TensorSpec]
) -> None:
    got = [(name, output.dtype.name, output.shape) for name, output in outputs.items()]
    wanted = [(spec.name, spec.data_type, spec.graph_shape) for spec in specs]
    if got != wanted:
        raise BundleError(
            f"{path}: its outputs are {got}, the manifest says {wanted}; build the bundle again"
        )
