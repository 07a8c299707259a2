"""Which applications nobody uses any more."""

import pytest

from isthmus_cloud.replicas.leases import LEASE_S, LeaseBook


@pytest.fixture
def now_s() -> list[float]:
    return [1000.0]


@pytest.fixture
def book(now_s: list[float]) -> LeaseBook:
    return LeaseBook(lambda: now_s[0])


def test_an_application_goes_with_the_last_front_end_that_releases_it(book: LeaseBook) -> None:
    book.renew("one", ["old", "new"])
    book.renew("two", ["old"])
    assert book.release("one", ["old"]) == []
    assert book.release("two", ["old"]) == ["old"]
    assert book.unused() == []  # which was told once
    assert book.release("one", ["new"]) == ["new"]


def test_a_front_end_that_says_nothing_any_more_loses_its_leases(
    book: LeaseBook, now_s: list[float]
) -> None:
    book.renew("lives", ["both"])
    book.renew("dies", ["both", "its own"])
    now_s[0] += LEASE_S
    book.renew("lives", ["both"])
    assert book.unused() == []
    now_s[0] += 1.0
    assert book.unused() == ["its own"]
    assert book.release("lives", ["both"]) == ["both"]


def test_what_nobody_has_used_is_not_there_to_be_deleted(book: LeaseBook) -> None:
    assert book.release("one", ["exported"]) == []
    book.renew("one", [])
    assert book.unused() == []


def test_an_application_that_is_used_again_is_kept(book: LeaseBook) -> None:
    book.renew("one", ["it"])
    book.release("one", ["it"])
    book.renew("two", ["it"])
    assert book.unused() == []
