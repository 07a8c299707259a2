"""What `isthmus bench scale` measures and simulates."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from isthmus import ConfigError
from isthmus_bench.serve.config import SERVE_MODEL
from isthmus_models import MODELS

__all__ = ["ScaleConfig", "quick_scale"]

_POSITIVE = (
    *("slo_ms", "fps", "tail_ms", "short_tail_ms", "seconds", "load_s", "deadline_s"),
    *("sim_s", "links_s"),
)
_COUNTS = ("rounds", "devices", "window", "frames", "cell_devices", "pairs")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleConfig:
    """Every fleet takes turns, `rounds` times; what is made for it stays in `work`.

    Measured here: `bundle` is served, or where it is None one that is made of `model`, with
    `frames` recorded frames a cut. A tail is stretched to `tail_ms` for a batch of one, so that two
    cores can hold several replicas; in some fleets to `short_tail_ms`, beside which what is not the
    tail weighs more. `devices` keep `window` frames under way for `seconds` (closed
    loop), after `warm_s` that do not count; then as many devices that send `fps` frames/s as make
    `loads` of what the fleet answered there send for `load_s` (open loop). The hop is measured in
    `pairs` pairs of turns of `pair_s`. `kills` replicas are killed under load; each frame is
    answered or refused within `deadline_s`. `ray` False: without Ray. `whole` False: without two
    front ends on Ray, and two replicas that compute.

    Simulated: `fleets` of so many devices, of which a front end gets at most `cell_devices`, each
    run for `sim_s` simulated seconds, over links for `links_s`; as many replicas as keep the p99 of
    the cloud's part within `slo_ms`; `replica_price` and `front_end_price` are for an hour, in any
    currency. `traces` is a folder with an `index.json` of link traces, None for the made-up ones.
    """

    work: Path
    bundle: Path | None = None
    model: str = SERVE_MODEL
    ray: bool = True
    whole: bool = True
    tail_ms: float = 50.0
    short_tail_ms: float = 10.0
    fps: float = 2.0
    devices: int = 8
    window: int = 4
    loads: tuple[float, ...] = (0.4, 0.7)
    rounds: int = 3
    seconds: float = 6.0
    warm_s: float = 1.0
    load_s: float = 15.0
    pairs: int = 8
    pair_s: float = 0.7
    kills: int = 20
    deadline_s: float = 10.0
    frames: int = 8
    slo_ms: float = 50.0
    fleets: tuple[int, ...] = (100, 1_000, 10_000, 100_000, 1_000_000)
    cell_devices: int = 2_000
    sim_s: float = 12.0
    links_s: float = 120.0
    replica_price: float = 0.05
    front_end_price: float = 0.05
    traces: Path | None = None
    seed: int = 1
    awake: bool = True

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            known = ", ".join(sorted(MODELS))
            raise ConfigError(f"no model is called {self.model!r}; known: {known}")
        for name in _POSITIVE:
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value:g}; allowed: above 0")
        for name in ("replica_price", "front_end_price"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise ConfigError(f"{name} is {value:g}; allowed: 0 or more")
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; allowed: 1 or more")
        if self.kills < 0:
            raise ConfigError(f"kills is {self.kills}; allowed: 0 or more")
        self._check_lists()

    def _check_lists(self) -> None:
        if not self.fleets or min(self.fleets) < 1:
            raise ConfigError(f"fleets are {self.fleets}; give one or more, of 1 device or more")
        if not self.loads or not all(0 < load < 1 for load in self.loads):
            raise ConfigError(
                f"loads are {self.loads}; give shares of the capacity between 0 and 1"
            )


def quick_scale(work: Path) -> ScaleConfig:
    """One round of short loads, two kills, two fleets."""
    return ScaleConfig(
        work=work,
        whole=False,
        loads=(0.7,),
        rounds=1,
        seconds=2.0,
        warm_s=0.5,
        load_s=13.0,
        pairs=3,
        kills=2,
        frames=4,
        fleets=(100, 10_000),
        cell_devices=500,
        sim_s=4.0,
        links_s=60.0,
    )
