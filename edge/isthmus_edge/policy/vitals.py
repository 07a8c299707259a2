"""How the device is doing: load, heat, battery. What it does not tell changes nothing."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import psutil

HOT_WEIGHT = 1.0  # at the limit, a millisecond of the device counts for 1 + this
WARM_RANGE_C = 15.0  # heat begins to count this far below the limit
LIMIT_C = 85.0  # where boards throttle that do not tell: Raspberry Pi, "Frequency management"
LOADED = (1.5, 3.0)  # runnable processes a core: begins to count, counts in full
BATTERY_LOW, BATTERY_FINE = 0.10, 0.15  # shares: below the first save, above the second no longer
_PROCESSORS = ("cpu", "core", "k10", "zen", "soc", "acpi")  # parts of their sensors' names
_PLAUSIBLE_C = (0.0, 150.0)

Reading = TypeVar("Reading")

log = logging.getLogger("isthmus.edge")

__all__ = ["BATTERY_FINE", "BATTERY_LOW", "PsutilSensors", "Sensors", "Vitals", "read_vitals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What a device tells of itself; None where it tells nothing.

    `load` is runnable processes a core (the load average of a minute), `limit_c` the temperature at
    which it slows itself down, `battery_share` (0-1) what is left, None on the mains.
    """

    load: float | None = None
    temperature_c: float | None = None
    limit_c: float = LIMIT_C
    battery_share: float | None = None

    @property
    def heat(self) -> float:
        """0 while cool, 1 at the temperature where it slows itself down."""
        if self.temperature_c is None:
            return 0.0
        return _ramp(self.temperature_c, self.limit_c - WARM_RANGE_C, self.limit_c)

    @property
    def crowding(self) -> float:
        """0 while other work leaves room, 1 when it does not."""
        return 0.0 if self.load is None else _ramp(self.load, *LOADED)

    @property
    def device_weight(self) -> float:
        """How much a millisecond of device work counts, from 1 to 1 + HOT_WEIGHT; continuous."""
        return 1.0 + HOT_WEIGHT * max(self.heat, self.crowding)

    @property
    def words(self) -> tuple[str, ...]:
        """For people: which of these weighs on a decision."""
        told = (("hot", self.heat), ("loaded", self.crowding))
        return tuple(word for word, strength in told if strength > 0)


class Sensors(Protocol):
    """Where vitals are read from: each None if this device does not tell."""

    def load(self) -> float | None:
        """Runnable processes a core."""
        ...

    def temperatures(self) -> list[tuple[float, float | None]]:
        """Of the processor's sensors: what they read and their own limit, in degrees Celsius."""
        ...

    def battery_share(self) -> float | None:
        """What is left in the battery; None on the mains."""
        ...


class PsutilSensors:
    """What psutil finds. Some systems lack a function, others have it and no sensor behind it."""

    def load(self) -> float | None:
        """Runnable processes a core, over the last minute."""
        return psutil.getloadavg()[0] / (psutil.cpu_count() or 1)

    def temperatures(self) -> list[tuple[float, float | None]]:
        """The processor's alone: a warm disk says nothing about computing."""
        read = getattr(psutil, "sensors_temperatures", None)
        found = {} if read is None else read()
        return [
            (sensor.current, _limit_c(sensor.high, sensor.critical))
            for chip, sensors in found.items()
            if any(part in chip.lower() for part in _PROCESSORS)
            for sensor in sensors
        ]

    def battery_share(self) -> float | None:
        """What is left while it is being used up."""
        read = getattr(psutil, "sensors_battery", None)
        battery = None if read is None else read()
        if battery is None or battery.power_plugged:
            return None
        return float(battery.percent) / 100


def _limit_c(high_c: float | None, critical_c: float | None) -> float | None:
    """Where a processor slows itself down, of what psutil has of its hardware monitor.

    `high` (temp*_max) is no such limit: it is the fan's on Intel, and a fixed 70 degrees on AMD.
    Where there is no `critical` (temp*_crit), psutil writes `high` there.
    """
    is_copied = critical_c == high_c and (critical_c or 0.0) < LIMIT_C
    return None if is_copied else critical_c


def read_vitals(sensors: Sensors | None = None) -> Vitals:
    """Ask the device; takes a few ms, so every few seconds is often enough.

    A sensor that cannot be read counts as one that is not there: it goes to the debug log. (In a
    container without all of /sys, psutil fails to find a battery.)
    """
    source = PsutilSensors() if sensors is None else sensors
    readings = _told(source.temperatures) or []
    hottest = max(map(_believed, readings), key=_closeness, default=None)
    temperature_c, limit_c = (None, LIMIT_C) if hottest is None else hottest
    return Vitals(
        load=_told(source.load),
        temperature_c=temperature_c,
        limit_c=limit_c,
        battery_share=_told(source.battery_share),
    )


def _told(read: Callable[[], Reading]) -> Reading | None:
    try:
        return read()
    except OSError as error:
        log.debug("the device does not tell how it is: %s", error)
        return None


def _believed(reading: tuple[float, float | None]) -> tuple[float | None, float]:
    """Sensors without a limit tell 0 or thousands of degrees."""
    temperature_c, limit_c = reading
    low, high = _PLAUSIBLE_C
    known_limit_c = LIMIT_C if limit_c is None or not low < limit_c < high else limit_c
    return (temperature_c if low < temperature_c < high else None), known_limit_c


def _closeness(reading: tuple[float | None, float]) -> float:
    temperature_c, limit_c = reading
    return float("-inf") if temperature_c is None else temperature_c - limit_c


def _ramp(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)
