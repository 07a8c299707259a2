"""A run that is alone gets all cores, runs at once their share; batches are measured on that."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest
from tests.cloud.engines.tail_of_the_cut import ENTRY, symbols

from isthmus import Bundle, ConfigError
from isthmus_cloud.deployments.loading import load_tails
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine, OrtProgram
from isthmus_cloud.engines.seam import Value


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads of the session of every run, in turn."""
    found: list[int] = []
    on_host = OrtProgram._on_host

    def watched(program: OrtProgram, session: Any, feeds: dict[str, Value]) -> Sequence[Value]:
        found.append(session.get_session_options().intra_op_num_threads)
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
    assert (first, second, third, fourth, failing, alone) == (8, 3, 3, 3, 8, 8)


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


def test_a_run_beside_others_uses_its_share(bundle: Bundle, used: list[int]) -> None:
    cores = Cores(4, at_once=2)
    entry = OrtEngine(cores).load(bundle.file(ENTRY))
    alone = entry.run(symbols(2))[0]
    with cores.run():
        beside = entry.run(symbols(2))[0]
    assert used == [4, 2]
    assert alone == pytest.approx(beside, abs=1e-6)


def test_batches_are_measured_on_the_share_that_they_have_under_load(
    bundle: Bundle, used: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    cores = Cores(2, at_once=2)
    with caplog.at_level(logging.WARNING):
        load_tails(bundle, OrtEngine(cores), 4, lambda _: None, cores=cores)
    checked = used.index(1)
    assert set(used[:checked]) == {2}
    assert set(used[checked:]) == {1}
    assert caplog.text == ""
