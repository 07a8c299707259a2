"""Which head runtimes this device has: each is imported when it is asked for, not before.

A package may kill the process that imports it: one that was built for another processor does.
"""

import importlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from isthmus import ModelError
from isthmus_edge.runtimes.seam import RUNTIME_NAMES, Runtime, RuntimeName
from isthmus_edge.runtimes.tflite import TfliteRuntime

EXTRAS: dict[RuntimeName, str] = {
    "onnxruntime": "isthmus[edge]",
    "litert": "isthmus[edge-litert]",
    "tflite-runtime": "isthmus[edge-tflite]",
}
# What pip calls those that bring a runtime, the one of the extra first.
PACKAGES: dict[RuntimeName, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "litert": ("ai-edge-litert",),
    "tflite-runtime": ("tflite-runtime",),
}

__all__ = ["EXTRAS", "PACKAGES", "FoundRuntime", "found_runtimes"]


class _UnfitError(Exception):
    """A package that imports, and dies later."""


@dataclass(frozen=True)
class FoundRuntime:
    """One of the runtimes that Isthmus knows: ready, or with a `problem` and the way out.

    `version` is what pip has written down, None if it is not installed. Whatever else it is asked
    for imports it, by `load` and once.
    """

    name: RuntimeName
    version: str | None
    load: Callable[[], Runtime]

    @property
    def runtime(self) -> Runtime | None:
        """None if it has a problem."""
        return None if isinstance(self._loaded, str) else self._loaded

    @property
    def problem(self) -> str | None:
        """Why it cannot be used, None if it can."""
        return self._loaded if isinstance(self._loaded, str) else None

    def ready(self) -> Runtime:
        """The same; ModelError if it has a problem."""
        if isinstance(self._loaded, str):
            raise ModelError(self._loaded)
        return self._loaded

    @cached_property
    def _loaded(self) -> Runtime | str:
        if self.version is None:
            return f"{self.name} is not installed; pip install '{EXTRAS[self.name]}'"
        try:
            return self.load()
        except (ImportError, AttributeError, OSError, SystemError) as error:
            why = f"{self.name} is installed but cannot be imported ({error})"
            return f"{why}; pip install --force-reinstall '{EXTRAS[self.name]}'"
        except _UnfitError as error:
            return str(error)


@cache
def found_runtimes() -> tuple[FoundRuntime, ...]:
    """Every runtime that Isthmus knows, in the order in which it prefers them unmeasured."""
    return tuple(_found(name) for name in RUNTIME_NAMES)


def _found(name: RuntimeName) -> FoundRuntime:
    for package in PACKAGES[name]:
        with suppress(PackageNotFoundError):
            release = version(package)
            return FoundRuntime(name, release, partial(_LOADERS[name], release))
    return FoundRuntime(name, None, partial(_LOADERS[name], ""))


def _onnx_runtime(_release: str) -> Runtime:
    module = importlib.import_module("isthmus_edge.runtimes.onnx_runtime")
    loaded: Runtime = module.OnnxRuntime()
    return loaded


def _litert(release: str) -> Runtime:
    return TfliteRuntime("litert", release, importlib.import_module("ai_edge_litert.interpreter"))


def _tflite_runtime(release: str) -> Runtime:
    if int(np.__version__.partition(".")[0]) >= 2:
        # Its import succeeds; its interpreter was compiled for numpy 1 and raises SystemError.
        raise _UnfitError(
            f"tflite-runtime {release} dies under numpy {np.__version__}; "
            f"pip install 'numpy<2', or use LiteRT: pip install '{EXTRAS['litert']}'"
        )
    module = importlib.import_module("tflite_runtime.interpreter")
    return TfliteRuntime("tflite-runtime", release, module)


_LOADERS: dict[RuntimeName, Callable[[str], Runtime]] = {
    "onnxruntime": _onnx_runtime,
    "litert": _litert,
    "tflite-runtime": _tflite_runtime,
}
