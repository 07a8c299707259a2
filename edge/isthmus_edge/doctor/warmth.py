"""Governor, temperature and throttling: whether the processor is allowed to be as fast as it is."""

import re
from collections.abc import Iterator

from isthmus_edge.doctor.finding import Finding, fail, note, warn
from isthmus_edge.doctor.surroundings import Surroundings
from isthmus_edge.policy.vitals import LIMIT_C, WARM_RANGE_C

_CPUFREQ = "sys/devices/system/cpu/cpu[0-9]*/cpufreq"
_OWN_WAY = ("intel_pstate", "amd-pstate-epp")  # their "powersave" still goes up to full speed
_SLOW_GOVERNORS = ("powersave", "conservative", "userspace")
_PROCESSORS = re.compile(r"cpu|x86_pkg|core|soc|k10|zen|acpitz", re.IGNORECASE)
_PLAUSIBLE_C = (1.0, 150.0)
# vcgencmd get_throttled, Raspberry Pi documentation: bit, what it says; 16 higher: since the boot.
_PI_BITS = {0: "under-voltage", 1: "capped clock", 2: "throttled", 3: "soft temperature limit"}
_PI_FILES = (
    "sys/devices/platform/soc/soc:firmware/get_throttled",
    "sys/devices/platform/soc/*/get_throttled",
)

__all__ = ["look_at_governor", "look_at_temperature", "look_at_throttling"]


def look_at_governor(around: Surroundings) -> Iterator[Finding]:
    """Who sets the clock, and how far up it may go."""
    governors = sorted(set(around.texts(f"{_CPUFREQ}/scaling_governor").values()))
    if not governors:
        yield note("governor", "the system does not tell how it sets the clock")
        return
    drivers = set(around.texts(f"{_CPUFREQ}/scaling_driver").values())
    own_way = bool(drivers & set(_OWN_WAY))
    allowed = max(around.numbers(f"{_CPUFREQ}/scaling_max_freq").values(), default=None)
    possible = max(around.numbers(f"{_CPUFREQ}/cpuinfo_max_freq").values(), default=None)
    text = f"governor {', '.join(governors)}"
    if allowed and possible:
        text += f", up to {allowed / 1e6:.2f} of {possible / 1e6:.2f} GHz"
    if set(governors) & set(_SLOW_GOVERNORS) and not own_way:
        yield warn(
            "governor",
            f"{text}: the clock stays low while a frame waits",
            "set `performance` or `schedutil`: cpupower frequency-set -g performance",
            governor=governors,
        )
    elif allowed and possible and allowed < possible:
        yield warn(
            "governor",
            f"{text}: the clock is capped",
            "raise scaling_max_freq: cpupower frequency-set -u (on a Jetson: nvpmodel)",
            governor=governors,
            clock_share=round(allowed / possible, 3),
        )
    else:
        yield note("governor", text, governor=governors)


def look_at_temperature(around: Surroundings) -> Iterator[Finding]:
    """How far the processor is from where it slows itself down."""
    readings = [*_zones(around), *_chips(around)]
    if not readings:
        yield note("temperature", "the system does not tell how warm its processor is")
        return
    now_c, limit_c, name = max(readings, key=lambda reading: reading[0] - reading[1])
    text = f"{now_c:.0f} degrees Celsius ({name}), slows down at {limit_c:.0f}"
    figures = {"temperature_c": now_c, "limit_c": limit_c}
    way_out = "give it air, a heat sink or a fan, or less to do (--power saver, fewer frames)"
    if now_c >= limit_c:
        yield fail("temperature", f"{text}: it is slowed down now", way_out, **figures)
    elif now_c >= limit_c - WARM_RANGE_C:
        yield warn("temperature", f"{text}: little is left", way_out, **figures)
    else:
        yield note("temperature", text, **figures)


def look_at_throttling(around: Surroundings) -> Iterator[Finding]:
    """Whether it was slowed down since the boot, where the system counts that."""
    word = _pi_word(around)
    if word is not None:
        yield _pi(word)
        return
    pattern = "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count"
    counts = around.numbers(pattern)
    alarms = around.numbers("sys/class/hwmon/hwmon*/in0_lcrit_alarm")
    if any(alarms.values()):
        yield _pi(1)
    elif not counts:
        yield note("throttling", "the system does not count how often it slowed itself down")
    elif times := max(counts.values()):
        yield warn(
            "throttling",
            f"slowed down by heat {times} times since the boot",
            "give it air, a heat sink or a fan; what was measured meanwhile is too slow",
            times=times,
        )
    else:
        yield note("throttling", "never slowed down by heat since the boot", times=0)


def _pi_word(around: Surroundings) -> int | None:
    for pattern in _PI_FILES:
        for text in around.texts(pattern).values():
            try:
                return int(text, 16)
            except ValueError:
                continue
    return None


def _pi(word: int) -> Finding:
    now = [what for bit, what in _PI_BITS.items() if word >> bit & 1]
    once = [what for bit, what in _PI_BITS.items() if word >> (bit + 16) & 1]
    way_out = "use the board's own power supply and a short cable; give it air or a fan"
    if now:
        text = f"right now: {', '.join(now)}"
        return fail("throttling", text, way_out, now=now, since_boot=once)
    if once:
        text = f"since the boot: {', '.join(once)}; not now"
        return warn("throttling", text, way_out, now=now, since_boot=once)
    return note("throttling", "never since the boot: power and heat are right", word=word)


def _zones(around: Surroundings) -> Iterator[tuple[float, float, str]]:
    """Temperature, limit and name of the processor's thermal zones (sysfs-class-thermal)."""
    for path, kind in around.texts("sys/class/thermal/thermal_zone*/type").items():
        folder = path.rpartition("/")[0]
        now = around.number(f"{folder}/temp")
        if now is not None and _PROCESSORS.search(kind) and _is_plausible(now):
            yield now / 1e3, _trip_c(around, folder), kind


def _trip_c(around: Surroundings, folder: str) -> float:
    """Where it begins to slow down: the lowest passive trip point."""
    kinds = around.texts(f"{folder}/trip_point_*_type")
    trips = [
        around.number(f"{name.removesuffix('_type')}_temp")
        for name, kind in kinds.items()
        if kind == "passive"
    ]
    plausible = [trip / 1e3 for trip in trips if trip is not None and _is_plausible(trip)]
    return min(plausible, default=LIMIT_C)


def _chips(around: Surroundings) -> Iterator[tuple[float, float, str]]:
    """The same of hardware monitors (sysfs hwmon interface).

    Their `_max` is no such limit: it is the fan's on Intel, and a fixed 70 degrees on AMD.
    """
    for path, kind in around.texts("sys/class/hwmon/hwmon*/name").items():
        if not _PROCESSORS.search(kind):
            continue
        folder = path.rpartition("/")[0]
        for name, now in around.numbers(f"{folder}/temp*_input").items():
            limit = around.number(name.removesuffix("_input") + "_crit")
            known = limit is not None and _is_plausible(limit)
            if _is_plausible(now):
                yield now / 1e3, limit / 1e3 if known and limit else LIMIT_C, kind


def _is_plausible(millidegrees: int) -> bool:
    low, high = _PLAUSIBLE_C
    return low <= millidegrees / 1e3 <= high
