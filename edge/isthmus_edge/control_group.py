"""What the control groups of this process allow it: CPU time and memory, versions 1 and 2.

A limit may stand in any group from this process's own up to the root, so all of them are read.
Inside a container the path in /proc/self/cgroup may be the host's, which is not to be seen there;
then the root of the mount is the container's own group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import psutil

from isthmus_edge.kernel_files import KernelFiles

_MOUNT = "sys/fs/cgroup"
_UNLIMITED_BYTES = 1 << 60  # version 1 says "no limit" with a number near 2**63

_SYSTEM = KernelFiles()

__all__ = [
    "CpuQuota",
    "MemoryLimit",
    "available_memory_bytes",
    "cpu_quota",
    "memory_figures",
    "memory_limit",
]


@dataclass(frozen=True, slots=True)
class CpuQuota:
    """So many CPUs' time (0.5: half of one), handed out anew every `period_ms`."""

    cpus: float
    period_ms: float
    throttled_share: float | None  # of all periods in which the group ran: it was used up


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """What the group may take, and what it has taken, less page cache that can be dropped."""

    limit_bytes: int
    used_bytes: int

    @property
    def left_bytes(self) -> int:
        """0 or more."""
        return max(0, self.limit_bytes - self.used_bytes)


def cpu_quota(files: KernelFiles) -> CpuQuota | None:
    """The tightest quota, None without one."""
    quotas = [*_quotas_v2(files), *_quotas_v1(files)]
    return min(quotas, key=lambda quota: quota.cpus, default=None)


def memory_limit(files: KernelFiles) -> MemoryLimit | None:
    """The limit that leaves least, None without one."""
    limits = [*_limits_v2(files), *_limits_v1(files)]
    return min(limits, key=lambda limit: limit.left_bytes, default=None)


def available_memory_bytes(files: KernelFiles = _SYSTEM) -> int | None:
    """How many bytes this process can still have without swapping, 0 or more.

    The lesser of what the machine has left and what the control groups of this process leave it.
    Systems other than Linux have no such files: there psutil tells. None where nothing is told;
    0 means that nothing is left.
    """
    told = memory_figures(files)
    limit = memory_limit(files)
    left = [] if limit is None else [limit.left_bytes]
    free = told.get("MemAvailable", told.get("MemFree"))  # the former since Linux 3.14
    if free is None and files.root == _SYSTEM.root:  # else it is no machine that psutil knows
        free = _by_psutil()
    return min(left if free is None else [*left, free], default=None)


def _by_psutil() -> int | None:
    try:
        return int(psutil.virtual_memory().available)
    except OSError:  # on Linux psutil reads the same files, which may be closed
        return None


def memory_figures(files: KernelFiles = _SYSTEM) -> dict[str, int]:
    """The machine's own figures by the names of proc_meminfo(5), in bytes; {} without any."""
    found = {}
    for line in (files.text("proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


def _quotas_v2(files: KernelFiles) -> Iterator[CpuQuota]:
    for folder in _folders(files, ""):
        quota, _, period = (files.text(f"{folder}/cpu.max") or "").partition(" ")
        if quota.isdigit() and period.isdigit():
            yield _quota(files, folder, int(quota), int(period))


def _quotas_v1(files: KernelFiles) -> Iterator[CpuQuota]:
    for folder in _folders(files, "cpu"):
        quota = files.number(f"{folder}/cpu.cfs_quota_us")
        period = files.number(f"{folder}/cpu.cfs_period_us")
        if quota is not None and period and quota > 0:
            yield _quota(files, folder, quota, period)


def _quota(files: KernelFiles, folder: str, quota_us: int, period_us: int) -> CpuQuota:
    told = _fields(files.text(f"{folder}/cpu.stat"))
    throttled, periods = told.get("nr_throttled"), told.get("nr_periods")
    share = None if throttled is None or not periods else throttled / periods
    return CpuQuota(quota_us / period_us, period_us / 1e3, share)


def _limits_v2(files: KernelFiles) -> Iterator[MemoryLimit]:
    for folder in _folders(files, ""):
        limit = files.number(f"{folder}/memory.max")
        if limit is not None:
            cache = _fields(files.text(f"{folder}/memory.stat")).get("inactive_file", 0)
            used = files.number(f"{folder}/memory.current") or 0
            yield MemoryLimit(limit, max(0, used - cache))


def _limits_v1(files: KernelFiles) -> Iterator[MemoryLimit]:
    for folder in _folders(files, "memory"):
        limit = files.number(f"{folder}/memory.limit_in_bytes")
        if limit is not None and limit < _UNLIMITED_BYTES:
            cache = _fields(files.text(f"{folder}/memory.stat")).get("total_inactive_file", 0)
            used = files.number(f"{folder}/memory.usage_in_bytes") or 0
            yield MemoryLimit(limit, max(0, used - cache))


def _folders(files: KernelFiles, controller: str) -> Iterator[str]:
    """This process's group and all above it; "" is the controller of version 2."""
    for line in (files.text("proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            own = PurePosixPath(path.lstrip("/"))
            for mount in _mounts(files, controllers):
                yield from (f"{mount}/{each}" for each in (own, *own.parents))


def _mounts(files: KernelFiles, controllers: str) -> Iterator[str]:
    """Version 2 is mounted alone or, beside version 1, as `unified`."""
    names = ("", "unified") if not controllers else {controllers, *controllers.split(",")}
    for name in sorted(names):
        mount = f"{_MOUNT}/{name}" if name else _MOUNT
        if (files.root / mount).is_dir():
            yield mount


def _fields(text: str | None) -> dict[str, int]:
    pairs = [line.split() for line in (text or "").splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
