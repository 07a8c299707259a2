"""Other programs' share of the machine, on counters that the test sets."""

from collections import namedtuple

import psutil
import pytest

from isthmus_bench.adapt.crowd import Crowd

Machine = namedtuple("Machine", ["user", "nice", "system", "idle", "iowait"])
Own = namedtuple("Own", ["user", "system", "children_user", "children_system"])


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> float:
    """100 s of two processors: 30 s busy, 12 s of them ours and our children's; 20 s of work of low
    priority."""
    machine = [Machine(50, 5, 10, 100, 0), Machine(72, 25, 18, 145, 5)]
    own = [Own(1, 1, 0, 0), Own(3, 2, 8, 1)]

    class Process:
        def cpu_times(self) -> Own:
            return own.pop(0)

    monkeypatch.setattr(psutil, "cpu_times", lambda: machine.pop(0))
    monkeypatch.setattr(psutil, "Process", Process)
    return Crowd().share()


def test_what_is_busy_and_not_ours_is_others(share: float) -> None:
    assert share == pytest.approx(0.18)
