"""Whose turn it is, of several addresses: by lot, round, and with a back-off for each."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import ConfigError
from isthmus_edge.stream.addresses import (
    BACKOFF_S,
    FORGOTTEN_S,
    LOOK_UP_S,
    SPENT_LOOK_UP_S,
    Address,
    Addresses,
    LookUp,
    Target,
    Try,
    Wait,
    targets_of,
)

A, B, C = (Address(f"10.0.0.{n}", 50051, f"10.0.0.{n}") for n in (1, 2, 3))
NAME = Target("cloud.example", 50051)
PODS = ("10.1.0.1", "10.1.0.2", "10.1.0.3")


def known(*addresses: Address, seed: int = 1) -> Addresses:
    return Addresses((), Random(seed), addresses)


def named(*ips: str, seed: int = 1) -> Addresses:
    """A name that was looked up at time 0."""
    addresses = Addresses((NAME,), Random(seed))
    assert addresses.turn(0.0) == LookUp((NAME,))
    addresses.learn(NAME, ips, 0.0)
    return addresses


def tried(addresses: Addresses, now: float) -> Address:
    turn = addresses.turn(now)
    assert isinstance(turn, Try)
    return turn.address


@pytest.mark.parametrize(
    ("cloud", "targets"),
    [
        ("127.0.0.1:1", [("127.0.0.1", 1)]),
        ("a:50051, b:50052", [("a", 50051), ("b", 50052)]),
        (("a:1", "b:2"), [("a", 1), ("b", 2)]),
        (["a:1,b:2", "a:1"], [("a", 1), ("b", 2)]),
        ("[::1]:7", [("::1", 7)]),
        ("dns:isthmus.default.svc:50051", [("isthmus.default.svc", 50051)]),
        ("dns:///isthmus:50051", [("isthmus", 50051)]),
    ],
)
def test_what_cloud_names(cloud: str | list[str], targets: list[tuple[str, int]]) -> None:
    assert [(each.host, each.port) for each in targets_of(cloud)] == targets


@pytest.mark.parametrize(
    "cloud", ["", "a", "a:", ":1", "a:0", "a:65536", "a:1,", "a:1,,b:1", "a:²", "unix:/x:1", []]
)
def test_what_names_no_place_is_refused_with_the_way_out(cloud: str | list[str]) -> None:
    with pytest.raises(ConfigError, match="use HOST:PORT"):
        targets_of(cloud)


def test_an_address_is_told_as_it_can_be_given_again() -> None:
    assert str(Address("::1", 7, "a")) == "[::1]:7"
    assert [str(target) for target in targets_of("[::1]:7,a:8")] == ["[::1]:7", "a:8"]


def test_an_ip_address_is_not_looked_up_and_a_name_is() -> None:
    assert tried(Addresses(targets_of("10.0.0.1:50051"), Random(1)), 0.0) == A
    assert Addresses(targets_of("localhost:1"), Random(1)).turn(0.0) == LookUp(
        (Target("localhost", 1),)
    )


def test_many_devices_spread_over_all_addresses() -> None:
    first = Counter(tried(known(A, B, C, seed=seed), 0.0) for seed in range(300))
    assert set(first) == {A, B, C}
    assert min(first.values()) > 60


def test_in_order_the_first_that_was_named_and_answers_is_the_one() -> None:
    for seed in range(20):
        addresses = Addresses(targets_of(f"{C},{A},{B}"), Random(seed), in_order=True)
        assert tried(addresses, 0.0) == C
        addresses.failed(C, 0.0)
        assert [tried(addresses, 0.0), tried(addresses, 1.0)] == [A, A]  # it stays there …
        addresses.failed(A, 2.0)
        assert tried(addresses, 2.0) == B
        addresses.failed(B, FORGOTTEN_S)
        assert tried(addresses, FORGOTTEN_S) == C  # … until it fails, and begins above then


def test_in_order_where_all_have_failed_each_has_its_turn() -> None:
    addresses = Addresses(targets_of(f"{A},{B},{C}"), Random(1), in_order=True)
    for address in (A, B, C):
        addresses.failed(address, 0.0)
    assert {tried(addresses, BACKOFF_S[1]) for _ in range(3)} == {A, B, C}


def test_in_order_the_addresses_of_one_name_are_taken_by_lot() -> None:
    """A name has no order, and all devices would be at the same one."""
    first: Counter[str] = Counter()
    for seed in range(300):
        addresses = Addresses((NAME, Target(A.ip, A.port)), Random(seed), in_order=True)
        assert addresses.turn(0.0) == LookUp((NAME,))
        addresses.learn(NAME, PODS, 0.0)
        first[tried(addresses, 0.0).ip] += 1
    assert set(first) == set(PODS)
    assert min(first.values()) > 60


def test_many_devices_of_a_dead_replica_spread_over_the_others() -> None:
    """Else its next neighbour would get all of them."""
    second: Counter[Address] = Counter()
    for seed in range(300):
        addresses = known(A, B, C, seed=seed)
        while tried(addresses, 0.0) != A:
            pass
        addresses.failed(A, 0.0)
        second[tried(addresses, 0.0)] += 1
    assert set(second) == {B, C}
    assert min(second.values()) > 90


def test_who_loses_one_goes_on_to_the_next_at_once_and_round() -> None:
    addresses = known(A, B, C)
    seen = []
    for _ in range(3):
        seen.append(tried(addresses, 0.0))
        addresses.worked(seen[-1])
        addresses.failed(seen[-1], 0.0)
    assert set(seen) == {A, B, C}


def test_one_address_alone_is_tried_again_with_a_growing_back_off() -> None:
    addresses, now, waits = known(A), 0.0, []
    for _ in range(8):
        assert tried(addresses, now) == A
        addresses.failed(A, now)
        turn = addresses.turn(now)
        assert isinstance(turn, Wait)
        waits.append(turn.seconds)
        now += turn.seconds
    least, most = BACKOFF_S
    longest = [min(least * 2.0**n, most) for n in range(1, 9)]
    assert all(limit / 2 <= waited <= limit for waited, limit in zip(waits, longest, strict=True))


def test_a_welcome_makes_failures_forgotten() -> None:
    addresses = known(A)
    for _ in range(9):
        addresses.failed(A, 0.0)
    addresses.worked(A)
    assert tried(addresses, 0.0) == A
    addresses.failed(A, 0.0)
    turn = addresses.turn(0.0)
    assert isinstance(turn, Wait)
    assert turn.seconds <= 2 * BACKOFF_S[0]


def test_who_asks_to_be_left_alone_is_and_the_others_are_not() -> None:
    addresses = known(A, B)
    addresses.failed(A, 0.0, least_s=10.0)
    addresses.failed(B, 0.0)
    assert {tried(addresses, 9.0), tried(addresses, 9.5)} == {B}
    addresses.failed(B, 9.5, least_s=10.0)
    assert tried(addresses, 10.0) == A


def test_whether_another_one_is_left_to_be_tried_in_this_round() -> None:
    addresses = known(A, B)
    addresses.failed(A, 0.0)
    assert addresses.has_fresh(0.0)
    addresses.failed(B, 0.0)
    assert not addresses.has_fresh(BACKOFF_S[1])  # they may be tried, but nothing good is known
    assert addresses.is_ready(BACKOFF_S[1])
    assert addresses.has_fresh(FORGOTTEN_S)


def test_a_name_is_looked_up_again_beside_the_next_try_and_not_too_often() -> None:
    addresses = named(*PODS)
    lost = tried(addresses, 0.0)
    addresses.failed(lost, LOOK_UP_S - 1)
    assert addresses_meanwhile(addresses, LOOK_UP_S - 1) == ()
    assert addresses_meanwhile(addresses, LOOK_UP_S) == (NAME,)


def test_a_name_is_not_looked_up_while_nothing_fails() -> None:
    assert addresses_meanwhile(named(*PODS), 1e6) == ()


def addresses_meanwhile(addresses: Addresses, now: float) -> tuple[Target, ...]:
    turn = addresses.turn(now)
    assert isinstance(turn, Try)
    return turn.meanwhile


def test_when_all_have_failed_the_name_is_looked_up_before_they_are_tried_again() -> None:
    addresses = named(*PODS)
    for _ in PODS:
        addresses.failed(tried(addresses, 0.0), 0.0)
    soon = SPENT_LOOK_UP_S - 0.1
    assert isinstance(addresses.turn(soon), Try)
    assert addresses.turn(SPENT_LOOK_UP_S) == LookUp((NAME,))
    addresses.learn(NAME, ["10.1.0.9"], SPENT_LOOK_UP_S)
    assert tried(addresses, SPENT_LOOK_UP_S).ip == "10.1.0.9"


def test_what_a_name_still_stands_for_keeps_its_back_off_and_the_rest_is_forgotten() -> None:
    addresses = named(*PODS[:2])
    lost, kept = tried(addresses, 0.0), None
    addresses.failed(lost, 0.0, least_s=60.0)
    addresses.learn(NAME, [lost.ip, PODS[2]], 1.0)
    for now in (1.0, 2.0):
        kept = tried(addresses, now)
        assert kept.ip == PODS[2]
    assert kept is not None
    assert kept.name == NAME.host  # whom its certificate must be for


def test_a_name_that_is_not_known_is_asked_for_again_after_a_back_off() -> None:
    addresses = Addresses((NAME,), Random(1))
    now = 0.0
    for _ in range(6):
        assert addresses.turn(now) == LookUp((NAME,))
        addresses.not_found(NAME, now)
        turn = addresses.turn(now)
        assert isinstance(turn, Wait)
        assert 0 < turn.seconds <= BACKOFF_S[1]
        now += turn.seconds


def test_what_a_name_stood_for_counts_while_no_name_server_answers() -> None:
    addresses = named(PODS[0])
    addresses.failed(tried(addresses, 0.0), 0.0)
    assert addresses.turn(SPENT_LOOK_UP_S) == LookUp((NAME,))
    addresses.not_found(NAME, SPENT_LOOK_UP_S)
    assert tried(addresses, SPENT_LOOK_UP_S).ip == PODS[0]


def test_the_systems_favourite_family_goes_first() -> None:
    """An IPv6 that leads nowhere costs seconds: who has both is asked over the preferred one."""
    for seed in range(20):
        addresses = named("10.1.0.1", "fd00::1", "10.1.0.2", "fd00::2", seed=seed)
        first = tried(addresses, 0.0)
        addresses.failed(first, 0.0)
        second = tried(addresses, 0.0)
        addresses.failed(second, 0.0)
        assert {first.ip, second.ip} == {"10.1.0.1", "10.1.0.2"}
        assert tried(addresses, 0.0).ip in {"fd00::1", "fd00::2"}


def test_another_one_to_look_at_is_drawn_by_lot_from_those_of_which_nothing_bad_is_known() -> None:
    drawn = Counter(known(A, B, C, seed=seed).other(A, 0.0) for seed in range(200))
    assert set(drawn) == {B, C}
    assert min(drawn.values()) > 60
    addresses = known(A, B, C)
    addresses.failed(B, 0.0)
    assert {addresses.other(A, FORGOTTEN_S - 1) for _ in range(20)} == {C}
    assert {addresses.other(A, FORGOTTEN_S) for _ in range(20)} == {B, C}


def test_there_is_no_other_one_where_one_is_known() -> None:
    assert known(A).other(A, 0.0) is None
    addresses = known(A, B)
    addresses.failed(B, 0.0)
    assert addresses.other(A, 1.0) is None


def test_another_family_of_the_same_name_may_be_the_same_service() -> None:
    """A name like localhost: the other address is worth no look, and the preferred one is."""
    addresses = named("10.1.0.1", "fd00::1")
    preferred, other = (Address(ip, 50051, NAME.host) for ip in ("10.1.0.1", "fd00::1"))
    assert addresses.other(preferred, 0.0) is None
    assert addresses.other(other, 0.0) == preferred


def test_a_place_that_its_name_has_given_up_is_still_one_to_look_from() -> None:
    addresses = named(PODS[0])
    gone = tried(addresses, 0.0)
    addresses.learn(NAME, PODS[1:2], 1.0)
    other = addresses.other(gone, 1.0)
    assert other is not None
    assert other.ip == PODS[1]


def test_the_one_that_is_preferred_has_the_next_turn_and_only_that() -> None:
    for preferred in (A, B, C):
        addresses = known(A, B, C)
        addresses.prefer(preferred)
        assert tried(addresses, 0.0) == preferred
        assert {tried(addresses, 0.0) for _ in range(2)} == {A, B, C} - {preferred}


def test_what_speaks_against_the_preferred_one_speaks_on() -> None:
    addresses = known(A, B)
    addresses.failed(A, 0.0)
    addresses.prefer(A)
    assert tried(addresses, 0.0) == B


def test_names_are_due_again_after_a_while_though_nothing_has_failed() -> None:
    addresses = named(*PODS)
    assert addresses.due(LOOK_UP_S - 1) == ()
    assert addresses.due(LOOK_UP_S) == (NAME,)
    assert known(A).due(1e6) == ()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["works", "fails", "wants rest", "not found", "moves"]),
        st.floats(0.0, 40.0),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(STEPS, st.integers(0, 99))
def test_there_is_always_something_to_do_in_good_time(
    steps: list[tuple[str, float]], seed: int
) -> None:
    """Never two commands in vain at one time, never a wait for ever, never who asked for rest."""
    addresses, now = Addresses((NAME, Target("10.0.0.1", 1)), Random(seed)), 100.0
    resting: dict[Address, float] = {}
    ips = list(PODS)
    for what, step_s in steps:
        match addresses.turn(now):
            case LookUp(targets):
                for target in targets:
                    if what == "not found":
                        addresses.not_found(target, now)
                    else:
                        addresses.learn(target, ips, now)
                assert not isinstance(addresses.turn(now), LookUp)
            case Try(address):
                assert now >= resting.get(address, 0.0)
                assert address.ip in {*PODS, "10.0.0.1"}
                least_s = 20.0 if what == "wants rest" else 0.0
                if what == "works":
                    addresses.worked(address)
                else:
                    addresses.failed(address, now, least_s)
                    resting[address] = now + least_s
            case Wait(seconds):
                assert 0 < seconds <= 20.0
                now += seconds
                assert not isinstance(addresses.turn(now), Wait)
        if what == "moves":
            ips = ips[1:] + ips[:1] if len(ips) > 1 else list(PODS)
            ips = ips[:2] or list(PODS)
            now += step_s
