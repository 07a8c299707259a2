"""Which applications nobody uses any more."""

import pytest

from isthmus_cloud.replicas.leases import LEASE_S, LeaseBook


@pytest.fixture
def now_s() -> list[float]:
    return [1000.0]


@pytest.fixture
def book(now_s: list[float]) -> LeaseBook:
    return LeaseBook(lambda: now_s[0])


def test_an_application_is_used_until_the_last_front_end_releases_it(book: LeaseBook) -> None:
    book.renew("one", ["old", "new"])
    book.renew("two", ["old"])
    book.release("one", ["old"])
    assert book.unused(["old", "new"]) == []
    book.release("two", ["old"])
    assert book.unused(["old", "new"]) == ["old"]
    assert book.unused(["old", "new"]) == ["old"]  # until it is there no more
    book.release("one", ["new"])
    assert book.unused(["new"]) == ["new"]


def test_a_front_end_that_says_nothing_any_more_loses_its_leases(
    book: LeaseBook, now_s: list[float]
) -> None:
    book.renew("lives", ["both"])
    book.renew("dies", ["both", "its own"])
    now_s[0] += LEASE_S
    book.renew("lives", ["both"])
    assert book.unused(["both", "its own"]) == []
    now_s[0] += 1.0
    assert book.unused(["both", "its own"]) == ["its own"]
    book.release("lives", ["both"])
    assert book.unused(["both"]) == ["both"]


def test_what_nobody_has_ever_used_is_unused(book: LeaseBook) -> None:
    """A front end has made it that was killed long ago."""
    book.renew("one", ["another"])
    assert book.unused(["left behind", "another"]) == ["left behind"]


def test_an_application_that_is_used_again_is_kept(book: LeaseBook) -> None:
    book.renew("one", ["it"])
    book.release("one", ["it"])
    book.renew("two", ["it"])
    assert book.unused(["it"]) == []


def test_a_book_that_has_forgotten_everything_waits_until_it_is_told(now_s: list[float]) -> None:
    book = LeaseBook(lambda: now_s[0], is_new=False)
    book.renew("one", ["its own"])
    book.release("one", ["its own"])
    assert book.unused(["its own", "another's"]) == []
    now_s[0] += LEASE_S - 1.0
    book.renew("another", ["another's"])
    assert book.unused(["its own", "another's"]) == []
    now_s[0] += 1.0
    assert book.unused(["its own", "another's"]) == ["its own"]
