"""Which engine runs the tails: ONNX Runtime with a provider, PyTorch, a Triton server, or one that
somebody brings."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from isthmus import Bundle, ConfigError, IsthmusError
from isthmus_cloud.engines.brought import BROUGHT, brought_engine, check_brought
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine
from isthmus_cloud.engines.ort_session import CPU_PLACEMENT, Placement
from isthmus_cloud.engines.providers import PROVIDERS, NotOfferedError, Provider, placements_for
from isthmus_cloud.engines.seam import Engine
from isthmus_cloud.engines.torch_engine import TorchEngine, torch_placements
from isthmus_cloud.engines.trial import is_faster, require_agreement
from isthmus_cloud.engines.triton import TritonEngine
from isthmus_cloud.engines.triton_address import SCHEME, TritonAddress

ONNX_RUNTIME = "onnxruntime"
AUTO = "auto"
TORCH = "torch"
PROVIDER_CHOICES: tuple[str, ...] = (AUTO, *PROVIDERS)

_PROVIDERS_OF: Mapping[str, tuple[str, ...]] = {
    ONNX_RUNTIME: PROVIDER_CHOICES,
    TORCH: (AUTO, "cuda", "cpu"),
}

__all__ = ["AUTO", "ONNX_RUNTIME", "PROVIDER_CHOICES", "TORCH", "check_choice", "open_engine"]

# The others compute on a GPU for servers: they leave the processor to the rest of the service.
_TO_BE_FASTER: frozenset[Provider] = frozenset({"webgpu", "openvino"})

_logger = logging.getLogger(__name__)


def check_choice(choice: str, provider: str) -> None:
    """ConfigError unless `open_engine` knows what is meant; nothing is loaded or asked."""
    if choice.startswith(SCHEME):
        TritonAddress.parse(choice)
    elif choice.startswith(BROUGHT):
        check_brought(choice)
        return  # what it makes of a provider is its own affair
    elif choice not in _PROVIDERS_OF:
        raise ConfigError(
            f"engine is {choice!r}; allowed are {', '.join(_PROVIDERS_OF)}, {SCHEME}HOST:PORT and "
            f"{BROUGHT}MODULE:FUNCTION"
        )
    allowed = _PROVIDERS_OF.get(choice, (AUTO,))  # a Triton server chooses where it computes
    if provider not in allowed:
        raise ConfigError(
            f"provider is {provider!r}; with the engine {choice!r} allowed are {', '.join(allowed)}"
        )


def open_engine(choice: str, provider: str, cores: Cores, bundle: Bundle) -> Engine:
    """The engine for one bundle; its answers agree with those of ONNX Runtime on the CPU.

    `choice` is "onnxruntime", "torch", "triton://HOST:PORT" or "python://MODULE:FUNCTION".
    With ONNX Runtime and "auto" the provider is the first that can be used and agrees: TensorRT,
    CUDA, WebGPU and OpenVINO if they are faster than the CPU, the CPU; any other is honoured or
    refused. ONNX Runtime on the CPU shares `cores`; what else computes there uses all of them for
    every run. Takes seconds, with TensorRT minutes: not on a loop. Raises ConfigError with the way
    out; with Triton LinkError where it does not answer, ModelError where it answers otherwise.
    """
    check_choice(choice, provider)
    if choice == TORCH:
        return _agreeing_torch(provider, cores, bundle)
    if choice.startswith(BROUGHT):
        return _compared(brought_engine(choice, provider, cores, bundle), cores, bundle)
    if choice != ONNX_RUNTIME:
        return _compared(TritonEngine(TritonAddress.parse(choice), bundle), cores, bundle)
    if provider == AUTO:
        return _automatic(cores, bundle)
    return _insisted(next(each for each in PROVIDERS if each == provider), cores, bundle)


def _compared(engine: Engine, cores: Cores, bundle: Bundle) -> Engine:
    try:
        _compare(engine, cores, bundle)
    except IsthmusError:
        engine.close()
        raise
    return engine


def _automatic(cores: Cores, bundle: Bundle) -> Engine:
    for provider in PROVIDERS:
        try:
            placements = placements_for(provider, cores.alone)
        except NotOfferedError as error:
            _logger.debug("%s is not used: %s", provider, error)
            continue
        except ConfigError as error:
            _logger.warning("%s is not used: %s", provider, error)
            continue
        engine, reasons = _agreeing(placements, cores, bundle)
        if engine is None:
            # ONNX Runtime's wheel for GPUs lists TensorRT, and hardly anybody has its libraries.
            level = logging.INFO if provider == "tensorrt" else logging.WARNING
            _logger.log(level, "%s is not used: %s", provider, "; ".join(reasons))
        elif provider in _TO_BE_FASTER and not _is_faster(engine, cores, bundle):
            _logger.info("%s is not used: the CPU provider is faster here", provider)
            engine.close()
        else:
            return engine
    raise AssertionError("the CPU is always there")


def _insisted(provider: Provider, cores: Cores, bundle: Bundle) -> Engine:
    try:
        placements = placements_for(provider, cores.alone)
    except ConfigError as error:
        raise ConfigError(f"provider is {provider!r}, but {error}") from error
    engine, reasons = _agreeing(placements, cores, bundle)
    if engine is None:
        raise _refused(f"provider is {provider!r}", reasons)
    return engine


def _agreeing(
    placements: Sequence[Placement], cores: Cores, bundle: Bundle
) -> tuple[Engine | None, list[str]]:
    """On the first of them that gives the network's answers; why not on the others."""
    if placements[0] == CPU_PLACEMENT:
        return OrtEngine(cores), []
    return _first(
        {each.precision: partial(OrtEngine, cores, each) for each in placements}, cores, bundle
    )


def _agreeing_torch(provider: str, cores: Cores, bundle: Bundle) -> Engine:
    placements = torch_placements(provider)
    engines = {each.precision: partial(TorchEngine, cores.alone, each) for each in placements}
    engine, reasons = _first(engines, cores, bundle)
    if engine is None:
        raise _refused(f"engine is {TORCH!r}", reasons)
    return engine


def _first(
    engines: Mapping[str, Callable[[], Engine]], cores: Cores, bundle: Bundle
) -> tuple[Engine | None, list[str]]:
    """`engines` by precision: less than fp32 is used only if every tail could be compared."""
    reasons: list[str] = []
    for precision, make in engines.items():
        engine = make()
        try:
            error = _compare(engine, cores, bundle, of_all=bool(precision))
        except IsthmusError as problem:
            engine.close()
            reasons.append(str(problem))
            continue
        _logger.info("%s agrees with the CPU within %.2g", engine.provider, error)
        return engine, reasons
    return None, reasons


def _refused(what: str, reasons: Iterable[str]) -> ConfigError:
    return ConfigError(
        f"{what}, but this bundle cannot be run there: {'; '.join(reasons)}; choose the engine "
        f"{ONNX_RUNTIME!r} with the provider 'auto' or 'cpu'"
    )


def _compare(engine: Engine, cores: Cores, bundle: Bundle, *, of_all: bool = False) -> float:
    reference = OrtEngine(Cores(cores.alone))
    try:
        return require_agreement(engine, reference, bundle, of_all=of_all)
    finally:
        reference.close()


def _is_faster(engine: Engine, cores: Cores, bundle: Bundle) -> bool:
    reference = OrtEngine(Cores(cores.alone))
    try:
        return is_faster(engine, reference, bundle)
    finally:
        reference.close()
