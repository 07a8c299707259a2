"""The search for the greatest load."""

import pytest

from isthmus_bench.serve.ladder import Ladder


def climbed(most: int, begin: int, trials: int = 20) -> tuple[int, list[int]]:
    """What is found of a service that bears so many, and what it was asked to bear."""
    ladder, asked = Ladder(begin, trials), []
    while not ladder.is_done:
        asked.append(ladder.devices)
        ladder.tried(is_borne=ladder.devices <= most)
    return ladder.borne, asked


@pytest.mark.parametrize("begin", [1, 20, 90, 100, 101, 400])
def test_what_is_found_is_borne_and_nearly_the_most(begin: int) -> None:
    found, asked = climbed(100, begin)
    assert 95 <= found <= 100
    assert found in asked


def test_no_more_trials_are_made_than_allowed() -> None:
    found, asked = climbed(1000, 10, trials=3)
    assert found == max(asked)
    assert len(asked) == 3


def test_no_load_is_tried_twice() -> None:
    _, asked = climbed(7, 3)
    assert len(asked) == len(set(asked))


def test_a_service_that_bears_not_even_one_device_has_0() -> None:
    assert climbed(0, 8) == (0, [8, 4, 2, 1])


def test_a_begin_of_0_is_one_device() -> None:
    assert climbed(1, 0, trials=5)[0] == 1
