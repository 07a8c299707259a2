"""The ways to run our service that are compared: one table, and what this service knows of it."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import onnxruntime as ort

from isthmus import ConfigError

__all__ = [
    "BATCHED",
    "BATCHED_ONE",
    "GPU_BATCHED",
    "GPU_UNBATCHED",
    "NO_JOINS",
    "ONE_WORKER",
    "UNBATCHED",
    "VARIANTS",
    "Variant",
    "known_flags",
    "why_no_gpu",
]

UNBATCHED, ONE_WORKER = "unbatched", "unbatched, 1 worker"
BATCHED, BATCHED_ONE = "batched", "batched, 1 worker"
NO_JOINS = "batched, no joins"
GPU_UNBATCHED, GPU_BATCHED = "GPU, unbatched", "GPU, batched"

_HELP_S = 60.0
_GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """`isthmus cloud BUNDLE` with `flags`.

    A service that does not know some flag of `flags` or `needs` is run with `otherwise` in their
    place, or not at all where that is None. `gpu`: it needs one.
    """

    name: str
    flags: tuple[str, ...]
    needs: tuple[str, ...] = ()
    otherwise: tuple[str, ...] | None = None
    gpu: bool = False

    def flags_for(self, known: str) -> tuple[str, ...] | None:
        """What to run a service with whose flags are `known`; None if it cannot do this."""
        return self.otherwise if self.missing(known) else self.flags

    def missing(self, known: str) -> list[str]:
        """The flags that the service does not know."""
        asked = (*self.needs, *(flag for flag in self.flags if flag.startswith("--")))
        return [flag for flag in asked if flag not in known]


# Adapt here when the flags of `isthmus cloud` change.
_CPU, _GPU = ("--provider", "cpu"), ("--provider", "cuda")
_ONE_BY_ONE = ("--max-batch", "1")
_ONE = ("--workers", "1")
VARIANTS = (
    Variant(name=UNBATCHED, flags=(*_CPU, *_ONE_BY_ONE), otherwise=_CPU),
    Variant(
        name=ONE_WORKER,
        flags=(*_CPU, *_ONE_BY_ONE, *_ONE),
        otherwise=(*_CPU, *_ONE),
    ),
    Variant(name=BATCHED, flags=_CPU, needs=("--max-batch",)),
    Variant(name=BATCHED_ONE, flags=(*_CPU, *_ONE), needs=("--max-batch",)),
    Variant(name=NO_JOINS, flags=(*_CPU, "--no-joins"), needs=("--max-batch",)),
    Variant(name=GPU_UNBATCHED, flags=(*_GPU, *_ONE_BY_ONE), otherwise=_GPU, gpu=True),
    Variant(name=GPU_BATCHED, flags=_GPU, needs=("--max-batch",), gpu=True),
)


def known_flags() -> str:
    """The help text of `isthmus cloud`, which names its flags."""
    command = [sys.executable, "-m", "isthmus_cli", "cloud", "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_HELP_S, check=False)
    if ran.returncode:
        raise ConfigError(f"`isthmus cloud --help` failed: {ran.stderr.strip()[-300:]}")
    return ran.stdout


def why_no_gpu(providers: Sequence[str] | None = None) -> str | None:
    """Why nothing can be measured on a GPU here; None if something can.

    `providers` are ONNX Runtime's, if not those of this environment.
    """
    found = ort.get_available_providers() if providers is None else providers
    if any(name in found for name in _GPU_PROVIDERS):
        return None
    return f"no GPU that ONNX Runtime can use (it offers {', '.join(found)})"
