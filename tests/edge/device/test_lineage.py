"""What the next difference rests on: the marks since the last key frame, and no other."""

from isthmus.v1 import split_pb2 as pb
from isthmus_edge.device.lineage import Lineage


def lineage(*marks_and_references: tuple[int, int]) -> Lineage:
    """After frames with these marks and references."""
    made = Lineage()
    for mark, reference in marks_and_references:
        made.extend(pb.Frame(mark=mark, reference=reference))
    return made


def test_a_difference_rests_on_all_marks_since_the_key_frame() -> None:
    made = lineage((1, 0), (2, 1), (5, 0), (6, 5), (7, 6))
    assert [mark for mark in range(10) if made.holds(mark)] == [5, 6, 7]


def test_behind_a_frame_without_a_mark_nothing_is_rested_on() -> None:
    assert not any(lineage().holds(mark) for mark in range(3))
    assert not any(lineage((1, 0), (2, 1), (0, 0)).holds(mark) for mark in range(3))


def test_one_that_has_ended_holds_nothing_and_counts_it() -> None:
    made = lineage((1, 0), (2, 1))
    made.end()
    assert not made.holds(2)
    assert made.breaks == 1
    made.extend(pb.Frame(mark=3))
    assert made.holds(3)
    assert not made.holds(2)
