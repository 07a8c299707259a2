"""`isthmus bench precision`: the mix that the search chooses, beside fp32 and all-int8.

Ranges are fitted to calibration items, the mix is chosen on held-back ones, and the figures of a
row are of evaluation items: no two of the three sets share a source.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx

from isthmus import ConfigError, describe_machine
from isthmus.agreement.closeness import Metric
from isthmus.agreement.layouts import decoder
from isthmus_bench.starvation import StolenTime
from isthmus_models import MODELS, Model, get_model
from isthmus_models.drawn import Part
from isthmus_partitioner import Network, PlanConfig, load_model
from isthmus_partitioner.agreement.metrics import metric_for
from isthmus_partitioner.precision.front import Point
from isthmus_partitioner.precision.search import Precision, search
from isthmus_partitioner.precision.sensitivity import Judge
from isthmus_partitioner.samples import Samples, sets_of

__all__ = [
    "PRECISION_MODELS",
    "PrecisionBenchConfig",
    "PrecisionBenchResult",
    "PrecisionRow",
    "run_precision_bench",
]

Say = Callable[[str], None]

# A network of depthwise layers, a residual net, a detector, a transformer.
PRECISION_MODELS = ("efficientnet-lite0", "resnet50-thin", "glyph-detector", "minilm")
LEAST_ITEMS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionBenchConfig:
    """What is measured; `budget` is the divergence that a mix may have on held-back items,
    as in a plan.

    `calibration` items are fitted to and held back, `inputs` are evaluated.
    """

    models: tuple[str, ...] = PRECISION_MODELS
    budget: float = PlanConfig().divergence_budget
    calibration: int = 40
    inputs: int = 48

    def __post_init__(self) -> None:
        unknown = [name for name in self.models if name not in MODELS]
        if unknown or not self.models:
            raise ConfigError(
                f"no model is called {unknown[0] if unknown else ''!r}; "
                f"known: {', '.join(sorted(MODELS))}"
            )
        if not self.budget > 0:
            raise ConfigError(f"budget is {self.budget}; allowed: above 0")
        if self.calibration < LEAST_ITEMS or self.inputs < LEAST_ITEMS:
            raise ConfigError(f"calibration and inputs must be {LEAST_ITEMS} or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRow:
    """One network. Divergence and agreement of evaluation items; None where int8 does not run.

    `kl_…` is the divergence in the metric's unit, nats for classifiers. Times are of the whole
    network, one item, one thread, medians of turns. Points of `front` are of held-back items.
    """

    model: str
    metric: str
    kl_all_int8: float | None
    kl_mixed: float
    agreement_all_int8: float | None
    agreement_mixed: float
    ms_fp32: float
    ms_all_int8: float | None
    ms_mixed: float
    groups: int
    fp32_groups: tuple[str, ...]
    chosen: str
    reason: str
    front: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionBenchResult:
    """All figures of one run."""

    machine: str
    stolen_share: float
    config: PrecisionBenchConfig
    rows: tuple[PrecisionRow, ...]


def run_precision_bench(config: PrecisionBenchConfig, say: Say) -> PrecisionBenchResult:
    """Search every model's mix; `say` gets a line for each step of the long work.

    ConfigError if a package of a model is not installed.
    """
    stolen = StolenTime()
    rows = tuple(_row(get_model(name), config, say) for name in config.models)
    return PrecisionBenchResult(
        machine=describe_machine(), stolen_share=stolen.share(), config=config, rows=rows
    )


def _row(model: Model, config: PrecisionBenchConfig, say: Say) -> PrecisionRow:
    say(f"{model.name}: reading the network and its inputs")
    network = _network(model)
    metric = _metric(model, network)
    evaluation = _samples(model, "evaluation", config.inputs)
    sets = sets_of(_samples(model, "calibration", config.calibration), evaluation)
    found = search(
        network, sets, metric, lambda line: say(f"{model.name}: {line}"), budget=config.budget
    )
    say(f"{model.name}: comparing answers to {len(evaluation)} evaluation items")
    return _compared(model.name, found, Judge(network, evaluation, metric), metric)


def _compared(name: str, found: Precision, judge: Judge, metric: Metric) -> PrecisionRow:
    mixed = judge.closeness(found.head)
    int8 = None if found.int8 is None else judge.closeness(found.int8)
    return PrecisionRow(
        model=name,
        metric=metric.name,
        kl_all_int8=None if int8 is None else int8.divergence,
        kl_mixed=mixed.divergence,
        agreement_all_int8=None if int8 is None else int8.agreement,
        agreement_mixed=mixed.agreement,
        ms_fp32=found.fp32_ms,
        ms_all_int8=found.int8_ms,
        ms_mixed=found.chosen.ms,
        groups=found.groups,
        fp32_groups=found.chosen.fp32_groups,
        chosen=found.chosen.name,
        reason=found.reason,
        front=found.front,
    )


def _network(model: Model) -> Network:
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        path = Path(folder, f"{model.name}.onnx")
        onnx.save(model.make(), path)
        return load_model(path)


def _metric(model: Model, network: Network) -> Metric:
    size = model.picture_size
    boxes = model.boxes and decoder(model.boxes, network.outputs, size, size)
    return metric_for(model.task, network.outputs, boxes or None)


def _samples(model: Model, part: Part, count: int) -> Samples:
    arrays, sources = model.items(part, count)
    return Samples(arrays, sources)
