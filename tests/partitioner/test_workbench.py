"""The steps one by one: each does what is missing, and uses again what is not."""

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.partitioner.conftest import QUICK, samples_of
from tests.partitioner.networks import layers_only, residual, saved
from tests.partitioner.profiles.test_node_times import made_up

from isthmus import BundleError, ConfigError, DeviceProfile, KernelTime, open_bundle
from isthmus.profiles import decode_kit
from isthmus_partitioner import (
    Devices,
    ModelCard,
    Network,
    PlanConfig,
    Samples,
    SampleSets,
    Workbench,
    load_model,
)
from isthmus_partitioner import workbench as workbench_module
from isthmus_partitioner.agreement.metrics import metric_for
from isthmus_partitioner.parts import build as build_module
from isthmus_partitioner.precision.search import Precision


class Desk:
    """A workbench on a network, what it said, and how often it measured."""

    def __init__(
        self, network: Network, sets: SampleSets, work: Path, config: PlanConfig = QUICK
    ) -> None:
        self.said: list[str] = []
        self.measured = 0
        self.kernels: tuple[KernelTime, ...] = ()
        self.network, self.sets, self.work = network, sets, work
        self.bench = Workbench(
            network,
            sets,
            metric_for("classify", network.outputs),
            devices=Devices(measure=self.measure),
            config=config,
            work=work,
            card=ModelCard("tiny"),
            progress=self.said.append,
        )

    def did(self, word: str) -> bool:
        return any(word in line for line in self.said)

    def measure(self, folder: Path) -> DeviceProfile:
        """What the device says of a kit: invented, and at once."""
        self.measured += 1
        kit = decode_kit((folder / "kit.json").read_bytes(), "kit")
        return self.device(*(network.name for network in kit.networks))

    def device(self, *names: str, ms: float = 2.0) -> DeviceProfile:
        profile = made_up(self.network, ms)
        (times,) = profile.networks
        named = (msgspec.structs.replace(times, name=name, kernels=self.kernels) for name in names)
        return msgspec.structs.replace(profile, networks=tuple(named))


@pytest.fixture(scope="module")
def done(network: Network, sets: SampleSets, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """All steps, once."""
    folder = tmp_path_factory.mktemp("done")
    desk = Desk(network, sets, folder / "work")
    desk.bench.build(folder / "bundle")
    return desk


@pytest.fixture
def work(done: Desk, tmp_path: Path) -> Path:
    """A work directory in which all was done before."""
    return Path(shutil.copytree(done.work, tmp_path / "work"))


def test_build_does_all_the_steps_before_it(done: Desk) -> None:
    assert done.did("quantising")
    assert done.measured == 1
    manifest = open_bundle(done.work.parent / "bundle", "device").manifest
    assert manifest.model_name == "tiny"
    assert {path.name for path in done.work.iterdir()} == {
        "precision.json", "head.onnx", "int8.onnx", "here.json", "plan.json", "parts",
    }  # fmt: skip


def test_steps_that_were_done_are_not_done_again(
    done: Desk, network: Network, sets: SampleSets, work: Path, tmp_path: Path
) -> None:
    again = Desk(network, sets, work)
    assert again.bench.plan() == done.bench.plan()
    assert again.bench.profile().fp32_ms == done.bench.profile().fp32_ms
    again.bench.build(tmp_path / "bundle")
    assert again.measured == 0
    assert [line for line in again.said if not line.startswith("writing")] == []
    first, second = (open_bundle(f / "bundle", "cloud") for f in (tmp_path, done.work.parent))
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
    "config", [replace(QUICK, steps=(1 / 3,)), replace(QUICK, edge_network_ms=400)]
)
def test_what_was_measured_serves_another_plan(
    config: PlanConfig, network: Network, sets: SampleSets, work: Path
) -> None:
    later = Desk(network, sets, work, config)
    later.bench.plan()
    assert not later.did("quantising")
    assert later.measured == 0
    assert later.did("timing")


