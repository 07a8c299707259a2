"""The parts of a profiling run: rounds, conditions."""

from pathlib import Path

import pytest

from isthmus_edge.profiling.conditions import conditions_now, processor_temperature_c
from isthmus_edge.profiling.rounds import spread_of


def test_drift_compares_the_last_third_with_the_first() -> None:
    spread = spread_of([10, 10, 10, 99, 11, 10, 12, 12, 12])
    assert spread.drift == pytest.approx(0.2)
    assert (spread.low_ms, spread.ms, spread.high_ms) == (10, 11, 12)


def test_conditions_name_the_board_and_the_power_mode(tmp_path: Path) -> None:
    board = tmp_path / "proc/device-tree/model"
    governor = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    for path, content in ((board, b"Raspberry Pi 4 Model B\0"), (governor, b"powersave\n")):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    there = conditions_now(4, (), tmp_path)
    assert there.device == "Raspberry Pi 4 Model B"
    assert (there.governor, there.threads, there.clock) == ("powersave", 4, "wall time")


def test_a_machine_without_a_name_is_described(tmp_path: Path) -> None:
    there = conditions_now(1, (), tmp_path)
    assert there.device == there.processor
    assert there.governor is None


def test_a_container_without_all_of_sys_has_conditions_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def lists_a_folder() -> None:
        raise FileNotFoundError(2, "No such file or directory", "/sys/class/power_supply")

    monkeypatch.setattr("psutil.sensors_battery", lists_a_folder)
    monkeypatch.setattr("psutil.sensors_temperatures", lists_a_folder)
    assert conditions_now(1, (), tmp_path).power == "unknown"
    assert processor_temperature_c() is None
