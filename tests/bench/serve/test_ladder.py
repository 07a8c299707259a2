"""The search for the greatest load."""

import pytest

from isthmus_bench.serve.ladder import greatest


class Service:
    """Bears so many devices, and remembers what it was asked to."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.asked: list[int] = []

    def bears(self, devices: int) -> bool:
        self.asked.append(devices)
        return devices <= self._most


@pytest.mark.parametrize("begin", [1, 20, 90, 100, 101, 400])
def test_what_is_found_is_borne_and_nearly_the_most(begin: int) -> None:
    service = Service(100)
    found = greatest(service.bears, begin, trials=20)
    assert 92 <= found <= 100
    assert found in service.asked


def test_no_more_trials_are_made_than_allowed() -> None:
    service = Service(1000)
    assert greatest(service.bears, 10, trials=3) == max(service.asked)
    assert len(service.asked) == 3


def test_no_load_is_tried_twice() -> None:
    service = Service(7)
    greatest(service.bears, 3, trials=20)
    assert len(service.asked) == len(set(service.asked))


def test_a_service_that_bears_not_even_one_device_has_0() -> None:
    service = Service(0)
    assert greatest(service.bears, 8, trials=20) == 0
    assert service.asked == [8, 4, 2, 1]


def test_a_begin_of_0_is_one_device() -> None:
    service = Service(1)
    assert greatest(service.bears, 0, trials=5) == 1
