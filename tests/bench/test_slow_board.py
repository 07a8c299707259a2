"""The imitated small board, on clocks that the test sets."""

import pytest

from isthmus_bench import slow_board
from isthmus_bench.slow_board import SlowBoard


class Clocks:
    """Stands in for the `time` module: work moves it, sleeping moves the wall clock only."""

    def __init__(self) -> None:
        self.wall_s = 100.0
        self.cpu_s = 7.0
        self.slept_s: list[float] = []

    def perf_counter(self) -> float:
        return self.wall_s

    def thread_time(self) -> float:
        return self.cpu_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.wall_s += seconds

    def work(self, cpu_s: float, waited_s: float = 0.0) -> str:
        self.cpu_s += cpu_s
        self.wall_s += cpu_s + waited_s
        return "done"


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(slow_board, "time", clocks)
    return clocks


def test_work_takes_its_cpu_time_times_the_factor(clocks: Clocks) -> None:
    begin_s = clocks.wall_s
    result, took_ms = SlowBoard(20).run("head", lambda: clocks.work(0.010))
    assert result == "done"
    assert took_ms == pytest.approx(200)
    assert clocks.wall_s - begin_s == pytest.approx(0.200)
    assert clocks.slept_s == pytest.approx([0.190])


def test_time_that_other_programs_took_is_not_the_boards(clocks: Clocks) -> None:
    begin_s = clocks.wall_s
    _, took_ms = SlowBoard(20).run("head", lambda: clocks.work(0.010, waited_s=0.050))
    assert took_ms == pytest.approx(200)
    assert clocks.wall_s - begin_s == pytest.approx(0.200)


def test_work_that_was_held_up_for_longer_is_not_slowed_further(clocks: Clocks) -> None:
    _, took_ms = SlowBoard(2).run("head", lambda: clocks.work(0.010, waited_s=0.500))
    assert took_ms == pytest.approx(20)
    assert clocks.slept_s == []


def test_the_median_of_the_recent_work_of_that_kind_counts(clocks: Clocks) -> None:
    board = SlowBoard(10)
    took_ms = [board.run("head", lambda t=t: clocks.work(t))[1] for t in (0.010, 0.010, 0.040)]  # type: ignore[misc]
    assert took_ms == pytest.approx([100, 100, 100])


def test_each_kind_of_work_has_a_median_of_its_own(clocks: Clocks) -> None:
    board = SlowBoard(10)
    board.run("head", lambda: clocks.work(0.010))
    assert board.run("rest", lambda: clocks.work(0.002))[1] == pytest.approx(20)
    assert board.run("head", lambda: clocks.work(0.010))[1] == pytest.approx(100)


def test_work_of_long_ago_is_forgotten(clocks: Clocks) -> None:
    board = SlowBoard(10)
    for _ in range(100):
        board.run("head", lambda: clocks.work(0.010))
    for _ in range(20):
        _, took_ms = board.run("head", lambda: clocks.work(0.003))
    assert took_ms == pytest.approx(30)


def test_the_board_keeps_its_speed_when_this_machine_becomes_slower(clocks: Clocks) -> None:
    board = SlowBoard(10)
    assert board.run("head", lambda: clocks.work(0.010))[1] == pytest.approx(100)
    board.keep_speed(1.5)
    assert board.run("head", lambda: clocks.work(0.015))[1] == pytest.approx(100)


def test_a_failure_of_the_work_is_the_callers(clocks: Clocks) -> None:
    def broken() -> None:
        raise ValueError("no such op")

    with pytest.raises(ValueError, match="no such op"):
        SlowBoard(10).run("head", broken)
    assert clocks.slept_s == []
