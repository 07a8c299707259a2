"""Fleets of real processes: plain ones side by side, or front ends of a Ray cluster."""

import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

from isthmus import LinkError
from isthmus_bench.scale.sleeping import ENGINE, SHORT_ENGINE, TABLE_VARIABLE
from isthmus_bench.serve.services import Announced, ServiceProcess, cloud_command, free_port

RAY_NOT_THERE = "Ray is not installed here; pip install 'isthmus[ray]'"
IN_PROCESS = "in-process"
_CLUSTER_S = 120.0
_START = ("-m", "ray.scripts.scripts", "start", "--head", "--block")
_SAID = 120  # characters of an error
_LOST = '"event": "call_lost"'  # as it is logged
_REPLICA = "ray::ServeReplica"  # how Ray names the process of one

__all__ = [
    "IN_PROCESS",
    "KINDS",
    "RAY_NOT_THERE",
    "RAY_ONE",
    "RAY_TWO",
    "RAY_TWO_FRONT_ENDS",
    "TWO_PROCESSES",
    "Fleet",
    "Kind",
    "Place",
    "RayCluster",
    "why_no_ray",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """`front_ends` processes that devices are spread over; with `ray` they share `replicas`, else
    each has its own tails, and `replicas` is as many. `short`: of tails that sleep less."""

    name: str
    front_ends: int
    replicas: int
    ray: bool
    short: bool = False

    @property
    def engine(self) -> str:
        """Of its tails when they sleep."""
        return SHORT_ENGINE if self.short else ENGINE


TWO_PROCESSES, RAY_ONE, RAY_TWO = "2 processes", "Ray, 1 replica", "Ray, 2 replicas"
RAY_TWO_FRONT_ENDS = "Ray, 2 front ends, 2 replicas"
KINDS = (
    Kind(IN_PROCESS, 1, 1, ray=False),
    Kind(TWO_PROCESSES, 2, 2, ray=False),
    Kind(RAY_ONE, 1, 1, ray=True),
    Kind(RAY_TWO, 1, 2, ray=True),
    Kind(RAY_TWO_FRONT_ENDS, 2, 2, ray=True),
    Kind(f"{IN_PROCESS}, short tails", 1, 1, ray=False, short=True),
    Kind(f"{RAY_ONE}, short tails", 1, 1, ray=True, short=True),
)


def why_no_ray(wanted: bool) -> str | None:
    """Why nothing can be measured on Ray; None if something can."""
    if not wanted:
        return "it was left out with --no-ray"
    return None if find_spec("ray") else RAY_NOT_THERE


@dataclass(frozen=True, slots=True)
class Fleet:
    """The processes of a kind while they run."""

    kind: Kind
    front_ends: tuple[ServiceProcess, ...]
    cluster: "RayCluster | None"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of the front ends."""
        return tuple(each.address for each in self.front_ends)

    def front_end_cpu_s(self) -> float:
        """Processor time that the front ends' own processes have used."""
        times = [psutil.Process(each.pid).cpu_times() for each in self.front_ends]
        return sum(each.user + each.system for each in times)

    def replica_pids(self) -> list[int]:
        """The processes of replicas that run now."""
        return [] if self.cluster is None else self.cluster.replica_pids()

    def calls_lost(self) -> int:
        """That the front ends have reported so far."""
        return sum(each.said().count(_LOST) for each in self.front_ends)


@dataclass(frozen=True, slots=True)
class Place:
    """Where fleets serve a bundle: logs and the table of sleeping tails are files, `cluster` is
    there for kinds with Ray."""

    bundle: Path
    logs: Path
    table: Path
    cluster: "RayCluster | None" = None

    @contextmanager
    def start(self, kind: Kind, *, sleeps: bool, flags: Sequence[str] = ()) -> Iterator[Fleet]:
        """All processes of a kind, ready; LinkError if one does not come up. Tails that do not
        sleep run on one core each. `flags` of each front end besides."""
        with ExitStack() as stack:
            front_ends = tuple(
                stack.enter_context(self._front_end(kind, number, sleeps, flags))
                for number in range(kind.front_ends)
            )
            yield Fleet(kind, front_ends, self.cluster if kind.ray else None)

    def _front_end(
        self, kind: Kind, number: int, sleeps: bool, flags: Sequence[str]
    ) -> ServiceProcess:
        chosen = self._ray_flags(kind, sleeps) if kind.ray else _plain_flags(kind, sleeps)
        name = re.sub(r"\W+", "-", f"{kind.name}-{number}")
        command = cloud_command(self.bundle, (*chosen, *flags))
        return Announced(command, self.logs / f"{name}.log", environment(self.table))

    def _ray_flags(self, kind: Kind, sleeps: bool) -> tuple[str, ...]:
        assert self.cluster is not None
        replicas = ("--ray-replicas", f"{kind.replicas}:{kind.replicas}")
        where = ("--engine", "ray", "--ray-address", self.cluster.address)
        tail = ("--ray-engine", kind.engine) if sleeps else ()
        return (*where, *replicas, "--ray-cpus", "0.1", *tail)


class RayCluster(ServiceProcess):
    """A cluster of one node, this machine, while its context lasts; LinkError if it does not
    come up."""

    _is_read = True

    def __init__(self, logs: Path, table: Path) -> None:
        command = [sys.executable, "-u", *_START]
        command += [f"--port={free_port()}", f"--num-cpus={max(4, os.cpu_count() or 1)}"]
        command += ["--include-dashboard=false", "--disable-usage-stats"]
        super().__init__(command, logs / "ray.log", environment(table))

    @classmethod
    def up(
        cls, stack: ExitStack, logs: Path, table: Path, say: Callable[[str], None]
    ) -> "RayCluster":
        """One that ends with `stack`; if the first does not come up, as happens where others keep
        the processors busy, a second one."""
        try:
            return stack.enter_context(cls(logs, table))
        except LinkError as error:
            say(f"{str(error)[-_SAID:]}; trying once more")
            return stack.enter_context(cls(logs, table))

    def replica_pids(self) -> list[int]:
        """The processes of replicas that run now."""
        found = []
        for process in psutil.Process(self.pid).children(recursive=True):
            try:
                if process.cmdline()[:1] and process.cmdline()[0].startswith(_REPLICA):
                    found.append(process.pid)
            except psutil.NoSuchProcess:
                continue  # it has ended meanwhile
        return sorted(found)

    def _ready(self) -> str:
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        deadline, address = time.monotonic() + _CLUSTER_S, ""
        while True:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty as error:
                raise self._failed(f"Ray was not ready in {_CLUSTER_S:g} s") from error
            if not line:
                raise self._failed(f"Ray ended with status {self._process.wait()}")
            if found := re.search(r"--address='([^']+)'", line):
                address = found[1]
            if address and "--block" in line:
                return address

    def _read(self, lines: "queue.SimpleQueue[str]") -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                lines.put(line.decode(errors="replace"))
        except ValueError:
            pass  # the pipe was closed by `end`
        lines.put("")


def environment(table: Path) -> dict[str, str]:
    """What all processes of a fleet find: where the table is; Ray's workers are not to be nice."""
    return {TABLE_VARIABLE: str(table), "RAY_worker_niceness": "0"}


def _plain_flags(kind: Kind, sleeps: bool) -> tuple[str, ...]:
    """One batch at a time, on one core."""
    engine = ("--engine", kind.engine) if sleeps else ("--provider", "cpu")
    return (*engine, "--workers", "1", "--threads", "1")
