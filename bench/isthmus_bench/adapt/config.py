"""What `isthmus bench adapt` measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from isthmus import ConfigError
from isthmus_bench.traces import Trace, builtin_traces, shared_traces
from isthmus_models import MODELS
from isthmus_partitioner import PlanConfig

__all__ = ["ADAPT_MODELS", "AdaptBenchConfig", "known_traces", "quick_adapt", "typical_excerpt"]

ADAPT_MODELS = ("efficientnet-lite0", "glyph-detector")
_SHARED = Path(__file__).resolve().parents[4] / "shared" / "traces"  # beside the checkout
_QUICK_TRACES = 3
_LONGEST_S = 120.0
# Half the ladder, JPEG alone and no projections, as the demo; and few cuts: each is run on its own.
_PLAN = PlanConfig(
    steps=(1 / 4, 3 / 8, 1 / 2, 3 / 4),
    pictures=("jpeg",),
    qualities=(95, 85),
    bottleneck=False,
    max_cuts=3,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptBenchConfig:
    """Every policy on an excerpt of `seconds` of every trace, `repeats` times.

    `out` takes the charts, and under `work/` bundles and finished runs; with `resume`, what is
    there of the same settings is used again. The imitated board is `edge_factor` times slower than
    this machine. A camera gives `fps` frames a second; None: as many as the board's own int8
    network can answer with a little to spare. A frame is late after `deadline_ms`; None: twice
    what that network takes, for then a device that has heard nothing for as long as it needs
    itself can still answer in time. With `tell_deadline` agents are told, and finish a frame
    themselves before it is late. `lanes` runs go side by side, each with a cloud, a relay and a
    device of its own. `trials` times the link dies in the middle of a stream; `frames` different
    items go round. `calibration` and `evaluation` items are planned with; None: as many as the
    catalogue says. `plan` without its edge factor. `awake`: idle-priority loops keep the processors
    awake (`isthmus_bench.awake`).
    """

    out: Path
    models: tuple[str, ...] = ADAPT_MODELS
    traces: tuple[Trace, ...] | None = None
    seconds: float = 20.0
    edge_factor: float = 40.0
    fps: float | None = None
    deadline_ms: float | None = None
    tell_deadline: bool = True
    repeats: int = 1
    lanes: int = 2
    trials: int = 6
    frames: int = 9
    calibration: int | None = None
    evaluation: int | None = None
    plan: PlanConfig = _PLAN
    resume: bool = False
    awake: bool = True

    def __post_init__(self) -> None:
        unknown = [name for name in self.models if name not in MODELS]
        if unknown or not self.models or len(set(self.models)) < len(self.models):
            raise ConfigError(
                f"models: {', '.join(unknown or self.models) or 'none'}; allowed: distinct names "
                f"of {', '.join(sorted(MODELS))}"
            )
        if self.traces is not None:
            _check_names([trace.name for trace in self.traces])
        for name in ("edge_factor", "fps", "deadline_ms"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value}; allowed: a number above 0")
        if not 1 <= self.seconds <= _LONGEST_S:
            raise ConfigError(f"seconds is {self.seconds:g}; allowed: 1 to {_LONGEST_S:g}")
        for name in ("repeats", "lanes", "trials", "frames"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; allowed: 1 or more")

    @property
    def excerpts(self) -> tuple[Trace, ...]:
        """What is played of each trace."""
        traces = known_traces() if self.traces is None else self.traces
        return tuple(typical_excerpt(trace, self.seconds) for trace in traces)


def quick_adapt(
    out: Path,
    models: tuple[str, ...] | None = None,
    traces: tuple[Trace, ...] | None = None,
) -> AdaptBenchConfig:
    """One model, three traces of 15 s and few cuts, unless more is asked for."""
    return AdaptBenchConfig(
        out=out,
        models=ADAPT_MODELS[:1] if models is None else models,
        traces=known_traces()[:_QUICK_TRACES] if traces is None else traces,
        seconds=15.0,
        trials=2,
        evaluation=48,
        plan=PlanConfig(
            steps=(1 / 4, 1 / 2),
            pictures=("jpeg",),
            qualities=(95, 85),
            bottleneck=False,
            max_cuts=2,
        ),
    )


def known_traces() -> tuple[Trace, ...]:
    """The measured ones beside the checkout, else those that are made up."""
    return shared_traces(_SHARED) or builtin_traces()


def typical_excerpt(trace: Trace, seconds: float) -> Trace:
    """The `seconds` of a trace whose rates are distributed most like those of all of it.

    Windows begin at whole seconds; they are compared by the quantiles of ln(1 + Mbit/s) of their
    seconds. A trace that is no longer than that is played from its start.
    """
    whole_s, window_s = int(trace.duration_s), int(np.ceil(seconds))
    if whole_s <= window_s:
        return trace.excerpt(0.0, seconds)
    shares = np.linspace(0.025, 0.975, 20)
    levels = np.log1p([trace.mbps_at(second + 0.5) for second in range(whole_s)])
    usual = np.quantile(levels, shares)
    distance = [
        float(np.abs(np.quantile(levels[start : start + window_s], shares) - usual).mean())
        for start in range(whole_s - window_s + 1)
    ]
    return trace.excerpt(float(np.argmin(distance)), seconds)


def _check_names(names: Sequence[str]) -> None:
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"traces: {', '.join(names) or 'none'}; give one at least, of distinct names"
        )
