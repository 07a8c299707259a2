"""When devices look that have lost their service all at once: loads and times are made up here."""

from collections import Counter
from collections.abc import Iterable, Iterator
from random import Random

import pytest
from tests.edge.stream.test_balance import connected

from isthmus_edge.stream.balance import (
    FIRST_LOOK_S,
    LEAST_REST_S,
    MOST_REST_S,
    PRESSED_S,
    SPREAD_S,
    Balance,
    Load,
)

DEVICES = 1000
LOST_S = 2 * MOST_REST_S  # when the service is lost: all have found their rest by then
STEP_S = 0.5


def at_rest(seed: int, devices: int = DEVICES // 2) -> Balance:
    """Of a device that has long been where it is, one of so many, and found nothing better."""
    random = Random(seed)
    balance, now = Balance(random), random.uniform(0.0, MOST_REST_S / 2)
    balance.connected(now, moved=False)
    while now < LOST_S:
        balance.told(Load(0.0, devices), now)
        if balance.is_due(now):
            balance.looks(now)
            balance.saw_none(now)
        now += 2.0
    return balance


def looking(balances: Iterable[Balance], queue_ms: float, until_s: float) -> Iterator[int]:
    """The seconds after the loss in which one of them looks, with twice the devices there."""
    for balance in balances:
        for turn in range(1, round(until_s / STEP_S)):
            now = LOST_S + turn * STEP_S
            balance.told(Load(queue_ms, DEVICES), now)
            if balance.is_due(now):
                balance.looks(now)
                balance.saw_none(now)
                yield int(now - LOST_S)


@pytest.mark.parametrize("queue_ms", [0.0, 200.0])
def test_a_thousand_devices_that_lose_their_service_do_not_look_at_once(queue_ms: float) -> None:
    balances = [at_rest(seed) for seed in range(DEVICES)]
    for balance in balances:
        balance.connected(LOST_S, moved=False)
    found = Counter(looking(balances, queue_ms, 2 * SPREAD_S))
    assert max(found.values()) < 0.08 * DEVICES
    assert sum(found[second] for second in range(round(SPREAD_S) + 1)) >= DEVICES  # all have


@pytest.mark.parametrize("queue_ms", [0.0, 200.0])
def test_nor_do_the_thousand_to_which_they_come(queue_ms: float) -> None:
    """They see it all at one moment: twice the devices, and perhaps a queue."""
    found = Counter(looking(map(at_rest, range(DEVICES)), queue_ms, 2 * SPREAD_S))
    assert max(found.values()) < 0.12 * DEVICES
    assert sum(found[second] for second in range(round(SPREAD_S) + 1)) >= DEVICES


def first_look_s(balance: Balance, load: Load) -> float:
    """How long after the loss, to half a second."""
    turn = 0
    while not balance.is_due(LOST_S + turn * STEP_S):
        balance.told(load, LOST_S + turn * STEP_S)
        turn += 1
    return turn * STEP_S


def lost(seed: int) -> Balance:
    balance = at_rest(seed)
    balance.connected(LOST_S, moved=False)
    return balance


def test_when_a_device_looks_after_a_loss_is_its_own_lot() -> None:
    one, same, other = (first_look_s(lost(seed), Load(0.0, DEVICES)) for seed in (1, 1, 2))
    assert one == same != other


def test_no_queue_brings_the_look_after_a_loss_nearer() -> None:
    latest_s = max(first_look_s(lost(seed), Load(200.0, 5)) for seed in range(20))
    assert PRESSED_S + LEAST_REST_S < SPREAD_S / 2 < latest_s


@pytest.mark.parametrize("load", [Load(0.0, 20), Load(200.0, 10)])
def test_where_few_devices_are_they_look_as_soon_as_they_see_a_reason(load: Load) -> None:
    for seed in range(20):
        assert first_look_s(at_rest(seed, 10), load) <= PRESSED_S + LEAST_REST_S + 2 * STEP_S


def test_the_first_stream_of_a_device_is_nobodys_loss() -> None:
    assert connected().is_due(FIRST_LOOK_S[1])
