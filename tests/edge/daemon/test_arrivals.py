"""When a file counts as whole, by a clock that the tests turn."""

from pathlib import Path

from isthmus_edge.daemon.sources.arrivals import Arrivals, Version

FILE = Path("in/a.png")
HALF: Version = (1, 50, 0)
WHOLE: Version = (1, 100, 0)


def test_a_file_is_whole_once_its_writer_has_closed_it() -> None:
    arrivals = Arrivals(settle_s=1)
    arrivals.appeared(FILE, 0)
    arrivals.opened(FILE)
    assert not arrivals.looked(FILE, HALF, 0)
    assert not arrivals.looked(FILE, HALF, 60), "its writer pauses, and is not done"
    arrivals.closed(FILE, 61, written=True)
    assert arrivals.looked(FILE, WHOLE, 61)


def test_a_renamed_file_is_whole_at_once() -> None:
    arrivals = Arrivals(settle_s=1)
    arrivals.renamed(FILE, 0)
    assert arrivals.looked(FILE, WHOLE, 0)


def test_a_file_that_nobody_tells_of_is_whole_once_it_stands_still() -> None:
    arrivals = Arrivals(settle_s=1)
    arrivals.appeared(FILE, 0)
    assert not arrivals.looked(FILE, HALF, 0)
    assert not arrivals.looked(FILE, WHOLE, 5), "it has grown"
    assert not arrivals.looked(FILE, WHOLE, 5.5)
    assert arrivals.looked(FILE, WHOLE, 6)


def test_a_reader_holds_a_file_up_only_while_it_reads() -> None:
    arrivals = Arrivals(settle_s=1)
    arrivals.appeared(FILE, 0)
    arrivals.looked(FILE, WHOLE, 0)
    arrivals.opened(FILE)
    assert not arrivals.looked(FILE, WHOLE, 5)
    arrivals.closed(FILE, 5, written=False)
    assert arrivals.looked(FILE, WHOLE, 5)


def test_each_version_of_a_file_is_taken_once() -> None:
    arrivals = Arrivals(settle_s=1)
    for version, is_new in [(HALF, True), (HALF, False), (WHOLE, True), (WHOLE, False)]:
        arrivals.closed(FILE, 0, written=True)
        assert arrivals.looked(FILE, version, 0) is is_new
        assert arrivals.pending == []


def test_a_file_that_was_there_before_is_not_taken() -> None:
    arrivals = Arrivals(settle_s=1)
    arrivals.skip(FILE, WHOLE)
    arrivals.closed(FILE, 0, written=True)
    assert not arrivals.looked(FILE, WHOLE, 0)


def test_a_file_that_is_gone_again_is_forgotten() -> None:
    arrivals = Arrivals(settle_s=1)
    arrivals.appeared(FILE, 0)
    assert not arrivals.looked(FILE, None, 9)
    assert arrivals.pending == []
    arrivals.renamed(FILE, 9)
    assert arrivals.looked(FILE, WHOLE, 9)
    arrivals.gone(FILE)
    arrivals.renamed(FILE, 10)
    assert arrivals.looked(FILE, WHOLE, 10), "put there again, it is another one"


def test_a_version_whose_answer_is_lost_is_taken_again_unless_it_has_changed() -> None:
    arrivals = Arrivals(settle_s=1)
    arrivals.renamed(FILE, 0)
    assert arrivals.looked(FILE, HALF, 0)
    arrivals.again(FILE, HALF)
    assert arrivals.looked(FILE, HALF, 0)
    arrivals.again(FILE, HALF)
    assert not arrivals.looked(FILE, WHOLE, 5), "somebody writes to it"
    assert arrivals.looked(FILE, WHOLE, 6)
    arrivals.again(FILE, HALF)
    assert arrivals.pending == [], "that version is gone"
