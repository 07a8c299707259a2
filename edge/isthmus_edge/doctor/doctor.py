"""All checks of the doctor, in the order in which they are told."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import isthmus
from isthmus_edge.doctor.bundle import BundleLook
from isthmus_edge.doctor.clock import ClockLook
from isthmus_edge.doctor.examination import Check, chosen_checks, examine
from isthmus_edge.doctor.finding import Finding
from isthmus_edge.doctor.link import QUICK_ROUND_TRIPS, ROUND_TRIPS, LinkLook
from isthmus_edge.doctor.memory import look_at_memory
from isthmus_edge.doctor.packages import Packages
from isthmus_edge.doctor.processor import look_at_cores, look_at_features, look_at_load
from isthmus_edge.doctor.runtimes import QUICK_ROUNDS, ROUNDS, RuntimeTrials
from isthmus_edge.doctor.storage import Folder, SystemDisk, look_at_storage
from isthmus_edge.doctor.surroundings import Surroundings
from isthmus_edge.doctor.warmth import look_at_governor, look_at_temperature, look_at_throttling
from isthmus_edge.stream.addresses import targets_of
from isthmus_edge.stream.credentials import Credentials

# Checks that are there only where something is named, and how to name it.
_NEEDS = {"bundle": "give BUNDLE", "link": "give --cloud HOST:PORT"}

__all__ = ["DoctorConfig", "checks", "diagnose"]


def _state_folder() -> Path:
    """What systemd gave the daemon, else where commands leave their work."""
    return Path(os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or ".")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorConfig:
    """What to look at.

    `bundle` and `cloud` (HOST:PORT, several with commas) add their checks; `credentials` and
    `insecure` are as an agent's.
    `state` is a folder that has to be written. `only` names checks, `quick` leaves out what takes
    more than a moment. `time_server` (HOST[:PORT]) is asked for the time.
    """

    bundle: Path | None = None
    cloud: str | None = None
    credentials: Credentials = field(default_factory=Credentials)
    insecure: bool = False
    state: Path = field(default_factory=_state_folder)
    only: tuple[str, ...] = ()
    quick: bool = False
    time_server: str | None = None

    def __post_init__(self) -> None:
        if self.cloud is not None:
            targets_of(self.cloud)


def diagnose(
    config: DoctorConfig, progress: Callable[[Check], None] = lambda _: None
) -> list[Finding]:
    """Look at everything that `config` asks for; ConfigError for a check that is not there."""
    possible = checks(config, Surroundings())
    chosen = chosen_checks(possible, config.only, quick=config.quick, needs=_NEEDS)
    return examine(chosen, progress)


def checks(config: DoctorConfig, around: Surroundings) -> list[Check]:
    """Every check that fits what `config` names."""
    trials = RuntimeTrials(rounds=QUICK_ROUNDS if config.quick else ROUNDS)
    return [
        Check("features", "what can the processor do", partial(look_at_features, around)),
        Check("cores", "how much of it is there", partial(look_at_cores, around)),
        Check("governor", "who sets its clock", partial(look_at_governor, around)),
        Check("temperature", "how warm is it", partial(look_at_temperature, around)),
        Check("throttling", "was it slowed down", partial(look_at_throttling, around)),
        Check("load", "who else uses it", partial(look_at_load, around), is_long=True),
        Check("memory", "is there memory", partial(look_at_memory, around)),
        Check("storage", "can the folders be written", partial(_storage, config)),
        Check("packages", "do the versions fit", Packages().look),
        Check("runtimes", "do the runtimes live, and how fast are they", trials.look),
        *_bundle(config, around, trials),
        Check("clock", "is the time right", _clock(config, around).look),
        *_link(config, around),
    ]


def _storage(config: DoctorConfig) -> Iterator[Finding]:
    folders = [Folder(config.state, "state")]
    if config.bundle is not None:
        folders.append(Folder(config.bundle, "bundle", is_written=False))
    return look_at_storage(SystemDisk(), folders)


def _bundle(config: DoctorConfig, around: Surroundings, trials: RuntimeTrials) -> Iterator[Check]:
    if config.bundle is not None:
        look = BundleLook(
            path=config.bundle, trials=trials, around=around, is_quick=config.quick
        ).look
        yield Check("bundle", "is the bundle whole, and does it load", look)


def _clock(config: DoctorConfig, around: Surroundings) -> ClockLook:
    known = [Path(isthmus.__file__)]
    if config.bundle is not None:
        known.append(config.bundle)
    return ClockLook(around=around, newer_than=tuple(known), server=config.time_server)


def _link(config: DoctorConfig, around: Surroundings) -> Iterator[Check]:
    for target in () if config.cloud is None else targets_of(config.cloud):
        look = LinkLook(
            cloud=target,
            credentials=config.credentials,
            insecure=config.insecure,
            bundle=config.bundle,
            round_trips=QUICK_ROUND_TRIPS if config.quick else ROUND_TRIPS,
            around=around,
        ).look
        yield Check("link", f"is {target} there", look)
