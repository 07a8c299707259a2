"""What `isthmus bench serve` measures."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from isthmus import ConfigError
from isthmus_models import MODELS

SERVE_MODEL = "efficientnet-lite0"
PEER_NAMES = ("kserve", "mlserver", "pytriton")

__all__ = ["PEER_NAMES", "SERVE_MODEL", "ServeBenchConfig", "quick_serve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeBenchConfig:
    """Every way to serve takes turns, `rounds` times; what is made for it stays in `work`.

    `bundle` is served, or where it is None one that is made of `model`, with `frames` recorded
    frames a cut. `devices` keep a window of 1 and of `many` frames full for `seconds`, after
    `warm_s` that do not count; then the most devices that send `fps` frames/s are looked for, of
    which 95 % of the frames are answered within `slo_ms`, in at most `trials` loads of two or
    three turns, each of at least `trial_frames` frames or three times `seconds`. For what a frame
    costs beyond the engine, ours, the bare loop and the engine take `pairs` more turns of `pair_s`.
    `idle_devices` are connected and send nothing (0: not measured). `peers` are installed and
    served beside. `gpu`: measure with a GPU, too. `awake`: keep the processors from sleeping.
    """

    work: Path
    bundle: Path | None = None
    model: str = SERVE_MODEL
    slo_ms: float = 50.0
    fps: float = 5.0
    devices: int = 8
    many: int = 4
    rounds: int = 3
    seconds: float = 2.0
    warm_s: float = 0.5
    trials: int = 6
    trial_frames: int = 300
    pairs: int = 8
    pair_s: float = 0.7
    frames: int = 24
    idle_devices: int = 1000
    peers: tuple[str, ...] = PEER_NAMES
    gpu: bool = False
    awake: bool = True

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            known = ", ".join(sorted(MODELS))
            raise ConfigError(f"no model is called {self.model!r}; known: {known}")
        unknown = [name for name in self.peers if name not in PEER_NAMES]
        if unknown:
            known = ", ".join(PEER_NAMES)
            raise ConfigError(f"no peer is called {unknown[0]!r}; known: {known}, or none")
        for name in ("slo_ms", "fps", "seconds"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value:g}; allowed: above 0")
        for name in ("devices", "many", "rounds", "trials", "trial_frames", "pairs", "frames"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; allowed: 1 or more")
        if self.idle_devices < 0:
            raise ConfigError(f"idle_devices is {self.idle_devices}; allowed: 0 or more")


def quick_serve(work: Path) -> ServeBenchConfig:
    """One round of short loads, 200 idle devices, no peers."""
    return ServeBenchConfig(
        work=work,
        rounds=1,
        seconds=1.0,
        warm_s=0.3,
        trials=3,
        trial_frames=60,
        pairs=3,
        frames=8,
        idle_devices=200,
        peers=(),
    )
