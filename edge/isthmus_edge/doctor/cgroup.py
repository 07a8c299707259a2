"""What the control groups of this process allow it: CPU time and memory, versions 1 and 2.

A limit may stand in any group from this process's own up to the root, so all of them are read.
Inside a container the path in /proc/self/cgroup may be the host's, which is not to be seen there;
then the root of the mount is the container's own group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from isthmus_edge.doctor.surroundings import Surroundings

_MOUNT = "sys/fs/cgroup"
_UNLIMITED_BYTES = 1 << 60  # version 1 says "no limit" with a number near 2**63

__all__ = ["CpuQuota", "MemoryLimit", "cpu_quota", "memory_limit"]


@dataclass(frozen=True, slots=True)
class CpuQuota:
    """So many CPUs' time (0.5: half of one), handed out anew every `period_ms`."""

    cpus: float
    period_ms: float
    throttled: int | None  # periods in which it was used up


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """What the group may take, and what it has taken, less page cache that can be dropped."""

    limit_bytes: int
    used_bytes: int

    @property
    def left_bytes(self) -> int:
        """0 or more."""
        return max(0, self.limit_bytes - self.used_bytes)


def cpu_quota(around: Surroundings) -> CpuQuota | None:
    """The tightest quota, None without one."""
    quotas = [*_quotas_v2(around), *_quotas_v1(around)]
    return min(quotas, key=lambda quota: quota.cpus, default=None)


def memory_limit(around: Surroundings) -> MemoryLimit | None:
    """The limit that leaves least, None without one."""
    limits = [*_limits_v2(around), *_limits_v1(around)]
    return min(limits, key=lambda limit: limit.left_bytes, default=None)


def _quotas_v2(around: Surroundings) -> Iterator[CpuQuota]:
    for folder in _folders(around, ""):
        quota, _, period = (around.text(f"{folder}/cpu.max") or "").partition(" ")
        if quota.isdigit() and period.isdigit():
            yield _quota(around, folder, int(quota), int(period))


def _quotas_v1(around: Surroundings) -> Iterator[CpuQuota]:
    for folder in _folders(around, "cpu"):
        quota = around.number(f"{folder}/cpu.cfs_quota_us")
        period = around.number(f"{folder}/cpu.cfs_period_us")
        if quota is not None and period and quota > 0:
            yield _quota(around, folder, quota, period)


def _quota(around: Surroundings, folder: str, quota_us: int, period_us: int) -> CpuQuota:
    throttled = _fields(around.text(f"{folder}/cpu.stat")).get("nr_throttled")
    return CpuQuota(quota_us / period_us, period_us / 1e3, throttled)


def _limits_v2(around: Surroundings) -> Iterator[MemoryLimit]:
    for folder in _folders(around, ""):
        limit = around.number(f"{folder}/memory.max")
        if limit is not None:
            cache = _fields(around.text(f"{folder}/memory.stat")).get("inactive_file", 0)
            used = around.number(f"{folder}/memory.current") or 0
            yield MemoryLimit(limit, max(0, used - cache))


def _limits_v1(around: Surroundings) -> Iterator[MemoryLimit]:
    for folder in _folders(around, "memory"):
        limit = around.number(f"{folder}/memory.limit_in_bytes")
        if limit is not None and limit < _UNLIMITED_BYTES:
            cache = _fields(around.text(f"{folder}/memory.stat")).get("total_inactive_file", 0)
            used = around.number(f"{folder}/memory.usage_in_bytes") or 0
            yield MemoryLimit(limit, max(0, used - cache))


def _folders(around: Surroundings, controller: str) -> Iterator[str]:
    """This process's group and all above it; "" is the controller of version 2."""
    for line in (around.text("proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            own = PurePosixPath(path.lstrip("/"))
            for mount in _mounts(around, controllers):
                yield from (f"{mount}/{each}" for each in (own, *own.parents))


def _mounts(around: Surroundings, controllers: str) -> Iterator[str]:
    """Version 2 is mounted alone or, beside version 1, as `unified`."""
    names = ("", "unified") if not controllers else {controllers, *controllers.split(",")}
    for name in sorted(names):
        mount = f"{_MOUNT}/{name}" if name else _MOUNT
        if (around.root / mount).is_dir():
            yield mount


def _fields(text: str | None) -> dict[str, int]:
    pairs = [line.split() for line in (text or "").splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
