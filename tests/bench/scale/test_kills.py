"""Replicas that are killed: who, when, and what is said of it."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.bench.scale.made_up import scale_load

from isthmus import LinkError
from isthmus_bench.scale import fleets, kills
from isthmus_bench.scale.fleets import (
    IN_PROCESS,
    KINDS,
    RAY_NOT_THERE,
    RAY_TWO,
    Fleet,
    Kind,
    Place,
    RayCluster,
    why_no_ray,
)
from isthmus_bench.scale.kills import kill_replicas
from isthmus_bench.scale.orders import ScaleOrder
from isthmus_bench.serve.services import ServiceProcess

ORDER = ScaleOrder(do="load", addresses=("here",), devices=9, fps=2.0)


def kind(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


class Cluster:
    """Of two replicas; who is killed is seen once more, and has a successor when it was asked for
    some times."""

    address = "10.0.0.1:6379"

    def __init__(self, replaces: bool = True) -> None:
        self.pids, self.killed = [101, 102], list[int]()
        self._replaces, self._asked = replaces, 0
        self._dying: list[int] = []

    def replica_pids(self) -> list[int]:
        self._asked += 1
        if self._replaces and len(self.pids) < 2 and self._asked % 3 == 0:
            self.pids.append(max(self.killed) + 10)
        dying, self._dying = self._dying, []
        return [*self.pids, *dying]

    def kill(self, pid: int, number: signal.Signals) -> None:
        assert number == signal.SIGKILL
        self.pids.remove(pid)
        self.killed.append(pid)
        self._dying.append(pid)


class Hand:
    """The devices' process: begins a load, and tells what became of it."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def do(self, verb: str, *, busy_s: float = 0.0, **fields: Any) -> dict[str, Any]:
        self.told.append(verb)
        if verb == "load":
            assert fields["until_told"]
            return {"begun": True}
        found: dict[str, Any] = msgspec.to_builtins(scale_load(accepted=7, answered=7))
        return found


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "_BEFORE_S", 0.0)
    monkeypatch.setattr(kills, "_MOST_S", 0.0)
    monkeypatch.setattr(kills, "_ASK_S", 0.0)


class Logging:
    """A front end that reports a lost call for each but the first replica that was killed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def said(self) -> str:
        lost = '{"level": "warning", "event": "call_lost"}\n' * 2
        return "listening\n" + lost * (len(self._cluster.killed) - 1)


def fleet_of(cluster: Cluster) -> Fleet:
    return Fleet(kind(RAY_TWO), (Logging(cluster),), cluster)  # type: ignore[arg-type]


def test_each_kill_waits_until_all_replicas_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, hand, said = Cluster(), Hand(), list[str]()
    monkeypatch.setattr(os, "kill", cluster.kill)
    found = kill_replicas(fleet_of(cluster), hand, ORDER, 3, said.append)
    assert len(cluster.killed) == len(set(cluster.killed)) == len(found.recovered_s) == 3
    assert len(cluster.pids) == 2
    assert (found.count, found.hurt, found.devices, found.load.load.answered) == (3, 2, 9, 7)
    assert hand.told == ["load", "end"]
    assert said == ["kill 1/3", "kill 2/3", "kill 3/3"]


def test_a_replica_that_is_not_replaced_ends_it_and_the_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster, hand = Cluster(replaces=False), Hand()
    monkeypatch.setattr(os, "kill", cluster.kill)
    monkeypatch.setattr(kills, "BACK_S", 0.01)
    with pytest.raises(LinkError, match="was not replaced"):
        kill_replicas(fleet_of(cluster), hand, ORDER, 3, lambda _: None)
    assert len(cluster.killed) == 1
    assert hand.told == ["load", "end"]


class Process:
    """A front end that is ready at once, and remembers how it was asked for."""

    address, pid = "127.0.0.1:1", 1

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.command, self.log, self.environment = command, log, environment

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("sleeps", [True, False])
@pytest.mark.parametrize("of", KINDS, ids=lambda kind: kind.name)
def test_every_kind_is_started_as_it_says(
    of: Kind, sleeps: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fleets, "Announced", Process)
    place = Place(tmp_path, tmp_path, tmp_path / "t.json", Cluster())  # type: ignore[arg-type]
    with place.start(of, sleeps=sleeps) as fleet:
        made: list[Process] = list(fleet.front_ends)  # type: ignore[arg-type]
    assert len(fleet.addresses) == len({each.log for each in made}) == of.front_ends
    for each in made:
        line = " ".join(each.command)
        engine = "open_short_engine" if of.short else "sleeping:open_engine"
        assert (engine in line, "python://" in line) == (sleeps, sleeps)
        assert each.environment["ISTHMUS_SLEEPING_TABLE"] == str(tmp_path / "t.json")
        if of.ray:
            assert f"--engine ray --ray-address 10.0.0.1:6379 --ray-replicas {of.replicas}:" in line
        else:
            assert "--ray" not in line
            assert "--workers 1 --threads 1" in line
    assert (len(fleet.replica_pids()) == 2) == of.ray


def test_a_cluster_that_does_not_come_up_is_tried_once_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tries: list[int] = []

    def ready(self: RayCluster) -> str:
        tries.append(self.pid)
        if len(tries) == 1:
            raise LinkError("Ray was not ready")
        return "10.0.0.1:1"

    monkeypatch.setattr(RayCluster, "_ready", ready)
    monkeypatch.setattr(fleets, "_START", ("-c", "import signal; signal.pause()"))
    said: list[str] = []
    with ExitStack() as stack:
        cluster = RayCluster.up(stack, tmp_path, tmp_path / "table", said.append)
        assert isinstance(cluster, ServiceProcess)
        assert cluster.address == "10.0.0.1:1"
        assert cluster.replica_pids() == []
    assert len(set(tries)) == 2
    assert said == ["Ray was not ready; trying once more"]


def test_what_is_said_where_there_is_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--no-ray" in str(why_no_ray(wanted=False))
    monkeypatch.setattr(fleets, "find_spec", lambda _: None)
    assert why_no_ray(wanted=True) == RAY_NOT_THERE
    monkeypatch.setattr(fleets, "find_spec", lambda name: name)
    assert why_no_ray(wanted=True) is None


def test_a_plain_fleet_has_no_replicas_to_kill() -> None:
    assert Fleet(kind(IN_PROCESS), (), None).replica_pids() == []
