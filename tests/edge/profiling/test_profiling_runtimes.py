"""A kit with TFLite twins is measured on every runtime that is installed, or on the one named."""

import json
import weakref
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from tests.edge.found import missing
from tests.edge.kits import add_twins, build_kit, layers, rehash, seal

from isthmus import BundleError, ConfigError, DeviceProfile, ModelError
from isthmus_edge.profiling import ProfilingConfig, profile_kit
from isthmus_edge.profiling import runner as runner_module
from isthmus_edge.profiling.session import Feed, Measured
from isthmus_edge.profiling.trials import Trial, try_alone
from isthmus_edge.runtimes import GraphFiles, Runtime, Runtimes, found_runtimes

QUICK = ProfilingConfig(rounds=4, kernel_runs=2)
LITERT = ProfilingConfig(rounds=4, kernel_runs=2, runtime="litert")
BOTH = ["onnxruntime", "litert"]


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    return add_twins(build_kit(tmp_path / "kit"))


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are believed to run; one test starts the real processes."""
    monkeypatch.setattr(runner_module, "try_alone", lambda *_: Trial(memory_bytes=1000))


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> DeviceProfile:
    """Made with all that a real run has, processes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner_module, "try_alone", try_alone)
        return profile_kit(add_twins(build_kit(tmp_path_factory.mktemp("twins") / "kit")), QUICK)


def measured(profile: DeviceProfile) -> list[tuple[str, str]]:
    return [(network.name, network.runtime) for network in profile.networks]


def left_out(profile: DeviceProfile) -> list[str]:
    return [note for note in profile.notes if "was not measured" in note]


def test_network_and_prefix_are_timed_on_both_runtimes(profile: DeviceProfile) -> None:
    assert measured(profile) == [("fp32", runtime) for runtime in BOTH]
    assert [(p.network, p.runtime, p.tensors) for p in profile.prefixes] == [
        ("fp32", runtime, ("middle",)) for runtime in BOTH
    ]
    assert all(network.ms > 0 for network in profile.networks)
    assert all(prefix.ms > 0 for prefix in profile.prefixes)
    assert list(profile.conditions.runtimes) == BOTH
    assert all(profile.conditions.runtimes.values())


def test_only_onnx_runtime_tells_its_kernels_and_both_their_memory(profile: DeviceProfile) -> None:
    onnx_times, litert_times = profile.networks
    assert onnx_times.kernels
    assert litert_times.kernels == ()
    assert all(10_000 < times.memory_bytes < 500_000_000 for times in profile.networks)


@pytest.mark.usefixtures("no_processes")
def test_a_runtime_that_is_named_is_measured_alone(kit: Path) -> None:
    profile = profile_kit(kit, LITERT)
    assert measured(profile) == [("fp32", "litert")]
    assert list(profile.conditions.runtimes) == ["litert"]
    assert left_out(profile) == []


