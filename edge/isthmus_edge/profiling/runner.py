"""From a kit to a profile: try, look inside, take turns; each step may have been done before."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from isthmus import ModelError
from isthmus.profiles import (
    PROFILE_VERSION,
    Conditions,
    DeviceProfile,
    KitNetwork,
    NetworkTimes,
    PrefixTime,
)
from isthmus_edge.profiling.conditions import conditions_now, processor_temperature_c
from isthmus_edge.profiling.config import ProfilingConfig, Progress, silent
from isthmus_edge.profiling.kept import Keeper, key_of
from isthmus_edge.profiling.kernels import kernel_times
from isthmus_edge.profiling.kit import OpenKit, open_kit
from isthmus_edge.profiling.rounds import clock_of, run_rounds, spread_of
from isthmus_edge.profiling.session import Feed, Measured
from isthmus_edge.profiling.trials import try_alone

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
    cannot run here are left out with a note. Raises BundleError for a kit that is damaged,
    ModelError if none of its networks runs, ConfigError if `partial` cannot be written.
    """
    config = config or ProfilingConfig()
    kit = open_kit(folder)
    conditions = conditions_now(config.threads)
    keeper = Keeper(partial, key_of(kit.sha256, conditions))
    run = _Run(kit, kit.items(), config, progress, keeper)
    with keeper.saving():
        run.measure()
    return run.profile(conditions)


@dataclass(slots=True)
class _Run:
    """One run over a kit; what it measures is held by `keeper`."""

    kit: OpenKit
    items: tuple[Feed, ...]
    config: ProfilingConfig
    progress: Progress
    keeper: Keeper
    notes: list[str] = field(default_factory=list)

    def measure(self) -> None:
        """All that is still missing."""
        kept = self.keeper.kept
        if kept.first_temperature_c is None:
            kept.first_temperature_c = processor_temperature_c()
        networks = list(self._tried())
        if not networks:
            raise ModelError(f"{self.kit.folder}: no network of it runs here: " + self.notes[0])
        self._look_inside(networks)
        self._take_turns(networks)
        self.progress(1.0, "done")

    def _tried(self) -> Iterator[KitNetwork]:
        """The networks that run here, each tried in a process of its own."""
        trials = self.keeper.kept.trials
        networks = self.kit.kit.networks
        for done, network in enumerate(networks):
            self.progress(_TRIED * done / len(networks), f"trying {network.name}")
            if network.name not in trials:
                trial = try_alone(self.kit, network.file, self.config.threads)
                if trial.problem is not None:
                    self.notes.append(f"{network.name} was not measured: {trial.problem}")
                    continue
                trials[network.name] = trial
                self.keeper.save()
            yield network

    def _look_inside(self, networks: list[KitNetwork]) -> None:
        """The runtime's own profile of each network."""
        kernels = self.keeper.kept.kernels
        for done, network in enumerate(networks):
            share = _TRIED + (_LOOKED_INSIDE - _TRIED) * done / len(networks)
            self.progress(share, f"kernels of {network.name}")
            if network.name not in kernels:
                path = self.kit.file(network.file)
                kernels[network.name] = kernel_times(
                    path, self.config.threads, self.items, self.config.kernel_runs
                )
                self.keeper.save()

    def _take_turns(self, networks: list[KitNetwork]) -> None:
        """Rounds over all files, or over one after the other where memory is short."""
        files = [file for network in networks for file in _files(network)]
        groups = [files] if self._fits(networks) else [[file] for file in files]
        if len(groups) > 1:
            self.notes.append("measured one after the other: memory is too short for taking turns")
        for number, group in enumerate(groups):
            opened = dict(self._opened(group))
            if opened:
                self._rounds(opened, number, len(groups))

    def _fits(self, networks: Iterable[KitNetwork]) -> bool:
        trials = self.keeper.kept.trials
        wanted = sum(trials[n.name].memory_bytes * (1 + len(n.prefixes)) for n in networks)
        return wanted <= _SHARE_OF_MEMORY * psutil.virtual_memory().available

    def _opened(self, files: Iterable[str]) -> Iterator[tuple[str, Measured]]:
        for file in files:
            try:
                network = Measured(self.kit.file(file), self.config.threads)
                network.run(self.items[0])
            except ModelError as error:
                self.notes.append(f"{file} was not measured: {error}")
                continue
            yield file, network

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
        networks = tuple(self._network_times(n) for n in kit.networks if n.file in kept.times)
        first, last = kept.first_temperature_c, processor_temperature_c()
        drifting = [n for n in networks if abs(n.drift) > _NOTED_DRIFT]
        notes = [f"{n.name} drifted by {n.drift:+.0%} over the rounds" for n in drifting]
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
            prefixes=tuple(self._prefix_times(networks)),
            notes=(*self.notes, *notes),
        )

    def _network_times(self, network: KitNetwork) -> NetworkTimes:
        kept = self.keeper.kept
        spread = spread_of(kept.times[network.file])
        return NetworkTimes(
            name=network.name,
            ms=spread.ms,
            low_ms=spread.low_ms,
            high_ms=spread.high_ms,
            memory_bytes=kept.trials[network.name].memory_bytes,
            drift=spread.drift,
            kernels=kept.kernels[network.name],
        )

    def _prefix_times(self, measured: Iterable[NetworkTimes]) -> Iterator[PrefixTime]:
        names = {network.name for network in measured}
        times = self.keeper.kept.times
        for network in self.kit.kit.networks:
            for prefix in network.prefixes:
                if network.name in names and prefix.file in times:
                    spread = spread_of(times[prefix.file])
                    yield PrefixTime(
                        network=network.name,
                        tensors=prefix.tensors,
                        ms=spread.ms,
                        low_ms=spread.low_ms,
                        high_ms=spread.high_ms,
                    )


def _files(network: KitNetwork) -> Iterator[str]:
    yield network.file
    for prefix in network.prefixes:
        yield prefix.file
