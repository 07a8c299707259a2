"""Finished runs on disk, line by line, so that a run that was broken off can be resumed."""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import msgspec

from isthmus import ConfigError, describe_machine
from isthmus_bench.adapt.runs import Run, Scene
from isthmus_bench.adapt.subjects import Built
from isthmus_bench.traces import Trace

__all__ = ["KeptRuns", "Setting", "code_digest", "setting_of", "trace_digest"]

_PACKAGES = ("isthmus", "isthmus_edge", "isthmus_cloud", "isthmus_bench")
_Key = tuple[str, str, int]  # the trace's digest, policy, repeat


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What must be the same for a run to be used again, but for its trace.

    The bundle, the camera, the deadline, the machine, runs beside one another on it, and the code
    that decides and measures (`code_digest`).
    """

    fingerprint: str
    fps: float
    seconds: float
    late_after_ms: float
    tell_deadline: bool
    items: int
    lanes: int
    machine: str
    code: str


class _Line(msgspec.Struct, frozen=True):
    setting: Setting
    trace: str
    run: Run


def setting_of(built: Built, scene: Scene, lanes: int) -> Setting:
    """Of all runs of one model."""
    return Setting(
        fingerprint=built.bundle.fingerprint,
        fps=scene.fps,
        seconds=scene.seconds,
        late_after_ms=scene.late_after_ms,
        tell_deadline=scene.tell_deadline,
        items=built.count,
        lanes=lanes,
        machine=describe_machine(),
        code=_installed_code(),
    )


def trace_digest(trace: Trace) -> str:
    """Stands for all that is played, and the name it goes by."""
    return hashlib.sha256(msgspec.json.encode(trace)).hexdigest()


def code_digest(folders: Sequence[Path]) -> str:
    """Stands for every Python file below the folders, of which the order counts."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            code = path.read_bytes()
            digest.update(f"{path.relative_to(folder).as_posix()}\0{len(code)}\0".encode())
            digest.update(code)
    return digest.hexdigest()


class KeptRuns:
    """Runs of one setting in a file that may have others; it grows by a line for each run.

    Without `resume` what the file has is dropped. A line that was broken off is dropped, too, and
    one of an older format. Of several runs of the same the one counts that lost a frame, else the
    one that was starved least.
    """

    def __init__(self, path: Path, setting: Setting, *, resume: bool) -> None:
        self._path, self._setting = path, setting
        self._runs: dict[_Key, Run] = {}
        self._new: set[_Key] = set()
        beside = path.with_name(f"{path.name}.new")
        try:
            lines = path.read_bytes().splitlines() if resume and path.exists() else []
            beside.write_bytes(b"".join(line + b"\n" for line in lines if self._take(line)))
            beside.replace(path)
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be read and written ({error.strerror}); name another folder"
            ) from error

    def find(self, trace: Trace, policy: str, repeat: int) -> Run | None:
        """The finished run, if there is one."""
        return self._runs.get((trace_digest(trace), policy, repeat))

    def is_from_before(self, trace: Trace, policy: str, repeat: int) -> bool:
        """Whether the run that counts was in the file already."""
        key = trace_digest(trace), policy, repeat
        return key in self._runs and key not in self._new

    def add(self, trace: Trace, run: Run) -> None:
        """Keep a finished run."""
        digest = trace_digest(trace)
        if self._count(digest, run):
            self._new.add((digest, run.policy, run.repeat))
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(_Line(self._setting, digest, run)) + b"\n")

    def _take(self, line: bytes) -> bool:
        """Whether a line is a run at all; those of this setting are used again."""
        try:
            known = msgspec.json.decode(line, type=_Line)
        except msgspec.DecodeError:
            return False
        if known.setting == self._setting:
            self._count(known.trace, known.run)
        return True

    def _count(self, digest: str, run: Run) -> bool:
        """Whether it is the one that counts from now on."""
        key = digest, run.policy, run.repeat
        before = self._runs.get(key)
        counts = before is None or _rank(run) < _rank(before)
        if counts:
            self._runs[key] = run
        return counts


@cache
def _installed_code() -> str:
    specs = [find_spec(name) for name in _PACKAGES]
    return code_digest(
        [
            Path(folder)
            for spec in specs
            if spec is not None and spec.submodule_search_locations is not None
            for folder in spec.submodule_search_locations
        ]
    )


def _rank(run: Run) -> tuple[bool, float]:
    """The least counts: what was lost is not hidden behind a quieter run."""
    return run.lost + run.doubled == 0, run.stolen_share
