"""Finished measurements, kept so that an interrupted run goes on where it stopped."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from isthmus.profiles import Conditions, KernelTime
from isthmus_edge.profiling.files import write_whole
from isthmus_edge.profiling.trials import Trial

__all__ = ["Keeper", "Kept", "key_of"]

_LAYOUT = 2
_EVERY_S = 2.0


class Kept(msgspec.Struct, kw_only=True):
    """What was measured so far: `key` stands for kit and device, `begins` counts the starts.

    `times` in ms by file of the kit, `trials` and `kernels` by name of the network.
    """

    key: str
    begins: int = 0
    times: dict[str, list[float]] = {}
    trials: dict[str, Trial] = {}
    kernels: dict[str, tuple[KernelTime, ...]] = {}
    first_temperature_c: float | None = None


def key_of(kit_sha256: str, conditions: Conditions) -> str:
    """Changes with whatever makes times that cannot be mixed."""
    return hashlib.sha256(f"{_LAYOUT} {kit_sha256} {conditions!r}".encode()).hexdigest()


class Keeper:
    """Saves what is `kept` now and then, and when all ends; nowhere if `path` is None.

    Raises ConfigError at once if the file cannot be written.
    """

    def __init__(self, path: Path | None, key: str) -> None:
        self._path = path
        self._saved_s = -_EVERY_S
        self.kept = _known(path, key) or Kept(key=key)
        self.kept.begins += 1
        self.save()

    def save(self) -> None:
        """Write it now."""
        self._saved_s = time.monotonic()
        if self._path is not None:
            write_whole(self._path, msgspec.json.encode(self.kept))

    def save_sometimes(self) -> None:
        """Write it if that was a while ago."""
        if time.monotonic() - self._saved_s >= _EVERY_S:
            self.save()

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Save when the block is left, by Ctrl-C too."""
        try:
            yield
        finally:
            self.save()


def _known(path: Path | None, key: str) -> Kept | None:
    """What an earlier run left, if it was of this kit on this device; else it is begun anew."""
    if path is None:
        return None
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return kept if kept.key == key else None
