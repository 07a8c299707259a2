"""The device as it is now: what it is, what runs on it, how fast it is allowed to be, how warm."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import psutil

from isthmus import describe_machine
from isthmus.profiles import Conditions
from isthmus_edge.runtimes import FoundRuntime

__all__ = ["conditions_now", "processor_temperature_c"]

_SENSORS = ("cpu_thermal", "cpu-thermal", "soc_thermal", "coretemp", "k10temp", "zenpower")


def conditions_now(
    threads: int, runtimes: Sequence[FoundRuntime], root: Path = Path("/")
) -> Conditions:
    """What a profile says of its device; no host name, no path. `root` holds /proc and /sys."""
    return Conditions(
        device=_text(root / "proc/device-tree/model") or describe_machine(),
        processor=describe_machine(),
        system=platform.platform(),
        python=platform.python_version(),
        numpy=np.__version__,
        runtimes={each.name: each.version for each in runtimes if each.version is not None},
        isthmus=version("isthmus"),
        threads=threads,
        clock="thread CPU time" if threads == 1 else "wall time",
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        power=_power(),
    )


def _text(path: Path) -> str | None:
    """The file's line, None where there is none; a device tree ends its strings in a NUL."""
    try:
        return path.read_bytes().decode("utf-8", "replace").strip(" \n\0") or None
    except OSError:
        return None


def _power() -> Literal["mains", "battery", "unknown"]:
    sensors = getattr(psutil, "sensors_battery", None)  # not on every system
    try:
        battery = sensors() if sensors is not None else None
    except OSError:  # psutil lists a folder that a container need not have
        battery = None
    if battery is None or battery.power_plugged is None:
        return "unknown"
    return "mains" if battery.power_plugged else "battery"


def processor_temperature_c() -> float | None:
    """The warmest of the processor's own sensors, None where none tells."""
    sensors = getattr(psutil, "sensors_temperatures", None)  # not on every system
    try:
        known = sensors() if sensors is not None else {}
    except OSError:
        known = {}
    readings = [entry.current for name in _SENSORS for entry in known.get(name, [])]
    return max(readings, default=None)
