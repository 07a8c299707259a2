"""What TensorRT is told: batch sizes to prepare for, precision, where built engines are kept."""

import os
from collections.abc import Mapping
from pathlib import Path

from isthmus import ConfigError, ModelError

LARGEST_BATCH = 32  # of the one profile that an engine is built for
TYPICAL_BATCH = 8  # for which its kernels are chosen

__all__ = ["LARGEST_BATCH", "engine_cache", "options_of", "profile_of"]

_SEPARATORS = frozenset(":,")  # of ONNX Runtime's notation for profiles


def options_of(cache: Path, precision: str) -> dict[str, str]:
    """ONNX Runtime's options for TensorRT; `precision` is "fp16", or "" for fp32."""
    return {
        "trt_engine_cache_enable": "1",  # an engine takes seconds to minutes to build
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache),
        "trt_fp16_enable": "1" if precision == "fp16" else "0",
    }


def profile_of(
    path: Path, shapes: Mapping[str, tuple[int | str | None, ...]], largest_batch: int
) -> dict[str, str]:
    """Options that make one engine good for every batch up to the largest.

    `shapes` are the graph's inputs; whatever is no number in them is the batch. Without it, a batch
    of another size would stop the service for as long as a new engine takes. Raises ModelError
    where an input's name cannot be written in ONNX Runtime's notation.
    """
    for name in shapes:
        if _SEPARATORS & set(name):
            raise ModelError(
                f"{path}: TensorRT cannot be told the batch sizes of an input named {name!r}; "
                "choose the provider 'cuda'"
            )
    if all(isinstance(size, int) for shape in shapes.values() for size in shape):
        return {}
    wanted = {"min": 1, "opt": min(TYPICAL_BATCH, largest_batch), "max": largest_batch}
    return {f"trt_profile_{word}_shapes": _shapes(shapes, size) for word, size in wanted.items()}


def engine_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of this user where engines are kept; made, for nobody else to write to.

    ConfigError where it cannot be made.
    """
    home = environment.get("XDG_CACHE_HOME")
    try:
        folder = (Path(home) if home else Path.home() / ".cache") / "isthmus" / "tensorrt"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        raise ConfigError(
            f"TensorRT's engines take minutes to build and cannot be kept ({error}); name a folder "
            "that can be written to in XDG_CACHE_HOME"
        ) from error
    return folder


def _shapes(shapes: Mapping[str, tuple[int | str | None, ...]], batch: int) -> str:
    def written(shape: tuple[int | str | None, ...]) -> str:
        return "x".join(str(size if isinstance(size, int) else batch) for size in shape)

    return ",".join(f"{name}:{written(shape)}" for name, shape in shapes.items() if shape)
