"""What machine a figure was measured on, in one line for people."""

import platform
from pathlib import Path

import psutil

__all__ = ["describe_machine"]


def describe_machine() -> str:
    """Processor, cores, memory and operating system; no host name and no path."""
    cores = psutil.cpu_count() or 1
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{_processor()}, {cores} cores, {memory_gib:.0f} GiB, {platform.system()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
