"""Which execution providers of ONNX Runtime can be used here, and how each of them is set up.

Built-in ones come with ONNX Runtime's wheel (onnxruntime, onnxruntime-gpu, onnxruntime-openvino),
plug-ins in small wheels of their own beside it. ONNX Runtime lists what a wheel holds, not what
works: without a driver it falls back to the CPU and hardly says so. So each is tried first.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import onnxruntime as ort

from isthmus import ConfigError
from isthmus_cloud.engines import tensorrt
from isthmus_cloud.engines.concat_graph import concat_graph
from isthmus_cloud.engines.half import can_halve
from isthmus_cloud.engines.ort_session import (
    CPU_PLACEMENT,
    ORT_FAILURES,
    Placement,
    on_one_line,
    open_session,
)

Provider = Literal["tensorrt", "cuda", "webgpu", "openvino", "cpu"]

PROVIDERS: tuple[Provider, ...] = get_args(Provider)  # in the order in which "auto" tries them

__all__ = ["PROVIDERS", "NotOfferedError", "Provider", "placements_for"]

# AttributeError: an ONNX Runtime without plug-ins.
_PLUG_FAILURES: tuple[type[Exception], ...] = (
    *ORT_FAILURES,
    AttributeError,
    ImportError,
    OSError,
)
_plugged_in: set[str] = set()  # in this process; ONNX Runtime lists them with the built-in ones

_FLOAT = 1  # as ONNX counts types
_TRIAL = concat_graph(count=2, element_type=_FLOAT, rank=1, axis=0)


class NotOfferedError(ConfigError):
    """Nothing that is installed brings this provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One provider: ONNX Runtime's name, what is to be installed for it, where its tensors are, the
    module of the wheel that brings it as a plug-in ("" where there is none), and whether two runs
    at once would spoil each other's answers."""

    name: str
    install: str
    memory: str | None = None
    plug_in: str = ""
    one_at_a_time: bool = False


_KINDS: Mapping[Provider, _Kind] = {
    "tensorrt": _Kind(
        name="TensorrtExecutionProvider",
        install="isthmus[cloud-gpu] in place of isthmus[cloud], NVIDIA's driver and "
        "TensorRT's libraries (pip install tensorrt)",
        memory="cuda",
    ),
    "cuda": _Kind(
        name="CUDAExecutionProvider",
        install="isthmus[cloud-gpu] in place of isthmus[cloud], and NVIDIA's driver",
        memory="cuda",
    ),
    "webgpu": _Kind(
        name="WebGpuExecutionProvider",
        install="isthmus[cloud-webgpu] and a Vulkan driver for the GPU",
        # 0.4.0 answers wrongly when two threads run at once. Tensors come back to the host, because
        # nobody could say in which thread one that stayed would be let go of.
        one_at_a_time=True,
        plug_in="onnxruntime_ep_webgpu",
    ),
    "openvino": _Kind(
        name="OpenVINOExecutionProvider",
        install="isthmus[cloud-openvino] in place of isthmus[cloud], or, on Intel's processors, "
        "onnxruntime-ep-openvino beside it",
        plug_in="onnxruntime_ep_openvino",
    ),
    "cpu": _Kind(name=CPU_PLACEMENT.provider, install="isthmus[cloud]"),
}


def placements_for(provider: Provider, threads: int) -> tuple[Placement, ...]:
    """The ways to run on a provider, the one to be tried first at the front.

    Raises NotOfferedError where nothing here brings it, ConfigError where it is installed and
    cannot be used: what is missing, and the way out.
    """
    if provider == "cpu":
        return (CPU_PLACEMENT,)
    kind = _KINDS[provider]
    found = _built_in(provider, kind, threads) or _plugged(provider, kind)
    if not found:
        raise NotOfferedError(
            f"ONNX Runtime {ort.__version__} offers no {kind.name} here, only "
            f"{', '.join(ort.get_available_providers())}; install {kind.install}, or choose the "
            "provider 'cpu' or 'auto'"
        )
    try:
        open_session(_TRIAL, found[-1].for_joins, threads)
    except ORT_FAILURES as error:
        raise ConfigError(
            f"{kind.name} is installed and does not work: {on_one_line(error)}; it needs "
            f"{kind.install}; or choose the provider 'cpu' or 'auto'"
        ) from error
    return found


def _built_in(provider: Provider, kind: _Kind, threads: int) -> tuple[Placement, ...]:
    """Of the wheel that is installed; () where it does not hold the provider."""
    if kind.name in _plugged_in or kind.name not in ort.get_available_providers():
        return ()
    plain = Placement(
        word=provider,
        provider=kind.name,
        memory=kind.memory,
        one_at_a_time=kind.one_at_a_time,
    )
    match provider:
        case "tensorrt":
            _find_cuda()
            return _tensorrt(plain)
        case "cuda":
            _find_cuda()
            half = replace(plain, precision="fp16", halves=True)
            return (half, plain) if can_halve() else (plain,)
        case "openvino":
            options = {"device_type": "CPU", "num_of_threads": str(threads), "precision": "FP32"}
            return (replace(plain, options=options),)
        case _:
            return (plain,)


def _tensorrt(plain: Placement) -> tuple[Placement, ...]:
    """In fp16 first: it stays only if its answers agree."""
    folder = tensorrt.engine_cache()
    prepared = replace(plain, behind=(_KINDS["cuda"].name,), largest_batch=tensorrt.LARGEST_BATCH)
    return tuple(
        replace(prepared, options=tensorrt.options_of(folder, precision), precision=precision)
        for precision in ("fp16", "")
    )


def _find_cuda() -> None:
    """CUDA's libraries that came by pip are found only after this."""
    preload: Callable[[], None] | None = getattr(ort, "preload_dlls", None)
    if preload is not None:
        preload()


def _plugged(provider: Provider, kind: _Kind) -> tuple[Placement, ...]:
    """Of a wheel beside ONNX Runtime's; () where there is none, or no device for it."""
    if not kind.plug_in or importlib.util.find_spec(kind.plug_in) is None:
        return ()
    try:
        _register(kind)
    except _PLUG_FAILURES as error:
        raise ConfigError(
            f"the plug-in {kind.plug_in} cannot be loaded by ONNX Runtime {ort.__version__}: "
            f"{on_one_line(error)}; install {kind.install}, or choose the provider 'cpu' or 'auto'"
        ) from error
    devices = _best([each for each in ort.get_ep_devices() if each.ep_name == kind.name])
    if not devices:
        raise ConfigError(
            f"{kind.name} finds no device that it can use; it needs {kind.install}; or choose the "
            "provider 'cpu' or 'auto'"
        )
    placement = Placement(
        word=provider,
        provider=kind.name,
        memory=kind.memory,
        plugged=tuple(devices),
        one_at_a_time=kind.one_at_a_time,
    )
    return (placement,)


def _register(kind: _Kind) -> None:
    """Once: a second registration of a library is an error."""
    if kind.name not in _plugged_in:
        path = importlib.import_module(kind.plug_in).get_library_path()
        ort.register_execution_provider_library(f"isthmus.{kind.plug_in}", path)
        _plugged_in.add(kind.name)


def _best(devices: Sequence[Any]) -> Sequence[Any]:
    """The first GPU if there is one, else the first device: one runs one batch."""
    gpus = [each for each in devices if each.device.type == ort.OrtHardwareDeviceType.GPU]
    return (gpus or list(devices))[:1]
