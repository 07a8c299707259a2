"""How long the parts of a bundle's tails take on one core, and how much longer they are made to.

A tail that sleeps takes what the real one takes, times a factor, and leaves the processor to the
rest of the fleet: so two cores can hold more replicas than they could compute.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from isthmus import Bundle, ConfigError
from isthmus_cloud.deployments.loading import load_tails
from isthmus_cloud.engines.batch_times import BatchTimes, summed
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine

_MAX_BATCH = 32  # of the service

__all__ = [
    "PartTimes",
    "SleepTable",
    "SleepTables",
    "load_tables",
    "measured_parts",
    "save_tables",
    "stretched",
]


class PartTimes(msgspec.Struct, frozen=True):
    """Of each cut the files of its tail, and of each file what batches take on one core, in ms."""

    tails: dict[str, tuple[str, ...]]
    parts: dict[str, BatchTimes]

    def tail(self, cut: str) -> BatchTimes:
        """Of the whole tail of a cut."""
        return summed([self.parts[name] for name in self.tails[cut]])


class SleepTable(msgspec.Struct, frozen=True):
    """What each part takes when it sleeps; those of one tail `factor` times what they took."""

    factor: float
    parts: dict[str, BatchTimes]

    def tail(self, names: Sequence[str]) -> BatchTimes:
        """Of parts that sleep one after the other."""
        return summed([self.parts[name] for name in names])


class SleepTables(msgspec.Struct, frozen=True):
    """Of a tail that is stretched as usual, and of the same one for fleets with short tails."""

    usual: SleepTable
    short: SleepTable


def measured_parts(bundle: Bundle) -> PartTimes:
    """Load every tail of the cloud's half on one core and measure it, as a service does."""
    engine = OrtEngine(Cores(1))
    try:
        tails = load_tails(bundle, engine, _MAX_BATCH, lambda _: None)
    finally:
        engine.close()
    parts = {part.name: part.times for tail in tails.values() for part in tail.parts}
    names = {cut: tuple(part.name for part in tail.parts) for cut, tail in tails.items()}
    return PartTimes(names, parts)


def stretched(times: PartTimes, cut: str, tail_ms: float) -> SleepTable:
    """The tail of `cut` takes `tail_ms` for a batch of one; parts that it has not stay as they are.

    ConfigError if nothing was measured: its tails take one frame at a time.
    """
    one_ms = times.tail(cut).ms(1)
    if not one_ms:
        raise ConfigError(
            f"the tail of {cut!r} was not measured, since it takes one frame at a time; give "
            "--bundle a bundle whose tails take batches"
        )
    factor = tail_ms / one_ms
    own = times.tails[cut]
    parts = {
        name: _times(part, factor if name in own else 1.0) for name, part in times.parts.items()
    }
    return SleepTable(factor, parts)


def save_tables(tables: SleepTables, path: Path) -> None:
    """Write them for other processes."""
    path.write_bytes(msgspec.json.encode(tables))


def load_tables(path: Path) -> SleepTables:
    """What `save_tables` wrote; ConfigError if it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=SleepTables)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{path}: no table of sleeping tails ({error}); `isthmus bench scale` writes one"
        ) from error


def _times(part: BatchTimes, factor: float) -> BatchTimes:
    return BatchTimes(part.sizes, tuple(ms * factor for ms in part.took_ms))
