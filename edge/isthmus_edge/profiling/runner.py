"""From a kit to a profile: try, look inside, take turns; each step may have been done before."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from isthmus import ModelError
from isthmus.profiles import (
    PROFILE_VERSION,
    Conditions,
    DeviceProfile,
    NetworkTimes,
    PrefixTime,
)
from isthmus_edge.control_group import available_memory_bytes
from isthmus_edge.profiling.conditions import conditions_now, processor_temperature_c
from isthmus_edge.profiling.config import ProfilingConfig, Progress, silent
from isthmus_edge.profiling.kept import Keeper, key_of
from isthmus_edge.profiling.kit import OpenKit, open_kit
from isthmus_edge.profiling.rounds import clock_of, run_rounds, spread_of
from isthmus_edge.profiling.session import Feed, Measured
from isthmus_edge.profiling.subjects import Subject, refusals_of, subjects_of
from isthmus_edge.profiling.trials import try_alone
from isthmus_edge.runtimes import FoundRuntime, GraphFiles, Runtimes

Part = tuple[Subject, str, GraphFiles]  # a network or a prefix, and its key

__all__ = ["profile_kit"]

_TRIED, _LOOKED_INSIDE = 0.1, 0.3  # shares of the work that are done then; rounds are the rest
_SHARE_OF_MEMORY = 0.5  # of what is free may be taken by networks that take turns
_NOTED_DRIFT = 0.05


def profile_kit(
    folder: Path,
    config: ProfilingConfig | None = None,
    *,
    partial: Path | None = None,
    progress: Progress = silent,
) -> DeviceProfile:
    """Measure every network and prefix of the kit in `folder` on this device.

    Finished measurements are kept in the file `partial`, where one is named, and used again by the
    next run with the same kit, device and threads; it is left there when all is done. Networks that
    cannot run here, or answer otherwise, are left out with a note. Raises BundleError for a kit
    that is damaged, ModelError if none of its networks runs, ConfigError if `partial` cannot be
    written.
    """
    config = config or ProfilingConfig()
    kit = open_kit(folder)
    runtimes = Runtimes(config.runtime).installed
    conditions = conditions_now(config.threads, runtimes)
    keeper = Keeper(partial, key_of(kit.sha256, conditions))
    for network in kit.kit.networks:
        kit.answers(network)  # what is damaged is said first
    run = _Run(kit, kit.items(), runtimes, config, progress, keeper)
    with keeper.saving():
        run.measure()
    return run.profile(conditions)


@dataclass(slots=True)
class _Run:
    """One run over a kit; what it measures is held by `keeper`."""

    kit: OpenKit
    items: tuple[Feed, ...]
    runtimes: tuple[FoundRuntime, ...]
    config: ProfilingConfig
    progress: Progress
    keeper: Keeper
    notes: list[str] = field(default_factory=list)

    def measure(self) -> None:
        """All that is still missing."""
        kept = self.keeper.kept
        if kept.first_temperature_c is None:
            kept.first_temperature_c = processor_temperature_c()
        subjects = list(self._tried())
        self.notes += refusals_of(self.kit, self.runtimes)
        if not subjects:
            raise ModelError(f"{self.kit.folder}: no network of it runs here: {self.notes[0]}")
        self._look_inside(subjects)
        self._take_turns(subjects)
        self.progress(1.0, "done")

    def _tried(self) -> Iterator[Subject]:
        """The networks that run here, each tried in a process of its own."""
        trials = self.keeper.kept.trials
        subjects = list(subjects_of(self.kit, self.runtimes))
        for done, subject in enumerate(subjects):
            self.progress(_TRIED * done / len(subjects), f"trying {subject.name}")
            if subject.name not in trials:
                trial = try_alone(self.kit, subject, self.config.threads)
                if trial.problem is not None:
                    self.notes.append(f"{subject.name} was not measured: {trial.problem}")
                    continue
                trials[subject.name] = trial
                self.keeper.save()
            yield subject

    def _look_inside(self, subjects: list[Subject]) -> None:
        """ONNX Runtime's own profile of each network."""
        kernels = self.keeper.kept.kernels
        networks = [s.network for s in subjects if s.runtime.name == "onnxruntime"]
        if not networks:
            return
        # ONNX Runtime may not be installed: then nobody comes here.
        from isthmus_edge.profiling.kernels import kernel_times  # noqa: PLC0415

        for done, network in enumerate(networks):
            share = _TRIED + (_LOOKED_INSIDE - _TRIED) * done / len(networks)
            self.progress(share, f"kernels of {network.name}")
            if network.name not in kernels:
                path = self.kit.file(network.file)
                kernels[network.name] = kernel_times(
                    path, self.config.threads, self.items, self.config.kernel_runs
                )
                self.keeper.save()

    def _take_turns(self, subjects: list[Subject]) -> None:
        """Rounds over all parts, or over one after the other where memory is short."""
        parts = [(s, key, files) for s in subjects for key, files in s.parts(self.kit)]
        groups = [parts] if self._fits(subjects) else [[part] for part in parts]
        if len(groups) > 1:
            self.notes.append("measured one after the other: memory is too short for taking turns")
        for number, group in enumerate(groups):
            self._measure_group(group, number, len(groups))
        if not any(s.key(s.network) in self.keeper.kept.times for s in subjects):
            raise ModelError(
                f"{self.kit.folder}: no network of it could be measured: {self.notes[-1]}"
            )

    def _measure_group(self, group: Iterable[Part], number: int, groups: int) -> None:
        """What it loads has gone when it is done: before the next group is loaded."""
        opened = dict(self._opened(group))
        if opened:
            self._rounds(opened, number, groups)

    def _fits(self, subjects: Iterable[Subject]) -> bool:
        trials = self.keeper.kept.trials
        wanted = sum(trials[s.name].memory_bytes * (1 + len(s.network.prefixes)) for s in subjects)
        free_bytes = available_memory_bytes()
        return free_bytes is None or wanted <= _SHARE_OF_MEMORY * free_bytes

    def _opened(self, parts: Iterable[Part]) -> Iterator[tuple[str, Measured]]:
        for subject, key, files in parts:
            try:
                network = Measured(subject.runtime.ready(), files, self.config.threads)
                network.run(self.items[0])
            except ModelError as error:
                self.notes.append(f"{key} was not measured: {error}")
                continue
            yield key, network

    def _rounds(self, opened: dict[str, Measured], number: int, groups: int) -> None:
        begin = time.monotonic()
        budget_s = None if self.config.seconds is None else self.config.seconds / groups

        def go_on(done: int) -> bool:
            spent = 0.0 if budget_s is None else (time.monotonic() - begin) / budget_s
            share = max(done / self.config.rounds, spent)
            if share >= 1:
                return False
            done_share = _LOOKED_INSIDE + (1 - _LOOKED_INSIDE) * (number + share) / groups
            self.progress(done_share, f"round {done + 1}: {len(opened)} networks and prefixes")
            self.keeper.save_sometimes()
            return True

        clock = clock_of(self.config.threads)
        run_rounds(opened, self.items, self.keeper.kept.times, clock, go_on)

    def profile(self, conditions: Conditions) -> DeviceProfile:
        """All that was measured, as the record that others read."""
        kept = self.keeper.kept
        kit = self.kit.kit
        subjects = [
            subject
            for subject in subjects_of(self.kit, self.runtimes)
            if subject.key(subject.network) in kept.times
        ]
        networks = tuple(map(self._network_times, subjects))
        first, last = kept.first_temperature_c, processor_temperature_c()
        notes = [
            f"{n.name} on {n.runtime} drifted by {n.drift:+.0%} over the rounds"
            for n in networks
            if abs(n.drift) > _NOTED_DRIFT
        ]
        if kept.begins > 1:
            notes.append(f"measured in {kept.begins} runs, with pauses between them")
        return DeviceProfile(
            format_version=PROFILE_VERSION,
            model_name=kit.model_name,
            model_sha256=kit.model_sha256,
            kit_sha256=self.kit.sha256,
            taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
            conditions=conditions,
            rounds=min(len(times) for times in kept.times.values()),
            memory="peak" if all(t.is_peak for t in kept.trials.values()) else "at the end",
            temperature_c=None if first is None or last is None else (first, last),
            networks=networks,
            prefixes=tuple(self._prefix_times(subjects)),
            notes=(*self.notes, *notes),
        )

    def _network_times(self, subject: Subject) -> NetworkTimes:
        kept = self.keeper.kept
        spread = spread_of(kept.times[subject.key(subject.network)])
        has_kernels = subject.runtime.name == "onnxruntime"
        return NetworkTimes(
            name=subject.network.name,
            runtime=subject.runtime.name,
            ms=spread.ms,
            low_ms=spread.low_ms,
            high_ms=spread.high_ms,
            memory_bytes=kept.trials[subject.name].memory_bytes,
            drift=spread.drift,
            error=kept.trials[subject.name].error,
            kernels=kept.kernels[subject.network.name] if has_kernels else (),
        )

    def _prefix_times(self, subjects: Iterable[Subject]) -> Iterator[PrefixTime]:
        times = self.keeper.kept.times
        for subject in subjects:
            for prefix in subject.network.prefixes:
                if subject.key(prefix) in times:
                    spread = spread_of(times[subject.key(prefix)])
                    yield PrefixTime(
                        network=subject.network.name,
                        runtime=subject.runtime.name,
                        tensors=prefix.tensors,
                        ms=spread.ms,
                        low_ms=spread.low_ms,
                        high_ms=spread.high_ms,
                    )
