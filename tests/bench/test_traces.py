"""Bandwidth traces: the rows, the files, and the made-up ones."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import ConfigError
from isthmus_bench.traces import Trace, builtin_traces, read_trace, shared_traces

_STEPS = Trace("steps", (0.0, 2.0, 3.0), (10.0, 0.0, 4.0), 40.0)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Up to eight rows of uneven length, pauses among them."""
    lengths_s = draw(st.lists(st.integers(1, 40), min_size=1, max_size=8))
    rates = st.one_of(st.just(0.0), st.floats(0.1, 100.0))
    mbps = draw(st.lists(rates, min_size=len(lengths_s), max_size=len(lengths_s)))
    times_s = tuple(sum(lengths_s[:row]) / 10 for row in range(len(lengths_s)))
    return Trace("drawn", times_s, tuple(mbps), 40.0)


def test_the_last_row_lasts_as_long_as_the_one_before_it() -> None:
    assert _STEPS.duration_s == 4.0
    assert Trace("one", (0.0,), (5.0,), 0.0).duration_s == 1.0


def test_a_trace_repeats_from_the_start() -> None:
    assert [_STEPS.mbps_at(t) for t in (0, 1.9, 2, 3.9, 4, 6.5, 7)] == [10, 10, 0, 4, 10, 0, 4]


def test_the_mean_counts_each_row_by_its_length() -> None:
    assert _STEPS.mean_mbps() == pytest.approx((2 * 10 + 0 + 4) / 4)


@given(traces(), st.integers(0, 300), st.integers(1, 300))
def test_an_excerpt_shows_what_a_player_would_have_shown(
    trace: Trace, start: int, length: int
) -> None:
    start_s, seconds = start / 10, length / 10
    part = trace.excerpt(start_s, seconds)
    assert part.times_s[0] == 0
    assert part.duration_s == pytest.approx(seconds, abs=1e-6)
    for tenth in range(length):
        at_s = tenth / 10 + 0.05  # edges of rows lie on whole tenths
        assert part.mbps_at(at_s) == trace.mbps_at(start_s + at_s)


