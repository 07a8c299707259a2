"""When a device looks at another service and when it moves: loads and times are made up here."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from isthmus_edge.stream.balance import (
    FIRST_LOOK_S,
    LEAST_REST_S,
    MOST_REST_S,
    PRESSED_MS,
    PRESSED_REST_S,
    PRESSED_S,
    SPREAD_S,
    Balance,
    Better,
    Load,
    better,
)

QUEUES = st.floats(0.0, 1e4)
STREAMS = st.integers(1, 2000)


class Lot(Random):
    """A lot that always falls like this."""

    def __init__(self, share: float) -> None:
        super().__init__(0)
        self._share = share

    def random(self) -> float:
        return self._share

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self._share


def connected(random: Random | None = None, *, moved: bool = False) -> Balance:
    """At time 0, and its service says that it has no queue."""
    balance = Balance(random or Random(1))
    balance.connected(0.0, moved=moved)
    return balance


def looks(balance: Balance, until_s: float, step_s: float = 0.1) -> list[float]:
    """When it looks if no look ever shows anything better."""
    found = []
    for turn in range(round(until_s / step_s)):
        now = turn * step_s
        if balance.is_due(now):
            balance.looks(now)
            balance.saw_none(now)
            found.append(now)
    return found


@pytest.mark.parametrize(
    ("own", "other", "is_better"),
    [
        (Load(130.0, 10), Load(20.0, 5), True),
        (Load(130.0, 10), Load(70.0, 5), False),  # not half
        (Load(12.0, 10), Load(2.5, 12), False),  # not by more than 10 ms
        (Load(120.0, 1), Load(0.0, 1), False),  # the queue is this device's own, and would go along
        (Load(240.0, 2), Load(0.0, 1), True),
        (Load(240.0, 2), Load(110.0, 2), False),  # the two would only change roles
        (Load(130.0), Load(20.0), True),  # nobody says how many there are
        (Load(0.0, 2), Load(0.0, 1), True),  # 2 and 0 become 1 and 1
        (Load(0.0, 2), Load(0.0, 2), False),  # 2 and 1 are as even as can be
        (Load(0.0, 6), Load(0.0, 5), False),  # 6 and 4 are even enough
        (Load(0.0, 100), Load(0.0, 80), True),
        (Load(0.0, 100), Load(0.0, 81), False),
        (Load(0.0, 100), Load(25.0, 3), False),  # few, but heavy ones
        (Load(15.0, 50), Load(9.0, 3), True),
        (Load(0.0, 100), Load(0.0, 0), False),  # a service that does not say
        (Load(0.0, 0), Load(0.0, 1), False),
    ],
)
def test_what_is_clearly_less_loaded(own: Load, other: Load, is_better: bool) -> None:
    assert (better(own, other) is not None) == is_better


def test_why_another_one_is_better_is_said_in_its_words() -> None:
    queues = better(Load(130.0, 10), Load(20.0, 5))
    streams = better(Load(0.0, 40), Load(0.0, 11))
    assert queues == Better(110 / 260, "frames wait 130 ms here, 20 ms there")
    assert streams == Better(30 / 80, "40 devices are here, 10 there")


@given(STREAMS, STREAMS)
def test_who_moves_for_the_number_of_devices_makes_it_more_even(own: int, other: int) -> None:
    found = better(Load(0.0, own), Load(0.0, other))
    assume(found is not None)
    assert found is not None
    assert other < own  # what would be there, and is here now
    assert better(Load(0.0, other), Load(0.0, own)) is None  # no way back
    after_own, after_other = own * (1 - found.share), (other - 1) + own * found.share
    assert after_own == pytest.approx(after_other)  # where all who are here look at one time


@given(QUEUES, QUEUES, STREAMS, STREAMS)
def test_a_share_is_a_probability_and_no_more_than_half_leave_at_a_time(
    own_ms: float, other_ms: float, own: int, other: int
) -> None:
    found = better(Load(own_ms, own), Load(other_ms, other))
    assume(found is not None)
    assert found is not None
    assert 0 < found.share <= 0.5


@given(QUEUES, QUEUES, STREAMS, STREAMS)
def test_two_services_are_never_each_better_than_the_other(
    one_ms: float, two_ms: float, one: int, two: int
) -> None:
    here, there = Load(one_ms, one), Load(two_ms, two)
    assert better(here, there) is None or better(there, here) is None


def test_the_first_look_is_soon_and_the_next_ones_are_rarer_and_rarer() -> None:
    at = looks(connected(), 3600.0)
    assert FIRST_LOOK_S[0] <= at[0] <= FIRST_LOOK_S[1] + 0.1
    assert len([each for each in at if each < 60]) <= 6
    rests = [after - before for before, after in pairwise(at[6:])]
    assert min(rests) >= MOST_REST_S / 2 - 0.2
    assert max(rests) <= MOST_REST_S * 1.5 + 0.2


def test_devices_that_connect_at_one_time_do_not_look_in_step() -> None:
    turns = Counter(round(looks(connected(Random(seed)), 90.0)[3]) for seed in range(200))
    assert max(turns.values()) < 20


def test_a_queue_that_stays_long_brings_the_next_look_near() -> None:
    balance = connected()
    looks(balance, 1000.0)
    for turn in range(30):
        balance.told(Load(PRESSED_MS + 1, 5), 1000.0 + turn / 10)
    assert balance.is_due(1000.0 + PRESSED_S + LEAST_REST_S + 0.1)


def test_a_queue_that_is_long_for_a_moment_does_not() -> None:
    balance = connected()
    last = looks(balance, 1000.0)[-1]
    for turn in range(100):
        long = turn % 10 > 0
        balance.told(Load(PRESSED_MS + 1 if long else 0.0, 5), 1000.0 + turn / 10)
    assert not balance.is_due(max(1010.0, last + MOST_REST_S / 2 - 1))


def test_under_a_queue_that_does_not_go_looks_become_rarer_too() -> None:
    balance = connected()
    found = []
    for turn in range(6000):
        now = turn / 10
        balance.told(Load(500.0, 5), now)
        if balance.is_due(now):
            balance.looks(now)
            assert balance.saw(Load(500.0, 5), now) is None
            found.append(now)
    rests = [after - before for before, after in pairwise(found)]
    assert rests[0] >= LEAST_REST_S / 2
    assert max(rests) <= PRESSED_REST_S * 1.5 + 0.2
    assert len(found) <= 30


def test_many_more_devices_at_the_own_service_are_a_reason_to_look() -> None:
    balance = connected()
    balance.told(Load(0.0, 10), 1.0)
    looks(balance, 1000.0)
    balance.told(Load(0.0, 14), 1000.0)
    assert not balance.is_due(1000.0 + 2 * LEAST_REST_S)
    balance.told(Load(0.0, 30), 1010.0)
    assert balance.is_due(1010.0 + LEAST_REST_S)


def test_the_queue_that_counts_is_the_shortest_of_late() -> None:
    balance = connected(Lot(0.0))
    for at, queue_ms in ((0.0, 0.0), (1.0, 200.0), (2.5, 150.0)):
        balance.told(Load(queue_ms, 5), at)
    assert balance.saw(Load(0.0, 5), 2.5) is not None  # of the last two seconds: 150 ms
    balance.told(Load(3.0, 5), 3.0)
    assert balance.saw(Load(0.0, 5), 3.0) is None
    balance.told(Load(150.0, 5), 4.0)
    assert balance.saw(Load(0.0, 5), 9.0) is None  # what was told long ago says nothing


def test_who_sees_a_better_place_moves_by_lot_and_else_looks_again_without_a_longer_rest() -> None:
    loses, wins = connected(Lot(0.99)), connected(Lot(0.0))
    for balance in (loses, wins):
        balance.told(Load(0.0, 100), 0.0)
        balance.looks(10.0)
    assert wins.saw(Load(0.0, 1), 10.0) is not None
    assert loses.saw(Load(0.0, 1), 10.0) is None
    assert loses.is_due(10.0 + LEAST_REST_S * 1.5)


def test_who_has_moved_rests_the_longer_the_more_often_it_did() -> None:
    balance = connected(Lot(0.5))
    rests = []
    for turn in range(9):
        now = 1000.0 * turn
        balance.connected(now, moved=True)
        rests.append(next(s for s in range(1, 1000) if balance.is_due(now + s)))
        balance.looks(now + rests[-1])
    assert rests == sorted(rests)
    assert rests[0] > LEAST_REST_S
    assert rests[-1] == MOST_REST_S
    balance.saw(Load(0.0, 5), 9000.0)  # nothing better: it has found its place
    balance.connected(10_000.0, moved=False)
    assert balance.is_due(10_000.0 + SPREAD_S)


def test_a_link_that_flaps_makes_no_look_of_every_stream() -> None:
    balance, found = connected(), []
    for turn in range(600):
        now = turn / 10
        if turn % 30 == 0:
            balance.connected(now, moved=False)
        if balance.is_due(now):
            balance.looks(now)
            balance.saw_none(now)
            found.append(now)
    rests = [after - before for before, after in pairwise(found)]
    assert min(rests) >= LEAST_REST_S - 0.2


@dataclass(slots=True)
class Member:
    """One device of a fleet; while it moves, nobody has it."""

    policy: Balance
    at: int
    moves: int = 0


class Fleet:
    """Devices at services, whose loads follow; a look shows the loads of a step before."""

    def __init__(self, places: Sequence[int], seed: int = 1) -> None:
        self.random = Random(seed)
        self.members = [Member(Balance(Random(seed + 1 + n)), at) for n, at in enumerate(places)]
        self.services = sorted(set(places))
        self.now = 0.0
        self.looks = 0
        for member in self.members:
            member.policy.connected(0.0, moved=False)

    @property
    def counts(self) -> list[int]:
        count = Counter(member.at for member in self.members)
        return [count[service] for service in self.services]

    @property
    def moves(self) -> int:
        return sum(member.moves for member in self.members)

    def live(self, seconds: float, queue_ms: Callable[[int], float] = lambda _: 0.0) -> None:
        """A word every second; `queue_ms` is that of a service with so many devices."""
        for _ in range(round(seconds)):
            self.now += 1.0
            loads = dict(zip(self.services, self.counts, strict=True))
            for member in self.members:
                self.step(member, loads, queue_ms)

    def step(self, member: Member, loads: dict[int, int], queue_ms: Callable[[int], float]) -> None:
        own = loads[member.at]
        member.policy.told(Load(queue_ms(own), own), self.now)
        if not member.policy.is_due(self.now) or len(self.services) < 2:
            return
        self.looks += 1
        member.policy.looks(self.now)
        there = self.random.choice([each for each in self.services if each != member.at])
        if member.policy.saw(Load(queue_ms(loads[there]), loads[there] + 1), self.now):
            member.at, member.moves = there, member.moves + 1
            member.policy.connected(self.now, moved=True)


def spread(counts: Sequence[int]) -> float:
    """The most loaded over the mean."""
    return max(counts) * len(counts) / sum(counts)


@pytest.mark.parametrize("seed", range(2))
def test_a_fleet_that_came_to_one_of_three_services_spreads_and_then_stays(seed: int) -> None:
    fleet = Fleet([0] * 200, seed)
    fleet.services = [0, 1, 2]
    fleet.live(120.0)
    assert spread(fleet.counts) < 1.2
    assert fleet.moves < 200  # most that move do so once
    moves = fleet.moves
    fleet.live(900.0)
    assert fleet.moves - moves <= 4


def test_a_fleet_that_the_lot_has_spread_does_not_move() -> None:
    random = Random(5)
    fleet = Fleet([random.randrange(3) for _ in range(200)])
    before = fleet.counts
    fleet.live(600.0)
    assert spread(before) < 1.25
    assert fleet.moves <= 12


@pytest.mark.parametrize("seed", range(2))
def test_a_new_service_gets_its_share_though_nobody_waits_anywhere(seed: int) -> None:
    fleet = Fleet([0, 1] * 50, seed)
    fleet.live(600.0)
    moves = fleet.moves
    fleet.services = [0, 1, 2]
    fleet.live(900.0)
    assert spread(fleet.counts) < 1.25
    assert fleet.moves - moves < 80


@pytest.mark.parametrize("seed", range(2))
def test_a_new_service_gets_its_share_within_a_minute_of_one_whose_queue_is_long(
    seed: int,
) -> None:
    fleet = Fleet([0] * 60, seed)
    fleet.live(1000.0)

    def queue_ms(devices: int) -> float:
        return max(0.0, devices - 25) * 20.0

    fleet.services = [0, 1]
    fleet.live(60.0, queue_ms)
    assert max(fleet.counts) <= 36
    assert fleet.moves < 50


def test_who_keeps_a_service_busy_alone_does_not_wander() -> None:
    fleet = Fleet([0, 1, 2])
    fleet.live(600.0, lambda devices: 120.0 * devices)
    assert fleet.moves == 0


def test_devices_that_are_heavy_spread_and_do_not_swap_for_ever() -> None:
    fleet = Fleet([0] * 6)
    fleet.services = [0, 1, 2]
    fleet.live(300.0, lambda devices: 120.0 * devices)
    assert fleet.counts == [2, 2, 2]
    moves = fleet.moves
    fleet.live(900.0, lambda devices: 120.0 * devices)
    assert fleet.moves == moves


def test_queues_that_waver_make_few_devices_wander() -> None:
    random = Random(2)
    fleet = Fleet([0, 1, 2] * 10)
    fleet.live(600.0, lambda devices: 20.0 * devices * random.lognormvariate(-0.25, 0.7))
    assert fleet.moves < 30  # 6 a device and hour
    assert fleet.looks < 30 * 600 / PRESSED_REST_S * 1.5
    assert spread(fleet.counts) < 1.5


def test_a_queue_that_comes_and_goes_is_a_reason_to_look_only_once() -> None:
    balance, found = connected(), []
    for turn in range(3000):
        now = turn / 10
        balance.told(Load(0.0 if turn % 50 == 0 else 100.0, 1), now)
        if balance.is_due(now):
            balance.looks(now)
            balance.saw_none(now)
            found.append(now)
    assert min(after - before for before, after in pairwise(found[5:])) >= PRESSED_REST_S / 2 - 0.2


def test_a_quiet_fleet_looks_rarely() -> None:
    fleet = Fleet([0, 1] * 20)
    fleet.live(600.0)
    before = fleet.looks
    fleet.live(3000.0)
    assert fleet.looks - before <= 40 * 3000 / MOST_REST_S * 1.3
