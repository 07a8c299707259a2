"""What the doctor says of clock rates and heat."""

from pathlib import Path

import pytest
from tests.edge.doctor.machine import a_machine, assert_bad, the_only

from isthmus_edge.doctor.warmth import look_at_governor, look_at_temperature, look_at_throttling

CPUFREQ = "sys/devices/system/cpu/cpu0/cpufreq"
PI = "sys/devices/platform/soc/soc:firmware/get_throttled"


def governor(name: str, driver: str, most: int = 1_800_000) -> dict[str, object]:
    return {
        f"{CPUFREQ}/scaling_governor": name,
        f"{CPUFREQ}/scaling_driver": driver,
        f"{CPUFREQ}/scaling_max_freq": most,
        f"{CPUFREQ}/cpuinfo_max_freq": 1_800_000,
    }


def zone(kind: str, now_c: float, passive_c: float | None = None) -> dict[str, object]:
    folder = "sys/class/thermal/thermal_zone0"
    files: dict[str, object] = {f"{folder}/type": kind, f"{folder}/temp": int(now_c * 1e3)}
    if passive_c is not None:
        files[f"{folder}/trip_point_0_type"] = "passive"
        files[f"{folder}/trip_point_0_temp"] = int(passive_c * 1e3)
    return files


def test_a_powersave_governor_is_found(tmp_path: Path) -> None:
    around = a_machine(tmp_path, governor("powersave", "cpufreq-dt"))
    assert_bad(the_only(look_at_governor(around)), "warn", "powersave")


@pytest.mark.parametrize(
    ("name", "driver"),
    [("powersave", "intel_pstate"), ("ondemand", "cpufreq-dt"), ("performance", "acpi-cpufreq")],
)
def test_governors_that_go_up_to_full_speed_are_fine(
    tmp_path: Path, name: str, driver: str
) -> None:
    assert the_only(look_at_governor(a_machine(tmp_path, governor(name, driver)))).state == "ok"


def test_a_capped_clock_is_found(tmp_path: Path) -> None:
    around = a_machine(tmp_path, governor("ondemand", "cpufreq-dt", most=600_000))
    finding = the_only(look_at_governor(around))
    assert_bad(finding, "warn", "0.60 of 1.80 GHz")
    assert finding.figures["clock_share"] == 0.333


@pytest.mark.parametrize(
    ("now_c", "passive_c", "state"),
    [(50, None, "ok"), (78, None, "warn"), (86, None, "fail"), (61, 60, "fail"), (61, 95, "ok")],
)
def test_a_hot_processor_is_found(
    tmp_path: Path, now_c: float, passive_c: float | None, state: str
) -> None:
    """By the trip point of the board where it has one, else by what boards usually have."""
    around = a_machine(tmp_path, zone("cpu-thermal", now_c, passive_c))
    finding = the_only(look_at_temperature(around))
    assert (finding.state, finding.figures["temperature_c"]) == (state, now_c)
    assert (finding.way_out is None) == (state == "ok")


@pytest.mark.parametrize(
    ("kind", "now_c", "crit_c", "state"),
    [
        ("coretemp", 101, 100, "fail"),
        ("coretemp", 90, 100, "warn"),
        ("coretemp", 82, 100, "ok"),
        ("k10temp", 72, None, "warn"),
        ("k10temp", 69, None, "ok"),
    ],
)
def test_a_hot_chip_is_judged_by_where_it_slows_down_and_not_by_where_its_fan_turns_up(
    tmp_path: Path, kind: str, now_c: int, crit_c: int | None, state: str
) -> None:
    """`temp1_max` is the fan's on Intel, and always 70 on AMD."""
    folder = "sys/class/hwmon/hwmon1"
    files: dict[str, object] = {
        f"{folder}/name": kind,
        f"{folder}/temp1_input": now_c * 1000,
        f"{folder}/temp1_max": 70_000,
    }
    if crit_c is not None:
        files[f"{folder}/temp1_crit"] = crit_c * 1000
    finding = the_only(look_at_temperature(a_machine(tmp_path, files)))
    assert (finding.state, finding.figures["limit_c"]) == (state, crit_c or 85)


def test_a_warm_disk_says_nothing_of_the_processor(tmp_path: Path) -> None:
    files: dict[str, object] = {
        "sys/class/hwmon/hwmon0/name": "nvme",
        "sys/class/hwmon/hwmon0/temp1_input": 99_000,
    }
    finding = the_only(look_at_temperature(a_machine(tmp_path, files)))
    assert (finding.state, finding.figures) == ("ok", {})


@pytest.mark.parametrize(
    ("word", "state", "said"),
    [
        ("0", "ok", "never"),
        ("50000", "warn", "under-voltage, throttled; not now"),
        ("50005", "fail", "right now: under-voltage, throttled"),
        ("80008", "fail", "soft temperature limit"),
    ],
)
def test_a_raspberry_pi_tells_of_heat_and_of_its_power_supply(
    tmp_path: Path, word: str, state: str, said: str
) -> None:
    finding = the_only(look_at_throttling(a_machine(tmp_path, {PI: word}, "aarch64")))
    assert (finding.state, said in finding.text) == (state, True), finding.text


@pytest.mark.parametrize(("times", "state"), [(0, "ok"), (17, "warn")])
def test_slow_downs_since_the_boot_are_counted(tmp_path: Path, times: int, state: str) -> None:
    name = "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"
    finding = the_only(look_at_throttling(a_machine(tmp_path, {name: times})))
    assert (finding.state, finding.figures["times"]) == (state, times)


def test_a_system_that_tells_nothing_is_no_fault(tmp_path: Path) -> None:
    around = a_machine(tmp_path, {})
    for look in (look_at_governor, look_at_temperature, look_at_throttling):
        assert the_only(look(around)).state == "ok"
