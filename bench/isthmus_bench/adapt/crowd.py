"""How much of the processors other programs took: lanes feel them as if the cloud were slow."""

import psutil

CROWDED = 0.10  # figures of a run that shared more than this are not to be trusted

__all__ = ["CROWDED", "Crowd"]


class Crowd:
    """Measures from its making to each reading; children count as ours once they have ended."""

    def __init__(self) -> None:
        self._machine, self._own_s = psutil.cpu_times(), _own_s()

    def share(self) -> float:
        """Others' share (0-1) of all the processors' time so far."""
        now = psutil.cpu_times()
        before = self._machine
        idle_s = (
            now.idle - before.idle + getattr(now, "iowait", 0.0) - getattr(before, "iowait", 0.0)
        )
        user_s, system_s = now.user - before.user, now.system - before.system
        others_s = max(user_s + system_s - (_own_s() - self._own_s), 0.0)
        yielding_s = getattr(now, "nice", 0.0) - getattr(before, "nice", 0.0)  # is as good as idle
        total_s = user_s + system_s + idle_s + yielding_s
        return others_s / total_s if total_s > 0 else 0.0


def _own_s() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
