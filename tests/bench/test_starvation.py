"""A machine that does not get its processor time must be told apart from a slow program."""

from collections import namedtuple

import psutil
import pytest

from isthmus_bench.starvation import StolenTime

Times = namedtuple("Times", ["user", "idle", "steal", "guest", "guest_nice"])
Plain = namedtuple("Plain", ["user", "idle"])


def shares(monkeypatch: pytest.MonkeyPatch, *readings: object) -> float:
    left = list(readings)
    monkeypatch.setattr(psutil, "cpu_times", lambda: left.pop(0))
    return StolenTime().share()


def test_stolen_time_is_a_share_of_all_time_since_the_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, after = Times(10, 10, 5, 3, 0), Times(14, 13, 8, 6, 0)
    assert shares(monkeypatch, before, after) == pytest.approx(0.3)


def test_a_system_that_cannot_tell_reads_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shares(monkeypatch, Plain(1, 1), Plain(2, 5)) == 0


def test_no_time_at_all_is_no_division_by_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shares(monkeypatch, Plain(1, 1), Plain(1, 1)) == 0
