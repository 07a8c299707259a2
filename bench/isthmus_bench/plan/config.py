"""What `isthmus bench plan` measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from isthmus import ConfigError
from isthmus_models import MODELS
from isthmus_partitioner import PlanConfig

__all__ = ["PLAN_MODELS", "PlanBenchConfig", "quick_bench"]

# A network of depthwise layers, a residual net, a detector, OCR, a text encoder, many outputs.
PLAN_MODELS = (
    "efficientnet-lite0",
    "resnet50-thin",
    "glyph-detector",
    "line-reader",
    "minilm",
    "basic-pitch",
)
# Half the ladder, no AVIF and no projections: twelve cells a model are long enough.
_PLAN = PlanConfig(
    steps=(1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4),
    pictures=("jpeg", "webp"),
    qualities=(95, 90, 85),
    bottleneck=False,
    max_cuts=4,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBenchConfig:
    """A cell for every model, link (Mbit/s, both ways alike) and slow-down of the device.

    A way to answer is measured with `frames` evaluation items, one by one, or with three if these
    take longer than `enough_s`, or with two if one does; its frames/s in runs of `pipelined_s` in
    all. What is predicted to take more than `too_slow_s` is left out. `calibration` and
    `evaluation` items are planned with; None: as many as the catalogue says. `plan` without its
    edge factor, which is the slow-down.
    """

    models: tuple[str, ...] = PLAN_MODELS
    links_mbps: tuple[float, ...] = (1.1, 5.85, 18.88, 100.0)
    slow_downs: tuple[float, ...] = (1.0, 5.0, 20.0)
    rtt_ms: float = 40.0
    frames: int = 7
    enough_s: float = 2.0
    pipelined_s: float = 1.5
    too_slow_s: float = 10.0
    calibration: int | None = None
    evaluation: int | None = None
    plan: PlanConfig = _PLAN

    def __post_init__(self) -> None:
        unknown = [name for name in self.models if name not in MODELS]
        if unknown or not self.models:
            raise ConfigError(
                f"no model is called {unknown[0] if unknown else ''!r}; "
                f"known: {', '.join(sorted(MODELS))}"
            )
        _check_numbers("links", self.links_mbps)
        _check_numbers("slow_downs", self.slow_downs)
        if self.frames < 1:
            raise ConfigError(f"frames is {self.frames}; allowed: 1 or more")


def quick_bench(
    models: tuple[str, ...] | None = None,
    links_mbps: tuple[float, ...] | None = None,
    slow_downs: tuple[float, ...] | None = None,
) -> PlanBenchConfig:
    """One model, two links, two slow-downs, unless more are asked for; few frames and items."""
    return PlanBenchConfig(
        models=PLAN_MODELS[:1] if models is None else models,
        links_mbps=(1.1, 18.88) if links_mbps is None else links_mbps,
        slow_downs=(5.0, 20.0) if slow_downs is None else slow_downs,
        frames=5,
        enough_s=1.5,
        pipelined_s=1.0,
        evaluation=48,
    )


def _check_numbers(name: str, values: Sequence[float]) -> None:
    right = all(isfinite(value) and value > 0 for value in values)
    if not values or not right or len(set(values)) < len(values):
        given = " ".join(f"{value:g}" for value in values)
        raise ConfigError(f"{name}: {given!r}; allowed: distinct numbers above 0")
