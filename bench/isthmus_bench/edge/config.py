"""What `isthmus bench edge` measures."""

from dataclasses import dataclass
from pathlib import Path

from isthmus import ConfigError
from isthmus_models import MODELS

__all__ = ["EDGE_MODELS", "EdgeBenchConfig", "checkout", "quick_edge"]

EDGE_MODELS = ("efficientnet-lite0",)
_LEAST_ITEMS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeBenchConfig:
    """Every model in fp32 and int8 on every runtime that is installed, on one thread.

    `candidates`: how many nested cuts are held at once. Each way to hold them is weighed in
    `weighings` fresh processes; each runtime is timed in `processes` more, with `turns` turns of
    its networks in each. All of these processes take turns. `calibration` items fit the ranges,
    `inputs` evaluation items are answered. `tflite_python` is the Python that has tflite-runtime;
    None: that of the environment `.venv-tflite` beside the checkout, or this one. `install`:
    measure the extras, too, each in a fresh environment, `imports` imports of each.
    """

    models: tuple[str, ...] = EDGE_MODELS
    candidates: tuple[int, ...] = (1, 4, 8)
    weighings: int = 3
    processes: int = 5
    turns: int = 15
    calibration: int = 24
    inputs: int = 48
    tflite_python: Path | None = None
    install: bool = True
    imports: int = 7

    def __post_init__(self) -> None:
        unknown = [name for name in self.models if name not in MODELS]
        if unknown or not self.models:
            raise ConfigError(
                f"no model is called {unknown[0] if unknown else ''!r}; "
                f"known: {', '.join(sorted(MODELS))}"
            )
        if not self.candidates or sorted(set(self.candidates)) != list(self.candidates):
            raise ConfigError(f"candidates: {self.candidates}; allowed: rising numbers")
        least = {"weighings": 1, "processes": 1, "turns": 1, "imports": 1}
        least |= {"calibration": _LEAST_ITEMS, "inputs": _LEAST_ITEMS}
        for name, count in least.items():
            if getattr(self, name) < count:
                raise ConfigError(f"{name} is {getattr(self, name)}; allowed: {count} or more")
        if self.candidates[0] < 1:
            raise ConfigError(f"candidates: {self.candidates[0]}; allowed: 1 or more")
        if self.tflite_python is not None and not self.tflite_python.is_file():
            raise ConfigError(f"{self.tflite_python}: there is no Python; name one that is there")


def quick_edge() -> EdgeBenchConfig:
    """Everything weighed once, two processes timed, a quarter of the items."""
    return EdgeBenchConfig(weighings=1, processes=2, turns=7, calibration=12, inputs=12, imports=3)


def checkout() -> Path | None:
    """The folder of the sources that this package is of; None if it was installed as a wheel."""
    folder = Path(__file__).resolve().parents[3]
    return folder if (folder / "pyproject.toml").is_file() else None
