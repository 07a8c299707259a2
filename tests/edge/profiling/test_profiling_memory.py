"""How much memory is taken at once goes by what the control group leaves, too."""

from pathlib import Path

import pytest
from tests.edge.doctor.machine import a_machine
from tests.edge.doctor.test_memory import limit, meminfo
from tests.edge.kits import build_kit

from isthmus_edge.control_group import available_memory_bytes
from isthmus_edge.profiling import ProfilingConfig, profile_kit
from isthmus_edge.profiling import runner as runner_module
from isthmus_edge.profiling.trials import Trial


@pytest.mark.parametrize(("left_mib", "are_apart"), [(0, True), (8, True), (800, False)])
def test_networks_take_turns_only_where_the_control_group_leaves_room_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_mib: int, are_apart: bool
) -> None:
    files = meminfo(10**9) | limit(2, limit_mib=1000, used_mib=1000 - left_mib)
    machine = a_machine(tmp_path / "machine", files)
    trial = Trial(memory_bytes=10_000_000, is_peak=True)
    monkeypatch.setattr(runner_module, "try_alone", lambda *_: trial)
    monkeypatch.setattr(
        runner_module, "available_memory_bytes", lambda: available_memory_bytes(machine)
    )
    profile = profile_kit(build_kit(tmp_path / "kit"), ProfilingConfig(rounds=3, kernel_runs=1))
    assert any("one after the other" in note for note in profile.notes) == are_apart


def test_a_system_that_does_not_tell_is_believed_to_have_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(memory_bytes=10**18, is_peak=True)
    monkeypatch.setattr(runner_module, "try_alone", lambda *_: trial)
    monkeypatch.setattr(runner_module, "available_memory_bytes", lambda: None)
    profile = profile_kit(build_kit(tmp_path / "kit"), ProfilingConfig(rounds=3, kernel_runs=1))
    assert not any("one after the other" in note for note in profile.notes)