def test_other_inputs_to_judge_by_need_another_plan_but_no_other_profile(
    network: Network, sets: SampleSets, work: Path
) -> None:
    other = Desk(network, replace(sets, evaluation=samples_of(5, 9, "nine")), work)
    assert other.bench.plan().record.evaluation_items == 5
    assert not other.did("quantising")
    assert other.measured == 0


def test_another_device_needs_another_plan_but_no_other_profile_of_this_machine(
    network: Network, sets: SampleSets, work: Path
) -> None:
    desk = Desk(network, sets, work, replace(QUICK, edge_network_ms=None))
    here = desk.bench.measured_here()
    edge = desk.device(*(times.name for times in here.networks), ms=800.0)
    there = desk.bench.with_edge(edge)
    assert there.measured() == edge
    assert there.profile().fp32_ms == pytest.approx(800)
    assert there.plan().manifest.edge_factor == pytest.approx(400)
    assert desk.measured == 0
    assert desk.bench.profile().fp32_ms == pytest.approx(2)


def test_the_runtime_is_chosen_by_what_the_plans_device_measured(
    network: Network, sets: SampleSets, work: Path
) -> None:
    """On LiteRT in a quarter of the time; here nobody measured it."""
    desk = Desk(network, sets, work, replace(QUICK, edge_network_ms=None))
    here = desk.bench.measured_here()
    assert {note.runtime for note in desk.bench.runtimes.values()} == {"onnxruntime"}
    assert all(note.reason.startswith("on this machine ") for note in desk.bench.runtimes.values())
    edge = desk.device(*(times.name for times in here.networks), ms=800.0)
    quick = (
        msgspec.structs.replace(t, runtime="litert", ms=200.0, low_ms=200.0) for t in edge.networks
    )
    there = desk.bench.with_edge(msgspec.structs.replace(edge, networks=(*edge.networks, *quick)))
    notes = there.runtimes
    assert notes.keys() == {times.name for times in here.networks}
    assert {note.runtime for note in notes.values()} == {"litert"}
    assert notes["fp32"].reason == (
        "on the device LiteRT runs the fp32 heads 4.0 times as fast as ONNX Runtime "
        "(200.00 ms in all)"
    )
    assert there.profile().fp32_ms == pytest.approx(200)
    assert there.profile().runtimes == tuple(notes.values())
    assert there.costs.pace("fp32") == pytest.approx(400)


