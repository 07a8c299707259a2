"""What a device tells of itself, and what it leaves out."""

from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from isthmus_edge.policy.vitals import PsutilSensors, Vitals, read_vitals


@dataclass
class FakeSensors:
    """Tells what it is told to."""

    runnable: float | None = None
    readings: list[tuple[float, float | None]] = field(default_factory=list)
    share: float | None = None
    broken: bool = False

    def load(self) -> float | None:
        if self.broken:
            raise FileNotFoundError("/proc/loadavg")
        return self.runnable

    def temperatures(self) -> list[tuple[float, float | None]]:
        return self.readings

    def battery_share(self) -> float | None:
        return self.share


def test_a_device_that_tells_nothing_counts_as_well() -> None:
    for silent in (FakeSensors(), FakeSensors(broken=True)):
        assert read_vitals(silent) == Vitals()
    assert Vitals().device_weight == 1.0
    assert Vitals().words == ()


def test_the_sensor_that_is_nearest_to_its_limit_counts() -> None:
    vitals = read_vitals(FakeSensors(readings=[(70.0, None), (78.0, 80.0), (79.0, 105.0)]))
    assert (vitals.temperature_c, vitals.limit_c) == (78.0, 80.0)


@pytest.mark.parametrize("nonsense", [65_261.8, 0.0, -273.0])
def test_impossible_readings_are_not_believed(nonsense: float) -> None:
    """Sensors that are not connected, and limits that nobody wrote."""
    assert read_vitals(FakeSensors(readings=[(nonsense, 90.0)])).temperature_c is None
    assert read_vitals(FakeSensors(readings=[(84.0, nonsense)])) == Vitals(temperature_c=84.0)


@pytest.mark.parametrize(
    ("temperature_c", "weight"), [(20, 1.0), (70, 1.0), (77.5, 1.5), (85, 2.0), (99, 2.0)]
)
def test_heat_counts_from_fifteen_degrees_below_the_limit(
    temperature_c: float, weight: float
) -> None:
    vitals = Vitals(temperature_c=temperature_c)
    assert vitals.device_weight == pytest.approx(weight)
    assert vitals.words == (("hot",) if weight > 1 else ())


def test_a_crowded_processor_counts_like_a_hot_one_and_the_worse_of_both_wins() -> None:
    assert Vitals(load=1.2).device_weight == 1.0  # the agent itself keeps a core busy
    assert Vitals(load=2.25).device_weight == 1.5
    assert Vitals(load=2.25, temperature_c=85.0).device_weight == 2.0
    assert Vitals(load=2.25, temperature_c=85.0).words == ("hot", "loaded")


def test_load_and_battery_are_passed_on() -> None:
    assert read_vitals(FakeSensors(runnable=0.4, share=0.6)) == Vitals(load=0.4, battery_share=0.6)


def test_a_sensor_that_cannot_be_read_hides_no_other() -> None:
    sensors = FakeSensors(readings=[(60.0, 85.0)], share=0.6, broken=True)
    assert read_vitals(sensors) == Vitals(temperature_c=60.0, limit_c=85.0, battery_share=0.6)


class Sensed(NamedTuple):
    """As psutil has it, which writes each of both limits into the other one where that is none."""

    label: str
    current: float
    high: float | None
    critical: float | None


@pytest.mark.parametrize(
    ("high", "critical", "limit_c"),
    [
        (70.0, 70.0, 85.0),  # AMD: `high` stands alone, at a fixed 70
        (80.0, 100.0, 100.0),  # Intel: `high` is where its fan turns up
        (100.0, 100.0, 100.0),
        (70.0, 80.0, 80.0),
        (None, None, 85.0),
    ],
)
def test_a_processor_is_hot_where_it_slows_down_and_not_where_its_fan_does(
    monkeypatch: pytest.MonkeyPatch, high: float | None, critical: float | None, limit_c: float
) -> None:
    sensed = {"k10temp": [Sensed("Tctl", 66.0, high, critical)], "nvme": [Sensed("", 99.0, 1, 1)]}
    monkeypatch.setattr("psutil.sensors_temperatures", lambda: sensed, raising=False)
    told = read_vitals(PsutilSensors())
    assert (told.temperature_c, told.limit_c) == (66.0, limit_c)


def test_this_machine_answers_whatever_it_has() -> None:
    """In a container mostly nothing: it must not fail."""
    told = read_vitals(PsutilSensors())
    assert told.load is None or told.load >= 0
    assert told.battery_share is None or 0 <= told.battery_share <= 1
    assert 1.0 <= told.device_weight <= 2.0
