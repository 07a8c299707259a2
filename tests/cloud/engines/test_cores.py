"""A run that is alone gets all cores, runs at once their share; batches are measured on that."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from tests.cloud.engines.tail_of_the_cut import ENTRY, symbols

from isthmus import Bundle, ConfigError
from isthmus_cloud.deployments.loading import load_tails
from isthmus_cloud.engines.cores import Cores, Share
from isthmus_cloud.engines.ort import OrtEngine, OrtProgram
from isthmus_cloud.engines.seam import Value


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The session of every run, in turn."""
    found: list[Any] = []
    on_host = OrtProgram._on_host

    def watched(program: OrtProgram, session: Any, feeds: dict[str, Value]) -> Sequence[Value]:
        found.append(session)
        return on_host(program, session, feeds)

    monkeypatch.setattr(OrtProgram, "_on_host", watched)
    return found


def test_only_the_first_of_several_has_all_and_the_next_that_is_alone_again() -> None:
    cores = Cores(8, at_once=3)
    with cores.run() as first, cores.run() as second:
        with cores.run() as third:
            pass
        with cores.run() as fourth:
            pass
    with pytest.raises(ValueError, match="it failed"), cores.run() as failing:
        raise ValueError("it failed")
    with cores.run() as alone:
        pass
    threads = [share.threads for share in (first, second, third, fourth, failing, alone)]
    assert threads == [8, 3, 3, 3, 8, 8]


def test_none_of_those_that_compute_at_once_have_the_same_threads() -> None:
    cores = Cores(8, at_once=4)
    with cores.run(), cores.run() as one, cores.run() as two, cores.run() as three:
        pass
    with cores.run(), ExitStack() as stack:
        later = [stack.enter_context(cores.run()) for _ in range(4)]
    assert len({one, two, three}) == 3
    assert len(set(later)) == 4
    assert {one, two, three, *later} <= set(cores.shares)
    assert len(cores.shares) == 5


def test_more_than_were_thought_of_have_one_share_together() -> None:
    cores = Cores(8, at_once=2)
    with ExitStack() as stack:
        shares = [stack.enter_context(cores.run()) for _ in range(5)]
    assert len(set(shares)) == 3
    with cores.run(), cores.run() as one, cores.run() as other:
        assert one != other


def test_single_threads_need_one_session_for_all() -> None:
    assert Cores(2, at_once=2).shares == (Share(2), Share(1))
    assert Cores(1, at_once=3).shares == (Share(1),)
    assert Cores(4).shares == (Share(4),)


@pytest.mark.parametrize(
    ("threads", "at_once", "each"), [(2, 1, 2), (2, 2, 1), (3, 2, 2), (12, 8, 2), (2, 16, 1)]
)
def test_no_core_idles_and_nobody_is_left_without_a_thread(
    threads: int, at_once: int, each: int
) -> None:
    assert Cores(threads, at_once).beside == each


@pytest.mark.parametrize(("threads", "at_once", "name"), [(0, 1, "threads"), (1, 0, "at_once")])
def test_what_is_no_number_of_threads_is_refused(threads: int, at_once: int, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 0; it must be at least 1"):
        Cores(threads, at_once)


def test_a_run_beside_others_uses_its_share(bundle: Bundle, used: list[Any]) -> None:
    cores = Cores(4, at_once=2)
    entry = OrtEngine(cores).load(bundle.file(ENTRY))
    alone = entry.run(symbols(2))[0]
    with cores.run():
        beside = entry.run(symbols(2))[0]
    assert [each.get_session_options().intra_op_num_threads for each in used] == [4, 2]
    assert alone == pytest.approx(beside, abs=1e-6)


def test_two_runs_at_once_never_have_the_threads_of_one_session(
    bundle: Bundle, used: list[Any]
) -> None:
    cores = Cores(4, at_once=2)
    entry = OrtEngine(cores).load(bundle.file(ENTRY))
    with cores.run():
        with cores.run():
            entry.run(symbols(2))
        entry.run(symbols(2))
        entry.run(symbols(2))
    first, second, third = used
    assert first is not second
    assert second is third


def test_batches_are_measured_on_the_share_that_they_have_under_load(
    bundle: Bundle, used: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    cores = Cores(2, at_once=2)
    with caplog.at_level(logging.WARNING):
        load_tails(bundle, OrtEngine(cores), 4, lambda _: None, cores=cores)
    threads = [session.get_session_options().intra_op_num_threads for session in used]
    checked = threads.index(1)
    assert set(threads[:checked]) == {2}
    assert set(threads[checked:]) == {1}
    assert caplog.text == ""
