"""Running checks: all of them, some of them, and one that breaks."""

from collections.abc import Iterator

import pytest

from isthmus import ConfigError
from isthmus_edge.doctor import Check, Finding, chosen_checks, examine, summarise
from isthmus_edge.doctor.finding import fail, note, warn


def fine() -> Iterator[Finding]:
    yield note("a", "fine")


def broken() -> Iterator[Finding]:
    yield note("b", "so far")
    raise ZeroDivisionError("of all things")


CHECKS = [Check("alpha", "a?", fine), Check("beta", "b?", broken, is_long=True)]


def test_a_check_that_raises_is_a_failure_with_its_reason_and_hides_no_other() -> None:
    findings = examine([CHECKS[1], CHECKS[0]])
    told = [(finding.id, finding.state) for finding in findings]
    assert told == [("b", "ok"), ("beta", "fail"), ("a", "ok")]
    assert "ZeroDivisionError: of all things" in findings[1].text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("gone"), "OSError: gone"),
        (MemoryError(), "MemoryError: no reason given"),
        (KeyError("x"), "KeyError: 'x'"),
        (AssertionError(), "AssertionError: no reason given"),
    ],
    ids=["disk", "memory", "key", "assert"],
)
def test_whatever_breaks_a_check_is_a_failure_to_be_reported(error: Exception, told: str) -> None:
    def look() -> list[Finding]:
        raise error

    (finding,) = examine([Check("gamma", "?", look)])
    assert finding.text == f"the check itself failed: {told}"
    assert finding.way_out is not None
    assert "report this" in finding.way_out
    assert finding.figures == {"error": type(error).__name__}


def test_the_user_can_interrupt_a_check() -> None:
    def look() -> list[Finding]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        examine([Check("gamma", "?", look)])


def test_what_was_found_before_a_mistake_was_met_is_told() -> None:
    def look() -> Iterator[Finding]:
        yield note("link.name", "found")
        raise ConfigError("ca.pem: No such file; --tls-ca takes a PEM file")

    found = examine([Check("link", "?", look)])
    assert [finding.id for finding in found] == ["link.name", "link"]


def test_a_check_may_find_several_things() -> None:
    def look() -> Iterator[Finding]:
        yield note("a", "one")
        yield warn("a", "two", "do")

    assert [finding.text for finding in examine([Check("alpha", "?", look)])] == ["one", "two"]


def test_a_mistake_in_the_flags_is_told_with_its_own_way_out() -> None:
    def look() -> Iterator[Finding]:
        raise ConfigError("ca.pem: No such file; --tls-ca takes a PEM file")

    (finding,) = examine([Check("link", "?", look)])
    assert (finding.id, finding.state) == ("link", "fail")
    assert (finding.text, finding.way_out) == ("ca.pem: No such file", "--tls-ca takes a PEM file")


def test_an_error_that_names_no_way_out_is_not_told_twice() -> None:
    def look() -> Iterator[Finding]:
        raise ConfigError("this and that is wrong")

    (finding,) = examine([Check("link", "?", look)])
    assert finding.text == "this and that is wrong"
    assert finding.way_out
    assert finding.text not in finding.way_out


def test_progress_hears_of_each_check_before_it_begins() -> None:
    heard: list[str] = []
    examine(CHECKS, lambda check: heard.append(check.id))
    assert heard == ["alpha", "beta"]


def test_quick_leaves_out_what_takes_long_unless_it_was_asked_for() -> None:
    assert chosen_checks(CHECKS, (), quick=True) == CHECKS[:1]
    assert chosen_checks(CHECKS, (), quick=False) == CHECKS
    assert chosen_checks(CHECKS, ("beta",), quick=True) == CHECKS[1:]


def test_an_unknown_check_is_named_with_the_nearest_and_all_others() -> None:
    with pytest.raises(ConfigError, match=r"'alpa'.*did you mean 'alpha'.*alpha, beta"):
        chosen_checks(CHECKS, ("alpa",), quick=False)


def test_a_check_of_what_was_not_named_says_what_to_name() -> None:
    needs = {"link": "give --cloud HOST:PORT", "alpha": "give nothing"}
    with pytest.raises(ConfigError, match=r"'link' has nothing to look at; give --cloud HOST:PORT"):
        chosen_checks(CHECKS, ("alpha", "link"), quick=False, needs=needs)
    with pytest.raises(ConfigError, match=r"'lnk'.*did you mean 'link'.*alpha, beta, link"):
        chosen_checks(CHECKS, ("lnk",), quick=False, needs=needs)
    assert chosen_checks(CHECKS, ("alpha",), quick=False, needs=needs) == CHECKS[:1]


def test_warnings_leave_the_status_at_0_and_a_failure_makes_it_1() -> None:
    good = [note("a", ""), warn("b", "", "do")]
    assert summarise(good).status == 0
    assert summarise([*good, fail("c", "", "do")]).status == 1
    assert summarise([*good, fail("c", "", "do"), fail("d", "", "do")]).status == 1