@pytest.fixture
def _int8_is_slow_here(quantised: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search finds nothing faster than fp32."""
    (fp32,) = (point for point in quantised.tried if point.kind == "fp32")
    found = replace(quantised, chosen=fp32, reason="int8 is not faster here")
    monkeypatch.setattr(workbench_module, "search", lambda *_, **__: found)


def where_int8_is_quick(desk: Desk) -> Workbench:
    """Its workbench for a device on which LiteRT runs int8 in a quarter of any other time."""
    edge = desk.device("fp32", "int8", ms=800.0)
    (int8,) = (times for times in edge.networks if times.name == "int8")
    quick = msgspec.structs.replace(int8, runtime="litert", ms=200.0, low_ms=200.0)
    return desk.bench.with_edge(msgspec.structs.replace(edge, networks=(*edge.networks, quick)))


@pytest.mark.usefixtures("_int8_is_slow_here")
def test_int8_that_is_faster_on_the_plans_device_alone_makes_its_heads(
    network: Network, sets: SampleSets, tmp_path: Path
) -> None:
    config = replace(QUICK, edge_network_ms=None, divergence_budget=1e3)
    desk = Desk(network, sets, tmp_path / "work", config)
    there = where_int8_is_quick(desk)
    plan = there.plan()
    manifest, record = plan.manifest, plan.record
    assert manifest.local.precision == "int8"
    assert {chain.precision for chain in manifest.chains} == {"int8"}
    assert {chain.runtime for chain in manifest.chains} == {"litert"}
    assert record.precision.startswith("int8")
    assert record.precision_reason.startswith("on the plan's device int8 throughout takes 200.00")
    assert there.runtimes["int8"].reason in record.why
    assert there.profile().int8_ms == pytest.approx(200)
    assert manifest.edge_factor == pytest.approx(400)
    assert desk.bench.precision.chosen.kind == "fp32"


@pytest.mark.usefixtures("_int8_is_slow_here")
def test_int8_that_is_faster_there_and_harms_too_much_is_told_and_not_used(
    network: Network, sets: SampleSets, tmp_path: Path
) -> None:
    config = replace(QUICK, edge_network_ms=None, divergence_budget=1e-9)
    there = where_int8_is_quick(Desk(network, sets, tmp_path / "work", config))
    assert there.precision.chosen.kind == "fp32"
    assert there.precision.reason.endswith(" is above 1e-09")
    assert there.costs.device.keys() == {"fp32"}
    assert there.profile().int8_ms is None


def test_a_device_that_runs_no_int8_at_all_gets_fp32_heads_and_the_plan_says_why(
    network: Network,
    sets: SampleSets,
    quantised: Precision,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has LiteRT alone, which covers only the fp32 network."""
    int8 = next(point for point in quantised.tried if point.kind == "int8")
    assert quantised.int8 is not None
    found = replace(quantised, chosen=int8, head=quantised.int8)
    monkeypatch.setattr(workbench_module, "search", lambda *_, **__: found)
    desk = Desk(network, sets, tmp_path / "work", replace(QUICK, edge_network_ms=None))
    edge = desk.device("fp32")
    (fp32,) = edge.networks
    on_litert = msgspec.structs.replace(fp32, runtime="litert")
    there = desk.bench.with_edge(msgspec.structs.replace(edge, networks=(on_litert,)))
    assert there.costs.device.keys() == {"fp32"}
    assert there.precision.chosen.kind == "fp32"
    assert f"no runtime that ran {int8.name} and answers well" in there.precision.reason


def test_another_model_or_other_calibration_items_are_profiled_anew(
    network: Network, sets: SampleSets, work: Path, tmp_path: Path
) -> None:
    stranger = load_model(saved(residual(seed=1), tmp_path / "stranger.onnx"))
    others = replace(sets, fitted=samples_of(8, 9, "one"))
    for desk in (Desk(stranger, sets, work), Desk(network, others, work)):
        desk.bench.profile()
        assert desk.did("quantising")
        assert desk.measured == 1


def test_a_damaged_network_is_searched_for_again(
    network: Network, sets: SampleSets, work: Path
) -> None:
    (work / "head.onnx").write_bytes(b"torn")
    desk = Desk(network, sets, work)
    desk.bench.plan()
    assert not desk.did("quantising")  # the plan is known, and needs no head
    assert desk.bench.precision.head.graph.node
    assert desk.did("quantising")


def test_a_damaged_record_is_made_again(network: Network, sets: SampleSets, work: Path) -> None:
    (work / "here.json").write_text("{")
    desk = Desk(network, sets, work)
    desk.bench.profile()
    assert desk.measured == 1
    assert not desk.did("quantising")


@pytest.mark.parametrize(
    ("side", "damage"),
    [("device", Path.unlink), ("cloud", lambda path: path.write_bytes(b"torn"))],
)
def test_a_plan_whose_files_were_damaged_is_made_again(
    side: str,
    damage: Callable[[Path], object],
    network: Network,
    sets: SampleSets,
    work: Path,
    tmp_path: Path,
) -> None:
    damage(next(iter(sorted((work / "parts" / side).iterdir()))))
    desk = Desk(network, sets, work)
    open_bundle(desk.bench.build(tmp_path / "bundle"), "device")
    assert desk.did("timing")
    assert not desk.did("quantising")


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_a_plan_that_cannot_be_finished_leaves_the_older_one_and_is_made_again(
    failure: BaseException,
    network: Network,
    sets: SampleSets,
    work: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk is full, or somebody presses Ctrl-C, while tails are written."""

    def fail(*_: object) -> None:
        raise failure

    is_full = isinstance(failure, OSError)
    config = replace(QUICK, steps=(1 / 3,))
    before = set(work.iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(build_module, "save_model", fail)
        expected = BundleError if is_full else KeyboardInterrupt
        with pytest.raises(expected, match="No space left" if is_full else None):
            Desk(network, sets, work, config).bench.build(tmp_path / "bundle")
    assert set(work.iterdir()) == before
    assert not (tmp_path / "bundle").exists()
    older = Desk(network, sets, work)
    older.bench.plan()
    assert older.said == []
    again = Desk(network, sets, work, config)
    open_bundle(again.bench.build(tmp_path / "bundle"), "cloud")


def test_a_measurement_that_is_interrupted_leaves_no_kit_and_no_record(
    network: Network, sets: SampleSets, work: Path
) -> None:
    (work / "here.json").unlink()
    before = set(work.iterdir())

    def interrupt(kit: Path) -> DeviceProfile:
        assert (kit / "kit.json").is_file()
        raise KeyboardInterrupt

    desk = Desk(network, sets, work)
    desk.bench = replace_measure(desk, sets, interrupt)
    with pytest.raises(KeyboardInterrupt):
        desk.bench.measured_here()
    assert set(work.iterdir()) == before


def replace_measure(
    desk: Desk, sets: SampleSets, measure: Callable[[Path], DeviceProfile]
) -> Workbench:
    return Workbench(
        desk.network,
        sets,
        metric_for("classify", desk.network.outputs),
        devices=Devices(measure=measure),
        config=QUICK,
        work=desk.work,
        card=ModelCard("tiny"),
        progress=desk.said.append,
    )


def test_a_kit_has_every_precision_that_a_device_may_run(
    done: Desk, network: Network, sets: SampleSets, work: Path, tmp_path: Path
) -> None:
    folder = Desk(network, sets, work).bench.write_kit(tmp_path / "kit")
    kit = decode_kit((folder / "kit.json").read_bytes(), "kit")
    has_head = done.bench.precision.chosen.kind != "fp32"
    assert [n.name for n in kit.networks] == ["fp32", "int8", *(["head"] if has_head else [])]


def test_pictures_of_another_size_are_refused(
    network: Network, sets: SampleSets, tmp_path: Path
) -> None:
    wrong = Samples({"picture": np.zeros((4, 64, 64, 3), np.uint8)}, ("big",) * 4)
    for part in ("fitted", "held_back", "evaluation"):
        with pytest.raises(ConfigError, match=r"'picture'.*\[64, 64, 3\].*wants \[32, 32, 3\]"):
            Desk(network, replace(sets, **{part: wrong}), tmp_path / "work")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'picture': items are missing"):
        Desk(network, replace(sets, held_back=Samples({}, ())), tmp_path / "work")


def test_a_work_directory_that_cannot_be_made_is_named(
    network: Network, sets: SampleSets, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BundleError, match="work directory cannot be used"):
        Desk(network, sets, tmp_path / "file" / "work").bench.profile()


@pytest.mark.usefixtures("steady_times")
def test_a_network_without_convolutions_and_with_odd_names_goes_all_the_way(
    tmp_path: Path, sets: SampleSets
) -> None:
    """Logits instead of probabilities, `:` and `/` in names, only MatMul layers."""
    network = load_model(saved(layers_only(), tmp_path / "layers.onnx"))

    def renamed(samples: Samples) -> Samples:
        return Samples({"image:0": samples.arrays["picture"]}, samples.sources)

    own = SampleSets(renamed(sets.fitted), renamed(sets.held_back), renamed(sets.evaluation))
    # With an encoder that takes no time a cut is far better than the device alone, on any machine.
    private = replace(QUICK, goals=replace(QUICK.goals, no_raw_input=True))
    desk = Desk(network, own, tmp_path / "work", private)
    desk.kernels = (KernelTime(name="model/layer:2", op="MatMul", index=0, ms=1.0),)
    out = desk.bench.build(tmp_path / "bundle")
    for side in ("device", "cloud"):
        manifest = open_bundle(out, side).manifest
    assert manifest.outputs[0].name == "model/logits:0"
    assert manifest.inputs[0].name == "image:0"
    kept = [c for c in manifest.kept if c.cut not in {"input", "local"}]
    assert kept, [f"{c.id}: {c.reason}" for c in desk.bench.plan().candidates]
    for candidate in kept:
        assert set(candidate.cut).isdisjoint(":/")
        assert candidate.rungs[0].figures.agreement > 0.8
