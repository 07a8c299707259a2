"""`isthmus bench adapt`: the running policy against all that stays as it is, on replayed links.

Each policy answers the frames of a camera on every trace: ours; ours with an EWMA estimator; and
pinned, so that the best static one is known in hindsight, every candidate that the plan keeps and
the baselines whether kept or not: edge-only int8, the picture as a JPEG and raw. A pinned candidate
sends the coarsest rung that meets the agreement floor. A cloud and a device imitated as a slow
board are real processes with an emulated link between them. The pinned ones keep our stream, our
local finish and our reconnects: they are stronger than static splits elsewhere, which stall with
their link.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from queue import SimpleQueue

from isthmus import ConfigError, describe_machine
from isthmus_bench.adapt.chart import draw_cell
from isthmus_bench.adapt.config import AdaptBenchConfig
from isthmus_bench.adapt.crowd import Crowd
from isthmus_bench.adapt.kept import KeptRuns, setting_of
from isthmus_bench.adapt.lane import Lane
from isthmus_bench.adapt.moments import Moments, measured_moments
from isthmus_bench.adapt.runs import Policy, Run, Scene, policies_of
from isthmus_bench.adapt.scores import Cell, cells_of
from isthmus_bench.adapt.subjects import built, scene_of
from isthmus_bench.awake import Awake
from isthmus_bench.plan.subject import Subjects, subject_of
from isthmus_bench.starvation import STARVED, StolenTime
from isthmus_bench.traces import Trace

__all__ = ["AdaptResult", "ModelResult", "run_adapt_bench"]

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResult:
    """All runs of one model, of which `kept_runs` were kept from before."""

    model: str
    edge_factor: float
    scene: Scene
    policies: tuple[Policy, ...]
    cells: tuple[Cell, ...]
    kept_runs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptResult:
    """All figures of one run of the bench; runs that were kept from before are among them."""

    machine: str
    stolen_share: float
    crowded_share: float
    config: AdaptBenchConfig
    excerpts: tuple[Trace, ...]
    models: tuple[ModelResult, ...]
    moments: Moments

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Of all models."""
        return tuple(cell for each in self.models for cell in each.cells)

    @property
    def kept_runs(self) -> int:
        """Of all models."""
        return sum(each.kept_runs for each in self.models)


def run_adapt_bench(
    config: AdaptBenchConfig, say: Say, subjects: Subjects = subject_of
) -> AdaptResult:
    """Plan, run every policy on every trace, and measure the moments that traces do not show.

    `say` gets a line for each step of the long work, with the time that is left. Leaves no
    processes behind; bundles and runs stay in `config.out`. ConfigError if a package of a model is
    not installed or the folder cannot be written.
    """
    stolen, crowd = StolenTime(), Crowd()
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{config.out}: cannot be made ({error.strerror}); name another"
        ) from error
    excerpts = config.excerpts
    models = [_ModelBench(name, config, subjects, say) for name in config.models]
    subjects_built = [(each.built, each.scene) for each in models]
    with Awake() if config.awake else nullcontext():
        moments = measured_moments(subjects_built, config.trials, say)
        results = tuple(bench.result(excerpts) for bench in models)
    for each in results:
        for cell, trace in zip(each.cells, excerpts, strict=True):
            name = f"{cell.model}-{trace.name.partition('[')[0]}.png"
            draw_cell(config.out / name, cell, trace)
    return AdaptResult(
        machine=describe_machine(),
        stolen_share=stolen.share(),
        crowded_share=crowd.share(),
        config=config,
        excerpts=excerpts,
        models=results,
        moments=moments,
    )


@dataclass(frozen=True, slots=True)
class _Job:
    policy: Policy
    trace: Trace
    repeat: int

    @property
    def key(self) -> tuple[Trace, str, int]:
        """What its run is kept as."""
        return self.trace, self.policy.name, self.repeat