def test_scaling_changes_the_rates_alone() -> None:
    scaled = _STEPS.scaled(0.5)
    assert (scaled.times_s, scaled.mbps, scaled.rtt_ms) == (_STEPS.times_s, (5.0, 0.0, 2.0), 40.0)
    assert _STEPS.scaled(1) is _STEPS


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Trace("t", (), (), 0), "0 times and 0 rates"),
        (lambda: Trace("t", (0.0, 1.0), (1.0,), 0), "2 times and 1 rates"),
        (lambda: Trace("t", (1.0,), (1.0,), 0), "begins at 1.0 s"),
        (lambda: Trace("t", (0.0, 0.0), (1.0, 1.0), 0), "0.0 s comes after 0.0 s"),
        (lambda: Trace("t", (0.0, float("nan")), (1.0, 1.0), 0), "nan s comes after"),
        (lambda: Trace("t", (0.0,), (-1.0,), 0), "rate at 0.0 s is -1.0"),
        (lambda: Trace("t", (0.0,), (float("inf"),), 0), "rate at 0.0 s is inf"),
        (lambda: Trace("t", (0.0,), (1.0,), -2.0), "rtt_ms is -2.0"),
        (lambda: _STEPS.excerpt(-1, 5), "excerpt of 5 s from -1 s"),
        (lambda: _STEPS.excerpt(0, 0), "excerpt of 0 s"),
        (lambda: _STEPS.scaled(-1), "scaled by -1"),
    ],
)
def test_a_trace_that_cannot_be_is_refused_by_name(make: Callable[[], Trace], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        make()


def test_a_csv_is_read_and_begins_at_zero(tmp_path: Path) -> None:
    path = tmp_path / "drive.csv"
    path.write_text("t_s,mbps\n5,1.5\n6,0\n\n7.5,3\n", encoding="utf-8")
    assert read_trace(path) == Trace("drive", (0.0, 1.0, 2.5), (1.5, 0.0, 3.0), 40.0)


def test_a_gzipped_csv_is_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "drive.csv.gz"
    path.write_bytes(gzip.compress(b"t_s,mbps\r\n0,1.5\r\n"))
    assert read_trace(str(path)) == Trace("drive", (0.0,), (1.5,), 40.0)


@pytest.mark.parametrize("name", ["link.up", "link.mahimahi", "link.down.gz", "link.txt"])
def test_mahimahi_lines_are_packets_of_1500_bytes(tmp_path: Path, name: str) -> None:
    """A packet each ms of the first 0.5 s is 12 Mbit/s; then one at 1 s, which ends the trace."""
    data = "".join(f"{ms}\n" for ms in (*range(1, 501), 1000)).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    trace = read_trace(path)
    assert trace.duration_s == pytest.approx(1.0)
    assert trace.mbps == (12.0,) * 5 + (0.0,) * 4 + (0.12,)
    assert trace.mean_mbps() * trace.duration_s == pytest.approx(501 * 12000 / 1e6)


@pytest.mark.parametrize("period_ms", [1, 3, 7])
def test_a_short_mahimahi_trace_repeats_for_a_second(tmp_path: Path, period_ms: int) -> None:
    path = tmp_path / "constant.up"
    path.write_text(f"{period_ms}\n" * 2, encoding="utf-8")
    trace = read_trace(path)
    assert trace.duration_s == pytest.approx(1.0)
    assert trace.mean_mbps() == pytest.approx(24.0 / period_ms, rel=0.01)


@pytest.mark.parametrize(
    ("name", "data", "named"),
    [
        ("a.csv", b"", r"a\.csv, line 1: '' is not a header; begin a CSV with 't_s,mbps'"),
        ("a.csv", b"time,rate\n0,1\n", "line 1: 'time,rate' is not a header"),
        ("a.csv", b"t_s,mbps\n", "line 2: there are no rows"),
        ("a.csv", b"t_s,mbps\n0,1\n1,fast\n", "line 3: '1,fast' is not two numbers"),
        ("a.csv", b"t_s,mbps\n0,1,2\n", "line 2: '0,1,2' is not two numbers"),
        ("a.csv", b"t_s,mbps\n0,-1\n", "line 2: '0,-1'; give a finite time"),
        ("a.csv", b"t_s,mbps\nnan,1\n", "line 2: 'nan,1'; give a finite time"),
        ("a.csv", b"t_s,mbps\n0,1\n0,2\n", "line 3: 0.0 s comes after 0.0 s"),
        ("a.csv", b"\xff\xfe\x00", "is not text"),
        ("a.csv.gz", b"t_s,mbps\n0,1\n", "cannot be read"),
        ("a.up", b"1\nsoon\n", "line 2: 'soon'; give a whole number of milliseconds"),
        ("a.up", b"5\n4\n", "line 2: '4'"),
        ("a.up", b"0\n", r"last line is \[0\]"),
        ("a.up", b"", r"last line is \[\]"),
        ("a.up", b"99999999999\n", r"last line is \[99999999999\]"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(
    tmp_path: Path, name: str, data: bytes, named: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=named):
        read_trace(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.csv: cannot be read"):
        read_trace(tmp_path / "nowhere.csv")


def _shared(folder: Path, index: object) -> Path:
    (folder / "a.csv").write_text("t_s,mbps\n0,1\n", encoding="utf-8")
    (folder / "b.csv").write_text("t_s,mbps\n0,2\n", encoding="utf-8")
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def test_an_index_names_the_traces_of_a_folder_and_their_round_trips(tmp_path: Path) -> None:
    index = [{"name": "b", "rtt_hint_ms": 120, "tech": "3G"}, {"name": "a"}]
    folder = _shared(tmp_path, index)
    found = [(t.name, t.mbps, t.rtt_ms) for t in shared_traces(folder)]
    assert found == [("b", (2.0,), 120.0), ("a", (1.0,), 40.0)]
    assert read_trace(folder / "b.csv").rtt_ms == 120.0


def test_a_folder_without_an_index_has_no_traces(tmp_path: Path) -> None:
    assert shared_traces(tmp_path) == ()
    assert shared_traces(tmp_path / "nowhere") == ()


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"index\.json: .*rtt_hint_ms"):
        shared_traces(_shared(tmp_path, [{"name": 5}]))


def test_a_trace_of_the_index_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"c\.csv: cannot be read"):
        shared_traces(_shared(tmp_path, [{"name": "c"}]))


def test_the_built_in_traces_are_the_same_each_time_and_differ_from_one_another() -> None:
    first, second = builtin_traces(), builtin_traces()
    assert first == second
    assert [trace.name for trace in first] == ["steps", "outage", "drive", "sawtooth"]
    assert all(60 <= trace.duration_s <= 90 for trace in first)


def test_the_built_in_traces_hold_what_they_are_named_after() -> None:
    steps, outage, drive, sawtooth = builtin_traces()
    assert set(steps.mbps) == {1, 2, 5, 10, 20, 30, 50}
    assert outage.mbps.count(0.0) == 17  # seconds: 2 + 5 + 10
    assert 0 < drive.mbps.count(0.0) < len(drive.mbps) / 5
    assert (min(sawtooth.mbps), max(sawtooth.mbps)) == (0.5, 20.0)
