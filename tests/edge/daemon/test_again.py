"""Which files whose answer is lost are tried again, by a clock that the tests turn."""

from itertools import count
from pathlib import Path

from isthmus_edge.daemon.sources.again import Again

VERSION = (1, 100, 0)


def holding(files: int) -> Again:
    again = Again((1.0, 8.0))
    for index in range(files):
        again.unwritten(Path(f"{index}.png"), VERSION, 0.0)
    return again


def names(again: Again, now_s: float) -> list[str]:
    return [path.name for path, _ in again.due(now_s)]


def test_one_file_is_tried_after_a_pause_and_not_all_of_them() -> None:
    again = holding(3)
    assert names(again, 0.9) == []
    assert names(again, 1.0) == ["0.png"]
    assert names(again, 1.0) == []


def test_pauses_double_up_to_a_bound_while_nothing_helps() -> None:
    again, tried_s = holding(1), []
    for tenth in count():
        if names(again, tenth / 10):
            tried_s.append(tenth / 10)
            again.unwritten(Path("0.png"), VERSION, tenth / 10)
        if len(tried_s) == 6:
            break
    pauses = [after - before for before, after in zip([0, *tried_s], tried_s, strict=False)]
    assert pauses == [1, 2, 4, 8, 8, 8]


def test_each_answer_that_is_written_lets_two_more_be_tried() -> None:
    again = holding(5)
    assert names(again, 1.0) == ["0.png"]
    again.written()
    assert names(again, 1.0) == ["1.png", "2.png"]
    again.unwritten(Path("2.png"), VERSION, 1.0)
    again.written()
    assert names(again, 1.0) == ["3.png", "4.png"]
    for _ in range(2):
        again.written()
    assert names(again, 1.0) == ["2.png"]
    assert again.is_empty


def test_answers_that_are_written_while_none_is_lost_let_nothing_be_tried() -> None:
    again = Again((1.0, 8.0))
    for _ in range(9):
        again.written()
    again.unwritten(Path("0.png"), VERSION, 5.0)
    assert names(again, 5.9) == []
    assert names(again, 6.0) == ["0.png"]


def test_a_pause_begins_anew_once_an_answer_was_written() -> None:
    again = holding(1)
    for now_s in (1.0, 3.0):
        assert names(again, now_s) == ["0.png"]
        again.unwritten(Path("0.png"), VERSION, now_s)
    assert names(again, 7.0) == ["0.png"]
    again.written()
    again.unwritten(Path("1.png"), VERSION, 7.0)
    assert names(again, 8.0) == ["1.png"]