class _ModelBench:
    """One model: its bundle first, so that a refusal comes before the long work."""

    def __init__(self, model: str, config: AdaptBenchConfig, subjects: Subjects, say: Say) -> None:
        self._config, self._say = config, say
        folder = config.out / "work" / model
        self.built = built(model, config, folder, subjects, say)
        self.scene = scene_of(config, self.built.manifest)
        setting = setting_of(self.built, self.scene, config.lanes)
        self._kept = KeptRuns(folder / "runs.jsonl", setting, resume=config.resume)
        self._policies = policies_of(self.built.manifest)

    def result(self, excerpts: Sequence[Trace]) -> ModelResult:
        """Run it all; cells are in the order of the excerpts."""
        jobs = list(self._jobs(excerpts))
        runs = tuple(self._finished(jobs))
        return ModelResult(
            model=self.built.model,
            edge_factor=self.built.manifest.edge_factor,
            scene=self.scene,
            policies=self._policies,
            cells=cells_of(self._policies, runs, self.scene),
            kept_runs=sum(self._kept.is_from_before(*job.key) for job in jobs),
        )

    def _jobs(self, excerpts: Sequence[Trace]) -> Iterator[_Job]:
        """Policies take turns in beginning: none always has the quiet or the busy minutes."""
        for repeat in range(self._config.repeats):
            for place, trace in enumerate(excerpts):
                first = (repeat + place) % len(self._policies)
                for policy in (*self._policies[first:], *self._policies[:first]):
                    yield _Job(policy, trace, repeat)

    def _finished(self, jobs: Sequence[_Job]) -> Iterator[Run]:
        """What is kept from before, the rest, and once more what other machines starved."""
        if left := self._starved(jobs):
            self._run_all(left)
        if again := self._starved(jobs):
            self._say(f"{self.built.model}: {len(again)} runs were starved; once more")
            self._run_all(again)
        for job in jobs:
            run = self._find(job)
            assert run is not None  # it was just run
            yield run

    def _starved(self, jobs: Sequence[_Job]) -> list[_Job]:
        """What was not run, or while others took this machine's time."""
        found = ((job, self._find(job)) for job in jobs)
        return [job for job, run in found if run is None or run.stolen_share > STARVED]

    def _find(self, job: _Job) -> Run | None:
        return self._kept.find(*job.key)

    def _run_all(self, jobs: Sequence[_Job]) -> None:
        """As many at a time as there are lanes."""
        lanes = min(self._config.lanes, len(jobs))
        progress = _Progress(self.built.model, len(jobs), lanes, self._say)
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(lanes))
            free: SimpleQueue[Lane] = SimpleQueue()
            for _ in range(lanes):
                free.put(stack.enter_context(Lane(self.built, self.scene)))
            # First of all at the end: what has not begun shall not begin on a lane that is closed.
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            running = {pool.submit(self._run, free, job): job for job in jobs}
            for future in as_completed(running):
                self._kept.add(running[future].trace, future.result())
                progress.note(future.result())

    def _run(self, free: "SimpleQueue[Lane]", job: _Job) -> Run:
        lane = free.get()
        try:
            return lane.run(job.policy, job.trace, job.repeat)
        finally:
            free.put(lane)


class _Progress:
    """A line for each finished run, with the time that is left."""

    def __init__(self, model: str, runs: int, lanes: int, say: Say) -> None:
        self._model, self._runs, self._say = model, runs, say
        self._done = 0
        self._begin = time.monotonic()
        say(f"{model}: {runs} runs, {lanes} at a time")

    def note(self, run: Run) -> None:
        """It is finished."""
        self._done += 1
        each_s = (time.monotonic() - self._begin) / self._done
        left_min = each_s * (self._runs - self._done) / 60
        self._say(
            f"{self._model}: {self._done}/{self._runs} {run.trace}: {run.policy}; "
            f"{left_min:.0f} min left for this model"
        )
