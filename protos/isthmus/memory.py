"""How much memory this process has taken since a moment, at its highest where the system tells."""

from pathlib import Path

import psutil

__all__ = ["MemoryGrowth", "resident_bytes"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5)


class MemoryGrowth:
    """Resident memory since this was made; `is_peak`: at its highest, else as it is when asked."""

    def __init__(self) -> None:
        self._before = resident_bytes()
        self.is_peak = _reset_peak()

    def bytes_now(self) -> int:
        """The growth; 0 or more."""
        peak = _peak_bytes() if self.is_peak else None
        self.is_peak = peak is not None
        now = resident_bytes() if peak is None else peak
        return max(0, now - self._before)


def resident_bytes() -> int:
    """What this process holds in memory now."""
    resident: int = psutil.Process().memory_info().rss
    return resident


def _reset_peak() -> bool:
    """Forget what this process took until now; False where the system has no such switch."""
    try:
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _peak_bytes() -> int | None:
    """The highest resident memory (VmHWM), None where the system does not say."""
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
