"""Which head runtimes this device has: found out when they are asked for, imported only then."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from isthmus_edge.runtimes.seam import RUNTIME_NAMES, Runtime, RuntimeName
from isthmus_edge.runtimes.tflite import TfliteRuntime

EXTRAS: dict[RuntimeName, str] = {
    "onnxruntime": "isthmus[edge]",
    "litert": "isthmus[edge-litert]",
    "tflite-runtime": "isthmus[edge-tflite]",
}

__all__ = ["EXTRAS", "FoundRuntime", "found_runtimes"]


@dataclass(frozen=True, slots=True)
class FoundRuntime:
    """One of the runtimes that Isthmus knows: ready, or the `problem` with the way out."""

    name: RuntimeName
    runtime: Runtime | None
    problem: str | None


@cache
def found_runtimes() -> tuple[FoundRuntime, ...]:
    """Every runtime that Isthmus knows, in the order in which it prefers them unmeasured."""
    return tuple(_found(name) for name in RUNTIME_NAMES)


def _found(name: RuntimeName) -> FoundRuntime:
    try:
        return FoundRuntime(name, _LOADERS[name](), None)
    except PackageNotFoundError:
        way_out = f"not installed; pip install '{EXTRAS[name]}'"
        return FoundRuntime(name, None, f"{name} is {way_out}")
    except (ImportError, AttributeError, OSError, SystemError) as error:
        why = f"{name} is installed but cannot be imported ({error})"
        return FoundRuntime(name, None, f"{why}; pip install --force-reinstall '{EXTRAS[name]}'")
    except _UnfitError as error:
        return FoundRuntime(name, None, str(error))


class _UnfitError(Exception):
    """A package that imports, and dies later."""


def _onnx_runtime() -> Runtime:
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            version(package)
        except PackageNotFoundError:
            continue
        module = importlib.import_module("isthmus_edge.runtimes.onnx_runtime")
        loaded: Runtime = module.OnnxRuntime()
        return loaded
    raise PackageNotFoundError("onnxruntime")


def _litert() -> Runtime:
    release = version("ai-edge-litert")
    module = importlib.import_module("ai_edge_litert.interpreter")
    return TfliteRuntime("litert", release, module)


def _tflite_runtime() -> Runtime:
    release = version("tflite-runtime")
    if int(np.__version__.partition(".")[0]) >= 2:
        # Its import succeeds; its interpreter was compiled for numpy 1 and raises SystemError.
        raise _UnfitError(
            f"tflite-runtime {release} dies under numpy {np.__version__}; "
            f"pip install 'numpy<2', or use LiteRT: pip install '{EXTRAS['litert']}'"
        )
    module = importlib.import_module("tflite_runtime.interpreter")
    return TfliteRuntime("tflite-runtime", release, module)


_LOADERS: dict[RuntimeName, Callable[[], Runtime]] = {
    "onnxruntime": _onnx_runtime,
    "litert": _litert,
    "tflite-runtime": _tflite_runtime,
}
