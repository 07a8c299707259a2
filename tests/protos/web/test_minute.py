"""A minute is remembered, in room that does not grow, and what repeats is counted."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.web import Board, EventLog, Minute, Recent, encode_board, shortened
from isthmus.web.board import MOST_TEXT
from isthmus.web.minute import MOST_CANDIDATES, OTHERS
from isthmus.web.recent import add_time, quantile_ms


def test_a_bucket_holds_what_happened_in_its_span_and_is_forgotten_after_the_last() -> None:
    recent: Recent[list[str]] = Recent(list, slots=3, slot_s=2.0)
    recent.at(10.0).append("a")
    recent.at(11.9).append("b")
    recent.at(14.0).append("c")
    assert recent.ended(14.0) == [None, ["a", "b"], None]
    assert recent.all(14.0) == [["a", "b"], ["c"]]
    assert recent.ended(16.0) == [["a", "b"], None, ["c"]]
    assert recent.all(18.0) == [["c"]]
    assert recent.all(100.0) == []


def test_what_comes_late_counts_for_the_newest_bucket() -> None:
    recent: Recent[list[str]] = Recent(list, slots=3)
    recent.at(7.0).append("now")
    recent.at(5.0).append("late")
    assert recent.all(7.0) == [["now", "late"]]


@given(st.lists(st.floats(0.02, 1e6), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_a_quantile_is_right_within_five_percent(times_ms: list[float], share: float) -> None:
    counted: Counter[int] = Counter()
    for time_ms in times_ms:
        add_time(counted, time_ms)
    left = share * len(times_ms)
    exact = next(t for i, t in enumerate(sorted(times_ms), 1) if i >= left - 1e-9)
    assert quantile_ms(counted, share) == pytest.approx(exact, rel=0.05)


def test_nothing_has_no_quantile_and_no_time_is_too_short() -> None:
    counted: Counter[int] = Counter()
    assert quantile_ms(counted, 0.5) is None
    add_time(counted, 0.0)
    assert quantile_ms(counted, 0.5) == pytest.approx(0.01, rel=0.05)


def test_shares_have_the_mean_times_and_the_most_used_comes_first() -> None:
    minute = Minute()
    minute.answered(5.0, "a", (1.0, 2.0), 4.0, 100)
    minute.answered(6.0, "b", (3.0, 4.0), 9.0, 300)
    minute.answered(7.0, "b", (5.0, 6.0), 11.0, 100)
    first, second = minute.shares(8.0)
    assert (first.name, first.frames, first.parts_ms) == ("b", 2, [4.0, 5.0])
    assert (first.mean_ms, first.mean_bytes, second.name) == (10.0, 200.0, "a")
    assert [share.name for share in minute.shares(66.5)] == ["b"]
    assert minute.shares(200.0) == []


def test_trends_are_by_the_second_and_leave_out_the_one_that_goes_on() -> None:
    minute = Minute()
    minute.answered(5.1, "a", (), 10.0, 1)
    minute.answered(5.9, "b", (), 10.0, 1)
    minute.failed(6.5)
    answers, errors, p95 = minute.trends(7.0)
    assert [len(each.values) for each in (answers, errors, p95)] == [60, 60, 60]
    assert answers.values[-3:] == [0.0, 2.0, 0.0]
    assert errors.values[-2:] == [0.0, 1.0]
    assert p95.values[-3:] == [None, pytest.approx(10.0, rel=0.05), None]


def test_batches_are_counted_by_size() -> None:
    minute = Minute()
    for size in (1, 4, 1):
        minute.batch(3.0, size)
    assert [(batch.size, batch.runs) for batch in minute.batches(3.5)] == [(1, 2), (4, 1)]


def test_more_names_than_any_plan_has_share_one_row() -> None:
    minute = Minute()
    for index in range(MOST_CANDIDATES + 5):
        minute.answered(1.0, f"name {index}", (1.0,), 1.0, 1)
    minute.answered(1.0, "name 0", (1.0,), 1.0, 1)
    shares = {share.name: share.frames for share in minute.shares(1.0)}
    assert (shares[OTHERS], shares["name 0"]) == (5, 2)
    assert len(shares) == MOST_CANDIDATES


def test_the_same_event_again_is_counted_and_new_again() -> None:
    log = EventLog()
    for at_s, text in ((1.0, "x failed"), (2.0, "y came"), (3.0, "x failed")):
        log.add(at_s, "warning", text)
    assert [(e.at_s, e.text, e.count) for e in log.told(4.0)] == [
        (2.0, "y came", 1),
        (1.0, "x failed", 2),
    ]


def test_a_crowd_of_one_level_hides_no_other() -> None:
    log = EventLog(most=4)
    log.add(0.0, "error", "what matters")
    for index in range(100):
        log.add(1.0 + index, "info", f"{index} came")
    told = log.told(200.0)
    assert len(told) == 5
    assert told[0].text == "what matters"


def test_texts_are_bounded_and_can_be_encoded() -> None:
    assert shortened("x" * 10_000) == "x" * (MOST_TEXT - 1) + "…"
    assert shortened("a\udcffb") == "a\\udcffb"


def test_a_board_is_one_line_of_json_without_numbers_that_json_has_not() -> None:
    board = Board(
        kind="device", title="a\nb", version="1", state="running", uptime_s=float("nan"),
        facts=[], totals=[], trends=[], stages=[], candidates=[], events=[],
    )  # fmt: skip
    encoded = encode_board(board)
    assert b"\n" not in encoded
    decoded = json.loads(encoded)
    assert (decoded["title"], decoded["uptime_s"], decoded["devices"]) == ("a\nb", None, None)
