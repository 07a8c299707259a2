"""A plan is of the runtimes that will run it, and of those that are installed now."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest
from tests.partitioner.conftest import QUICK
from tests.partitioner.test_workbench import Desk

from isthmus import ConfigError
from isthmus_partitioner import Goals, Network, SampleSets, Workbench
from isthmus_partitioner.profiles import runtime_choice, twins
from isthmus_partitioner.profiles.profile import Profile
from isthmus_partitioner.profiles.runtime_choice import TFLITE
from isthmus_partitioner.tflite import NotLoweredError

ODD = "the lowered graph answers otherwise"


@pytest.fixture
def desk(network: Network, sets: SampleSets, tmp_path: Path) -> Desk:
    return Desk(network, sets, tmp_path / "work", replace(QUICK, edge_network_ms=None))


@pytest.fixture
def _segments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole network's twin answers well, those of its segments do not."""

    def refuse(*_: object) -> None:
        raise NotLoweredError(ODD)

    monkeypatch.setattr(twins, "require_alike", refuse)


def for_litert(desk: Desk, *others: str) -> Workbench:
    """For a device where LiteRT takes 200 ms for any network, and ONNX Runtime, if there, 800."""
    names = [times.name for times in desk.bench.measured_here().networks]
    edge = desk.device(*names, ms=800.0)
    quick = (
        msgspec.structs.replace(t, runtime="litert", ms=200.0, low_ms=200.0, kernels=())
        for t in edge.networks
    )
    slow = edge.networks if "onnxruntime" in others else ()
    return desk.bench.with_edge(msgspec.structs.replace(edge, networks=(*quick, *slow)))


@pytest.mark.usefixtures("_segments_are_refused")
def test_a_network_whose_segments_are_refused_is_planned_again_for_the_next_runtime(
    desk: Desk,
) -> None:
    """Its times, its words and its chains are those of ONNX Runtime."""
    there = for_litert(desk, "onnxruntime")
    assert {note.runtime for note in there.runtimes.values()} == {"litert"}
    plan = there.plan()
    chains, record = plan.manifest.chains, plan.record
    assert {(chain.runtime, chain.unfit) for chain in chains} == {("onnxruntime", TFLITE)}
    moved = {note.network for note in record.runtimes if note.runtime == "onnxruntime"}
    assert {note.network for note in record.runtimes if note.reason in record.why} <= moved
    for note in record.runtimes:
        assert (ODD in note.reason) is (note.network in moved)
    kept = msgspec.json.decode((desk.work / "parts/record/profile.json").read_bytes(), type=Profile)
    assert kept.runtimes == record.runtimes
    assert kept.fp32_ms == pytest.approx(800 if "fp32" in moved else 200)
    again = [line for line in desk.said if line.startswith("planning again without a TFLite form")]
    assert len(again) == len(moved) > 0
    assert all(ODD in line for line in again)


@pytest.mark.usefixtures("_segments_are_refused")
def test_a_device_with_litert_alone_is_refused_where_nothing_else_can_run_the_chains(
    desk: Desk,
) -> None:
    with pytest.raises(ConfigError, match=rf"LiteRT: .*{ODD}.*install ONNX Runtime there"):
        for_litert(desk).plan()
    assert not (desk.work / "plan.json").exists()


def test_a_device_on_which_only_fp32_answers_well_has_no_other_heads(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        runtime_choice, "twin_agreement", lambda network, model, *_: float(model is network.model)
    )
    config = replace(QUICK, edge_network_ms=None, goals=Goals(min_agreement=0.9))
    there = for_litert(Desk(desk.network, desk.sets, desk.work, config))
    plan = there.plan()
    assert there.runtimes.keys() == {"fp32"}
    assert {chain.precision for chain in plan.manifest.chains} == {"fp32"}
    assert {chain.runtime for chain in plan.manifest.chains} == {"litert"}
    told = "no runtime that was measured on the device may answer for the network in int8"
    for notes in (plan.record.notes, there.profile().notes):
        assert any(note.startswith(told) for note in notes)


def test_a_runtime_that_was_installed_since_is_measured_and_planned_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the search had found stays: it is of ONNX Runtime."""
    desk.bench.plan()
    assert desk.measured == 1

    def later() -> Desk:
        made = Desk(desk.network, desk.sets, desk.work, replace(QUICK, edge_network_ms=None))
        made.bench.plan()
        return made

    assert (later().measured, later().said) == (0, [])
    monkeypatch.setattr(
        "isthmus_partitioner.workbench.version",
        lambda name: "9.9" if name == "ai-edge-litert" else version(name),
    )
    upgraded = later()
    assert upgraded.measured == 1
    assert upgraded.did("keeping")
    assert not upgraded.did("quantising")
