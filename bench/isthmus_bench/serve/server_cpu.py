"""Processor time and memory of a server with all its processes."""

import time

import psutil

__all__ = ["ServerCpu", "rss_bytes"]


class ServerCpu:
    """From its making on; of a server that is not known (process id 0), nothing."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._begin = _cpu_s(pid)
        self._began = time.monotonic()

    def seconds(self) -> float | None:
        """So far; None if the server is not known, or has ended."""
        now = _cpu_s(self._pid)
        return None if now is None or self._begin is None else now - self._begin

    def wall_s(self) -> float:
        """By the clock, since its making."""
        return time.monotonic() - self._began


def rss_bytes(pid: int) -> int:
    """Resident memory of a process and all below it; pages that they share count for each."""
    return sum(process.memory_info().rss for process in _tree(pid))


def _cpu_s(pid: int) -> float | None:
    if not pid:
        return None
    total = 0.0
    try:
        for process in _tree(pid):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    except psutil.NoSuchProcess:
        return None
    return total


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]
