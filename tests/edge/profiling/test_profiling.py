"""A kit is measured on this device: all of it, under named conditions, going on after a stop."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import onnx
import pytest
from tests.edge.kits import build_kit, layers, seal

from isthmus import ConfigError, DeviceProfile, ModelError, decode_profile, encode_profile
from isthmus_edge.profiling import ProfilingConfig, profile_kit
from isthmus_edge.profiling import runner as runner_module
from isthmus_edge.profiling.kit import open_kit
from isthmus_edge.profiling.subjects import subjects_of
from isthmus_edge.profiling.trials import Trial, try_alone
from isthmus_edge.runtimes import Runtimes

QUICK = ProfilingConfig(rounds=4, kernel_runs=2)


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    return build_kit(tmp_path / "kit")


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are believed to run; one test starts the real processes."""

    def believed(*_: object) -> Trial:
        return Trial(memory_bytes=1000, is_peak=True)

    monkeypatch.setattr(runner_module, "try_alone", believed)


class _StopError(Exception):
    """Stands for Ctrl-C."""


def stop_at(word: str) -> Callable[[float, str], None]:
    def progress(_share: float, what: str) -> None:
        if what.startswith(word):
            raise _StopError

    return progress


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> DeviceProfile:
    """Made with all that a real run has, processes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner_module, "try_alone", try_alone)
        return profile_kit(build_kit(tmp_path_factory.mktemp("profiled") / "kit"), QUICK)


def test_every_network_and_prefix_has_times_with_their_spread(profile: DeviceProfile) -> None:
    (network,) = profile.networks
    (prefix,) = profile.prefixes
    assert (network.name, prefix.network, prefix.tensors) == ("fp32", "fp32", ("middle",))
    assert 0 < network.low_ms <= network.ms <= network.high_ms
    assert 0 < prefix.low_ms <= prefix.ms <= prefix.high_ms
    assert profile.rounds == 4


def test_kernels_are_those_that_the_runtime_names(profile: DeviceProfile) -> None:
    kernels = profile.networks[0].kernels
    layers = [kernel.name for kernel in kernels if "Conv" in kernel.op]
    assert len(layers) == 2
    assert len({kernel.index for kernel in kernels}) == len(kernels)


def test_memory_is_that_of_a_process_which_loaded_and_ran_the_network(
    profile: DeviceProfile,
) -> None:
    assert 100_000 < profile.networks[0].memory_bytes < 500_000_000


def test_a_profile_names_the_model_the_device_and_what_ran_on_it(profile: DeviceProfile) -> None:
    there = profile.conditions
    assert (profile.model_name, profile.model_sha256) == ("tiny", "5" * 64)
    assert (there.threads, there.clock) == (1, "thread CPU time")
    assert all((there.device, there.processor, there.system, there.runtimes, there.isthmus))


def test_a_profile_is_read_back_as_it_was_written(profile: DeviceProfile) -> None:
    assert decode_profile(encode_profile(profile), "edge.json") == profile


@pytest.mark.usefixtures("no_processes")
def test_several_threads_are_timed_by_the_clock_on_the_wall(kit: Path) -> None:
    config = ProfilingConfig(rounds=3, kernel_runs=1, threads=2)
    assert profile_kit(kit, config).conditions.clock == "wall time"


@pytest.mark.usefixtures("no_processes")
def test_a_limit_of_seconds_ends_the_rounds_but_not_before_there_are_three(kit: Path) -> None:
    config = ProfilingConfig(rounds=10**6, kernel_runs=1, seconds=1e-9)
    assert profile_kit(kit, config).rounds == 3


@pytest.mark.usefixtures("no_processes")
def test_networks_that_do_not_fit_together_are_measured_one_after_the_other(
    kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        runner_module, "try_alone", lambda *_: Trial(memory_bytes=10**18, is_peak=True)
    )
    profile = profile_kit(kit, QUICK)
    assert (len(profile.networks), len(profile.prefixes)) == (1, 1)
    assert any("one after the other" in note for note in profile.notes)


@pytest.mark.usefixtures("no_processes")
@pytest.mark.parametrize("stage", ["kernels", "round 3"])
def test_a_run_that_was_stopped_goes_on_where_it_was(kit: Path, tmp_path: Path, stage: str) -> None:
    partial = tmp_path / "edge.json.partial"
    with pytest.raises(_StopError):
        profile_kit(kit, QUICK, partial=partial, progress=stop_at(stage))
    kept = json.loads(partial.read_bytes())
    assert list(kept["trials"]) == ["fp32 on onnxruntime"]
    rounds = len(kept["times"].get("fp32.onnx on onnxruntime", []))
    assert rounds == (2 if stage == "round 3" else 0)
    profile = profile_kit(kit, QUICK, partial=partial)
    finished = json.loads(partial.read_bytes())
    assert finished["times"]["fp32.onnx on onnxruntime"][:rounds] == kept["times"].get(
        "fp32.onnx on onnxruntime", []
    )
    assert profile.rounds == 4
    assert any("2 runs" in note for note in profile.notes)


@pytest.mark.usefixtures("no_processes")
def test_a_finished_run_is_not_measured_again(kit: Path, tmp_path: Path) -> None:
    partial = tmp_path / "partial"
    first = profile_kit(kit, QUICK, partial=partial)
    again = profile_kit(kit, QUICK, partial=partial, progress=stop_at("kernels of none"))
    assert again.networks == first.networks


@pytest.mark.usefixtures("no_processes")
@pytest.mark.parametrize("change", ["threads", "kit", "damage"])
def test_what_was_kept_of_something_else_is_not_used(
    kit: Path, tmp_path: Path, change: str
) -> None:
    partial = tmp_path / "partial"
    profile_kit(kit, QUICK, partial=partial)
    config = QUICK
    if change == "threads":
        config = ProfilingConfig(rounds=4, kernel_runs=2, threads=2)
    elif change == "kit":
        onnx.save(layers("first"), kit / "unused.onnx")
        seal(kit)
    else:
        partial.write_bytes(partial.read_bytes()[:-3])
    profile_kit(kit, config, partial=partial)
    assert json.loads(partial.read_bytes())["begins"] == 1


def test_a_network_that_does_not_run_here_is_left_out_with_a_note(kit: Path) -> None:
    strange = layers()
    strange.graph.node[0].op_type = "Frobnicate"
    onnx.save(strange, kit / "int8.onnx")
    profile = profile_kit(seal(kit, ("fp32", "int8")), QUICK)
    assert [network.name for network in profile.networks] == ["fp32"]
    assert any(
        "int8 on onnxruntime was not measured" in n and "Frobnicate" in n for n in profile.notes
    )


def test_a_kit_of_which_nothing_runs_is_an_error_that_says_why(kit: Path) -> None:
    strange = layers()
    strange.graph.node[0].op_type = "Frobnicate"
    onnx.save(strange, kit / "fp32.onnx")
    with pytest.raises(ModelError, match=r"no network of it runs here.*Frobnicate"):
        profile_kit(seal(kit), QUICK)


def test_a_process_that_the_kernel_ends_is_told_from_one_that_fails(
    kit: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened = open_kit(kit)
    program = tmp_path / "python"
    monkeypatch.setattr("sys.executable", str(program))
    for script, word in (("kill -9 $$", "want of memory"), ("echo oh dear >&2; exit 3", "oh dear")):
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
        program.chmod(0o755)
        (subject,) = subjects_of(opened, Runtimes("onnxruntime").installed)
        assert word in (try_alone(opened, subject, 1).problem or "")


@pytest.mark.usefixtures("no_processes")
def test_a_partial_file_that_cannot_be_written_is_named_before_the_work(
    kit: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "none" / "edge.json.partial"
    with pytest.raises(ConfigError, match=r"edge\.json\.partial: cannot be written"):
        profile_kit(kit, QUICK, partial=missing, progress=stop_at(""))


@pytest.mark.parametrize(
    ("setting", "value"), [("threads", 0), ("rounds", 2), ("kernel_runs", 0), ("seconds", 0.0)]
)
def test_settings_that_make_no_sense_are_named(setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=setting):
        ProfilingConfig(**{setting: value})  # type: ignore[arg-type]


def test_drift_is_noted_where_the_device_slows_down(
    kit: Path, no_processes: None, tmp_path: Path
) -> None:
    partial = tmp_path / "partial"
    profile_kit(kit, QUICK, partial=partial)
    kept = json.loads(partial.read_bytes())
    kept["times"] = {name: [1.0, 1.0, 2.0, 2.0] for name in kept["times"]}
    partial.write_bytes(msgspec.json.encode(kept))
    profile = profile_kit(kit, QUICK, partial=partial)
    assert profile.networks[0].drift == 1.0
    assert any("drifted by +100%" in note for note in profile.notes)
