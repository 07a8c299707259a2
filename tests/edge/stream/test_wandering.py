"""How often devices move where services change all the time, or say what is not so."""

from collections.abc import Callable
from random import Random

from isthmus_edge.stream.balance import Balance, Load


def moves_in_an_hour(seen: Callable[[int, int, bool], Load]) -> int:
    """Of ten devices between two services; `seen` by a device at one of them, at a time: the load
    of its own service, or of the other one."""
    moves = 0
    for seed in range(10):
        balance, at = Balance(Random(seed)), 0
        balance.connected(0.0, moved=False)
        for now in range(3600):
            balance.told(seen(at, now, True), now)
            if balance.is_due(now):
                balance.looks(now)
                if balance.saw(seen(at, now, False), now):
                    moves, at = moves + 1, 1 - at
                    balance.connected(now, moved=True)
    return moves


def test_services_that_take_turns_are_followed_less_than_once_a_minute() -> None:
    def seen(at: int, now: int, is_own: bool) -> Load:
        has_queue = (at == now // 60 % 2) == is_own
        return Load(60.0 if has_queue else 0.0, 10)

    assert 10 * 10 < moves_in_an_hour(seen) < 10 * 60


def test_services_that_seem_empty_only_from_outside_make_few_devices_wander() -> None:
    """Who looks is told that nobody is there, who stays that all are."""
    assert 0 < moves_in_an_hour(lambda _, __, is_own: Load(0.0, 1000 if is_own else 1)) < 10 * 20