def test_a_runtime_that_is_named_and_not_installed_is_refused(
    kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = tuple(each for each in found_runtimes() if each.name != "litert")
    monkeypatch.setattr(
        runner_module, "Runtimes", lambda name: Runtimes(name, (*others, missing("litert")))
    )
    with pytest.raises(ConfigError, match="runtime 'litert': litert is not installed"):
        profile_kit(kit, LITERT)


@pytest.mark.usefixtures("no_processes")
def test_a_device_without_onnx_runtime_measures_what_it_can(
    kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernels are nobody's business, and its rest is told."""
    onnx.save(layers(), kit / "int8.onnx")
    add_twins(seal(kit, ("fp32", "int8")), {"int8.onnx"})
    only = [each for each in found_runtimes() if each.name == "litert"]
    monkeypatch.setattr(runner_module, "Runtimes", lambda name: Runtimes(name, only))
    profile = profile_kit(kit, QUICK)
    assert measured(profile) == [("fp32", "litert")]
    assert left_out(profile) == ["int8 on litert was not measured: int8.onnx has no TFLite form"]


@pytest.mark.usefixtures("no_processes")
def test_what_has_no_twin_is_measured_on_onnx_runtime_and_a_note_says_so(kit: Path) -> None:
    """A prefix may lack one alone."""
    add_twins(seal(kit), {"fp32-0.onnx"})
    profile = profile_kit(kit, QUICK)
    assert measured(profile) == [("fp32", runtime) for runtime in BOTH]
    assert [prefix.runtime for prefix in profile.prefixes] == ["onnxruntime"]
    bare = profile_kit(seal(kit), QUICK)
    assert measured(bare) == [("fp32", "onnxruntime")]
    assert "fp32 on litert was not measured: fp32.onnx has no TFLite form" in bare.notes


def test_a_kit_of_which_the_named_runtime_takes_nothing_is_refused(tmp_path: Path) -> None:
    kit = build_kit(tmp_path / "kit")
    with pytest.raises(ModelError, match=r"no network of it runs here: .*has no TFLite form"):
        profile_kit(kit, LITERT)


@pytest.mark.usefixtures("no_processes")
def test_where_memory_is_short_no_two_networks_are_held_at_once(
    kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: weakref.WeakSet[Measured] = weakref.WeakSet()
    most = 0

    class Counted(Measured):
        def run(self, feed: Feed) -> None:
            nonlocal most
            held.add(self)
            most = max(most, len(held))
            super().run(feed)

    monkeypatch.setattr(runner_module, "Measured", Counted)
    for share, expected in ((1.0, 4), (1e-9, 1)):
        most = 0
        monkeypatch.setattr(runner_module, "_SHARE_OF_MEMORY", share)
        profile_kit(kit, QUICK)
        assert most == expected


@pytest.mark.usefixtures("no_processes")
def test_a_kit_of_which_nothing_can_be_loaded_any_more_is_refused_with_a_reason(
    kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone in a process each of them ran; the memory may have gone since."""

    class Starved(Measured):
        def __init__(self, runtime: Runtime, files: GraphFiles, threads: int) -> None:
            raise ModelError("bad allocation")

    monkeypatch.setattr(runner_module, "Measured", Starved)
    with pytest.raises(ModelError, match=r"could be measured: .*bad allocation"):
        profile_kit(kit, LITERT)


class _StopError(Exception):
    """Stands for Ctrl-C."""


def stop_at(word: str) -> Callable[[float, str], None]:
    def progress(_share: float, what: str) -> None:
        if what.startswith(word):
            raise _StopError

    return progress


@pytest.mark.usefixtures("no_processes")
def test_a_run_that_was_stopped_goes_on_for_every_runtime(kit: Path, tmp_path: Path) -> None:
    partial = tmp_path / "partial"
    with pytest.raises(_StopError):
        profile_kit(kit, QUICK, partial=partial, progress=stop_at("round 3"))
    kept = json.loads(partial.read_bytes())
    names = {f"{file} on {runtime}" for file in ("fp32.onnx", "fp32-0.onnx") for runtime in BOTH}
    assert {name: len(times) for name, times in kept["times"].items()} == dict.fromkeys(names, 2)
    profile = profile_kit(kit, QUICK, partial=partial)
    finished = json.loads(partial.read_bytes())["times"]
    assert {name: times[:2] for name, times in finished.items()} == kept["times"]
    assert profile.rounds == 4


@pytest.mark.usefixtures("no_processes")
def test_times_of_another_choice_of_runtimes_are_not_mixed(kit: Path, tmp_path: Path) -> None:
    partial = tmp_path / "partial"
    profile_kit(kit, LITERT, partial=partial)
    assert measured(profile_kit(kit, QUICK, partial=partial)) == [("fp32", name) for name in BOTH]
    assert json.loads(partial.read_bytes())["begins"] == 1


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"TFL3")])
def test_a_twin_that_did_not_arrive_is_named(kit: Path, damage: Callable[[Path], object]) -> None:
    damage(kit / "fp32-0.tflite")
    with pytest.raises(BundleError, match=r"fp32-0\.tflite: .*copy the kit again"):
        profile_kit(kit, QUICK)


def test_a_twin_that_is_no_model_is_left_out_with_a_note(kit: Path) -> None:
    (kit / "fp32.tflite").write_bytes(b"TFL3 and no more of it")
    profile = profile_kit(rehash(kit), QUICK)
    assert measured(profile) == [("fp32", "onnxruntime")]
    (note,) = left_out(profile)
    assert note.startswith("fp32 on litert was not measured: fp32.tflite: LiteRT")
