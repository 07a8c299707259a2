"""Tails that sleep: their table, their answers, and how long they sleep."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
from numpy.typing import NDArray

from isthmus import ConfigError, open_bundle
from isthmus_bench.scale import sleeping
from isthmus_bench.scale.sleeping import (
    MOST_ROWS,
    TABLE_VARIABLE,
    SleepingProgram,
    open_engine,
    open_short_engine,
)
from isthmus_bench.scale.subject import Subject
from isthmus_bench.scale.tables import (
    PartTimes,
    SleepTables,
    load_tables,
    measured_parts,
    save_tables,
    stretched,
)
from isthmus_cloud.answering.feeds import blank_feeds
from isthmus_cloud.deployments.loading import load_tails
from isthmus_cloud.engines.batch_times import BatchTimes
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine
from isthmus_cloud.engines.seam import Engine, Value

Array = NDArray[np.float32]
TIMES = BatchTimes((1, 2, 4), (10.0, 12.0, 16.0))


class Doubling:
    """A program that gives twice its input, or of `rows` not as many rows as it was given."""

    inputs: Mapping[str, str] = {"x": "tensor(float)"}
    outputs = ("y",)
    sizes: tuple[int, ...] = ()

    def __init__(self, rows: int | None = None) -> None:
        self.ran: list[int] = []
        self._rows = rows

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        x = np.asarray(feeds["x"])
        self.ran.append(len(x))
        return [2 * x[: self._rows]]


class Clock:
    """Stands still but for whoever sleeps."""

    def __init__(self) -> None:
        self.slept_ms: list[float] = []
        self._now_s = 5.0

    def perf_counter(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        self.slept_ms.append(round(seconds * 1e3, 6))
        self._now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sleeping, "time", clock)
    return clock


def program(real: Doubling, times: BatchTimes = TIMES) -> SleepingProgram:
    return SleepingProgram(real, times, Lock())


def rows(*values: float) -> dict[str, Value]:
    return {"x": np.array([[value] for value in values], np.float32)}


def answer(made: Sequence[Value]) -> list[float]:
    return [float(value) for value in np.asarray(made[0]).ravel()]


def test_a_batch_takes_its_time_and_rows_are_computed_once(clock: Clock) -> None:
    real = Doubling()
    slow = program(real)
    assert answer(slow.run(rows(1, 2))) == [2, 4]
    assert answer(slow.run(rows(2))) == [4]
    assert answer(slow.run(rows(2, 1, 2))) == [4, 2, 4]
    assert real.ran == [2]
    assert answer(slow.run(rows(1, 3))) == [2, 6]
    assert real.ran == [2, 2]
    assert clock.slept_ms == [12.0, 10.0, 14.0, 12.0]


def test_a_row_that_was_forgotten_is_computed_again(clock: Clock) -> None:
    real = Doubling()
    slow = program(real)
    slow.run(rows(0))
    for first in range(1, MOST_ROWS + 1, 32):
        slow.run(rows(*range(first, first + 32)))
    before = len(real.ran)
    assert answer(slow.run(rows(0))) == [0]
    assert len(real.ran) == before + 1
    assert answer(slow.run(rows(MOST_ROWS))) == [2 * MOST_ROWS]
    assert len(real.ran) == before + 1


def test_what_has_no_row_for_each_is_computed_every_time(clock: Clock) -> None:
    real = Doubling(rows=1)
    slow = program(real)
    assert answer(slow.run(rows(1, 2))) == answer(slow.run(rows(1, 2))) == [2]
    assert real.ran == [2, 2]
    assert clock.slept_ms == [12.0, 12.0]


def test_parts_that_are_not_in_the_table_take_no_time_of_it(clock: Clock) -> None:
    assert answer(program(Doubling(), BatchTimes()).run(rows(1))) == [2]
    assert clock.slept_ms == [0.0]


def test_a_service_s_tails_answer_as_those_that_compute(
    scale_subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TABLE_VARIABLE, str(scale_subject.tables_path))
    bundle = open_bundle(scale_subject.path, "cloud")
    random = np.random.default_rng(3)
    engines: list[Engine] = [open_engine("auto", Cores(1), bundle), OrtEngine(Cores(1))]
    assert engines[0].provider == "sleeping CPUExecutionProvider"
    tails = [load_tails(bundle, engine, 1, lambda _: None) for engine in engines]
    for cut in tails[0]:
        feeds: dict[str, Value] = {
            name: random.integers(0, 9, array.shape).astype(array.dtype) if not index else array
            for index, (name, array) in enumerate(blank_feeds(tails[0][cut].cut).items())
        }
        slept, computed = (tails[which][cut].run(feeds) for which in (0, 1))
        again = tails[0][cut].run(feeds)
        for one, other, third in zip(slept, computed, again, strict=True):
            assert np.allclose(np.asarray(one, np.float64), np.asarray(other, np.float64))
            assert np.array_equal(one, third)
    short = open_short_engine("auto", Cores(1), bundle)
    assert (engines[0]._times, short._times) == tuple(  # type: ignore[attr-defined]
        {bundle.file(name): times for name, times in table.parts.items()}
        for table in (scale_subject.tables.usual, scale_subject.tables.short)
    )
    for engine in (*engines, short):
        engine.close()


def test_without_a_table_it_says_what_is_missing(
    scale_subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = open_bundle(scale_subject.path, "cloud")
    monkeypatch.delenv(TABLE_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=TABLE_VARIABLE):
        open_engine("auto", Cores(1), bundle)
    for content in (None, "no table"):
        path = tmp_path / "table.json"
        if content is not None:
            path.write_text(content)
        os.environ[TABLE_VARIABLE] = str(path)
        with pytest.raises(ConfigError, match="no table of sleeping tails"):
            open_engine("auto", Cores(1), bundle)


def test_only_the_tail_under_test_is_stretched(tmp_path: Path) -> None:
    times = PartTimes(
        {"deep": ("entry", "end"), "input": ("begin", "end")},
        {
            "entry": BatchTimes((1, 2, 4), (1.0, 1.0, 1.0)),
            "end": BatchTimes((1, 2, 4), (4.0, 5.0, 7.0)),
            "begin": BatchTimes((1, 2), (9.0, 18.0)),
        },
    )
    table = stretched(times, "deep", 20.0)
    assert table.factor == pytest.approx(4.0)
    assert table.tail(times.tails["deep"]).took_ms == pytest.approx((20.0, 24.0, 32.0))
    assert table.parts["begin"].took_ms == (9.0, 18.0)
    tables = SleepTables(table, stretched(times, "deep", 10.0))
    save_tables(tables, tmp_path / "tables.json")
    assert load_tables(tmp_path / "tables.json") == tables


def test_a_tail_that_was_not_measured_cannot_be_stretched() -> None:
    with pytest.raises(ConfigError, match="one frame at a time"):
        stretched(PartTimes({"cut": ("part",)}, {"part": BatchTimes()}), "cut", 30.0)


def test_all_tails_of_a_bundle_are_measured(scale_subject: Subject) -> None:
    bundle = open_bundle(scale_subject.path, "cloud")
    times = measured_parts(bundle)
    assert set(times.tails) == {cut.id for cut in bundle.manifest.cuts if cut.tail}
    assert all(times.tail(cut).ms(1) > 0 for cut in times.tails)


def test_the_subject_is_the_deepest_cut_stretched_as_asked(scale_subject: Subject) -> None:
    shares = [tail.macs_share for tail in scale_subject.tails]
    assert scale_subject.slept.macs_share == max(shares)
    assert min(shares) == 0
    assert scale_subject.sleeping.ms(1) == pytest.approx(4.0)
    assert scale_subject.short.ms(1) == pytest.approx(2.0)
    assert scale_subject.tables == load_tables(scale_subject.tables_path)
