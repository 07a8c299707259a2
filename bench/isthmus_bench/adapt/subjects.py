"""A model's bundle for the slowed board, with the items that its camera shows."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from isthmus import Bundle, Manifest, open_bundle
from isthmus_bench.adapt.config import AdaptBenchConfig
from isthmus_bench.adapt.runs import Scene
from isthmus_bench.plan.config import PlanBenchConfig
from isthmus_bench.plan.device import write_items
from isthmus_bench.plan.subject import Subjects, representative

__all__ = ["Built", "built", "scene_of"]

Say = Callable[[str], None]
_ITEMS = "items.npz"
_BUNDLE = "plan.bundle"
_HEADROOM = 1.25  # the camera's period over what the board's own network takes
_PATIENCE = 2.0  # the deadline over the same


@dataclass(frozen=True, slots=True)
class Built:
    """A bundle and its items; `top_k` values of an answer come back, 0: all."""

    model: str
    bundle: Bundle
    items: Path
    count: int
    top_k: int

    @property
    def manifest(self) -> Manifest:
        """The plan."""
        return self.bundle.manifest


def scene_of(config: AdaptBenchConfig, manifest: Manifest) -> Scene:
    """The configured scene, or what suits the board."""
    local_ms = manifest.local.figures.device_ms
    return Scene(
        local_ms=local_ms,
        fps=config.fps or float(f"{1e3 / (_HEADROOM * local_ms):.2g}"),
        late_after_ms=config.deadline_ms or float(f"{_PATIENCE * local_ms:.2g}"),
        seconds=config.seconds,
        tell_deadline=config.tell_deadline,
    )


def built(
    model: str, config: AdaptBenchConfig, folder: Path, subjects: Subjects, say: Say
) -> Built:
    """Plan and build in `folder`; with `resume`, a plan of the same settings is taken again.

    ConfigError if the model's package is not installed.
    """
    if not config.resume:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    asked = PlanBenchConfig(
        models=(model,),
        calibration=config.calibration,
        evaluation=config.evaluation,
        plan=config.plan,
    )
    subject = subjects(model, asked, folder)
    workbench = subject.workbench(asked, config.edge_factor, lambda line: say(f"{model}: {line}"))
    bundle, items = workbench.build(folder / _BUNDLE), folder / _ITEMS
    rows = representative(subject.network, subject.sets.evaluation, config.frames)
    chosen = subject.sets.evaluation[rows]
    write_items(items, [chosen.arrays[spec.name] for spec in subject.network.inputs])
    return Built(model, open_bundle(bundle, "device"), items, len(rows), subject.top_k)
