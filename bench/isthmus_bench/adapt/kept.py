"""Finished runs on disk, line by line, so that a run that was broken off can be resumed."""

from pathlib import Path

import msgspec

from isthmus import ConfigError
from isthmus_bench.adapt.runs import Run, Scene
from isthmus_bench.adapt.subjects import Built

__all__ = ["KeptRuns", "Setting", "setting_of"]


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What must be the same for a run to be used again: the bundle, the camera, the deadline."""

    fingerprint: str
    fps: float
    seconds: float
    late_after_ms: float
    tell_deadline: bool
    items: int


class _Line(msgspec.Struct, frozen=True):
    setting: Setting
    run: Run


def setting_of(built: Built, scene: Scene) -> Setting:
    """Of all runs of one model."""
    return Setting(
        fingerprint=built.bundle.fingerprint,
        fps=scene.fps,
        seconds=scene.seconds,
        late_after_ms=scene.late_after_ms,
        tell_deadline=scene.tell_deadline,
        items=built.count,
    )


class KeptRuns:
    """Runs of one setting in a file that may have others; it grows by a line for each run.

    Without `resume` what the file has is dropped. A line that was broken off is dropped, too. Of
    several runs of the same the one counts that lost a frame, else the one that was starved least.
    """

    def __init__(self, path: Path, setting: Setting, *, resume: bool) -> None:
        self._path, self._setting = path, setting
        self._runs: dict[tuple[str, str, int], Run] = {}
        try:
            lines = path.read_bytes().splitlines() if resume and path.exists() else []
            path.write_bytes(b"".join(line + b"\n" for line in lines if self._take(line)))
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be read and written ({error.strerror}); name another folder"
            ) from error

    def find(self, trace: str, policy: str, repeat: int) -> Run | None:
        """The finished run, if there is one."""
        return self._runs.get((trace, policy, repeat))

    def add(self, run: Run) -> None:
        """Keep a finished run."""
        self._count(run)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(_Line(self._setting, run)) + b"\n")

    def _take(self, line: bytes) -> bool:
        """Whether a line is a run at all; those of this setting are used again."""
        try:
            known = msgspec.json.decode(line, type=_Line)
        except msgspec.DecodeError:
            return False
        if known.setting == self._setting:
            self._count(known.run)
        return True

    def _count(self, run: Run) -> None:
        key = run.trace, run.policy, run.repeat
        before = self._runs.get(key)
        if before is None or _rank(run) < _rank(before):
            self._runs[key] = run


def _rank(run: Run) -> tuple[bool, float]:
    """The least counts: what was lost is not hidden behind a quieter run."""
    return run.lost + run.doubled == 0, run.stolen_share
