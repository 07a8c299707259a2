"""A model of the catalogue as the bench plans for it."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from isthmus.agreement.closeness import Metric
from isthmus.agreement.layouts import decoder
from isthmus.pictures import encode_picture
from isthmus.profiles import DeviceProfile
from isthmus_bench.plan.config import PlanBenchConfig
from isthmus_edge.profiling import profile_kit
from isthmus_models import get_model
from isthmus_models.drawn import Part
from isthmus_partitioner import (
    Devices,
    ModelCard,
    Network,
    Samples,
    SampleSets,
    Workbench,
    load_model,
)
from isthmus_partitioner.agreement.metrics import metric_for
from isthmus_partitioner.planning.measure import is_picture
from isthmus_partitioner.samples import sets_of

__all__ = ["Subject", "Subjects", "representative", "subject_of"]

Say = Callable[[str], None]
_TOP_K = 5  # of a classifier's answer: the rest of 1,000 classes is of no use to anybody
_QUALITY = 90


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A network with its items, and a folder for all that is made of it.

    `top_k` values of an answer come back, 0: all; `measure` profiles a kit.
    """

    name: str
    network: Network
    sets: SampleSets
    metric: Metric
    top_k: int
    folder: Path
    measure: Callable[[Path], DeviceProfile] = profile_kit

    def workbench(self, config: PlanBenchConfig, slow_down: float, say: Say) -> Workbench:
        """For a device that is so much slower; precision and profile are made but once."""
        return Workbench(
            self.network,
            self.sets,
            self.metric,
            devices=Devices(measure=self.measure),
            config=replace(
                config.plan,
                goals=replace(config.plan.goals, answer_top_k=self.top_k),
                edge_factor=slow_down,
                edge_network_ms=None,
            ),
            work=self.folder / "work",
            card=ModelCard(self.name),
            progress=say,
        )


Subjects = Callable[[str, PlanBenchConfig, Path], Subject]


def subject_of(name: str, config: PlanBenchConfig, folder: Path) -> Subject:
    """A model of the catalogue; ConfigError if its package is not installed."""
    known = get_model(name)
    network = load_model(known.build(folder / f"{name}.onnx"), known.sizes)
    boxes = None
    if known.boxes is not None:
        boxes = decoder(known.boxes, network.outputs, known.picture_size, known.picture_size)

    def samples(part: Part, count: int) -> Samples:
        return Samples(*known.items(part, count))

    calibration = samples("calibration", config.calibration or known.calibration)
    evaluation = samples("evaluation", config.evaluation or known.evaluation)
    return Subject(
        name=name,
        network=network,
        sets=sets_of(calibration, evaluation),
        metric=metric_for(known.task, network.outputs, boxes),
        top_k=_TOP_K if known.task == "classify" else 0,
        folder=folder,
    )


def representative(network: Network, samples: Samples, count: int) -> list[int]:
    """Rows of so many items whose median is about that of all, the middle ones first.

    Items differ by how well they compress, and that decides their time on a slow link. They are
    put in that order, divided into `count` equal parts, and the middle one of each is taken; so a
    few items say what many would, and fewer of them the same with less certainty.
    """
    sizes = np.zeros(len(samples))
    for row, feed in enumerate(samples.feeds(network.inputs)):
        for spec in network.inputs:
            value = feed[spec.name]
            if is_picture(spec):
                picture = value.reshape(spec.shape).astype(np.uint8)
                sizes[row] += len(encode_picture(picture, "jpeg", _QUALITY))
            else:
                sizes[row] += len(zlib.compress(np.ascontiguousarray(value).tobytes(), 1))
    order = np.argsort(sizes, kind="stable")
    count = min(count, len(order))
    middles = ((np.arange(count) + 0.5) * len(order) / count).astype(int)
    outward = sorted(middles.tolist(), key=lambda place: abs(place + 0.5 - len(order) / 2))
    return [int(order[place]) for place in outward]
