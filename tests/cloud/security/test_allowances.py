"""Streams, frames in flight and frames per second of an identity, by the test's own clock."""

import pytest

from isthmus_cloud.security.allowances import Allowances, Bucket
from isthmus_cloud.security.identity import DeniedError, Identity


class Clock:
    """Seconds as the test says."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def allowances(clock: Clock) -> Allowances:
    return Allowances(clock)


def taken(bucket: Bucket, rate_per_s: float, now_s: float) -> int:
    """How many it gives at this moment."""
    count = 0
    while bucket.take(rate_per_s, now_s) == 0:
        count += 1
    return count


def test_a_bucket_gives_a_second_of_its_rate_at_once_and_then_the_rate() -> None:
    bucket = Bucket(10, 0)
    assert taken(bucket, 10, 0) == 10
    assert taken(bucket, 10, 0.55) == 5
    assert taken(bucket, 10, 100) == 10


def test_a_slow_rate_gives_one_at_a_time() -> None:
    bucket = Bucket(0.5, 0)
    assert [taken(bucket, 0.5, now_s) for now_s in (0, 1, 2, 100)] == [1, 0, 1, 1]


def test_a_bucket_says_when_there_is_one_more() -> None:
    bucket = Bucket(4, 0)
    assert taken(bucket, 4, 0) == 4
    wait_s = bucket.take(4, 0.1)
    assert wait_s == pytest.approx(0.15)
    assert bucket.take(4, 0.1 + wait_s - 0.001) > 0
    assert bucket.take(4, 0.1 + wait_s + 0.001) == 0


def test_a_clock_that_jumps_back_gives_nothing_and_takes_nothing() -> None:
    bucket = Bucket(10, 1000)
    assert taken(bucket, 10, 1000) == 10
    assert taken(bucket, 10, 1) == 0
    assert taken(bucket, 10, 1.5) == 5
    assert taken(bucket, 10, 1001) == 10


def test_another_rate_gives_back_nothing_of_what_was_taken() -> None:
    bucket = Bucket(10, 0)
    assert taken(bucket, 10, 0) == 10
    assert [taken(bucket, rate, 0) for rate in (5, 10, 100)] == [0, 0, 0]
    assert taken(bucket, 100, 0.1) == 10


def test_streams_are_counted_over_all_of_an_identity(allowances: Allowances) -> None:
    one, other = Identity(name="one", max_streams=2), Identity(name="other", max_streams=1)
    for identity in (one, one, other):
        allowances.stream(identity)
    with pytest.raises(DeniedError, match="one has 2 streams open") as denied:
        allowances.stream(one)
    assert (denied.value.why, denied.value.identity) == ("streams", "one")
    assert denied.value.retry_after_s
    allowances.stream_ended(one)
    allowances.stream(one)


def test_frames_in_flight_are_counted_until_they_end(allowances: Allowances) -> None:
    identity = Identity(name="one", max_in_flight=2)
    allowances.stream(identity)
    allowances.frame(identity)
    allowances.frame(identity)
    with pytest.raises(DeniedError, match="2 frames in flight") as denied:
        allowances.frame(identity)
    assert denied.value.why == "in_flight"
    allowances.frame_ended(identity)
    allowances.frame(identity)


def test_a_frame_that_was_refused_counts_for_nothing(allowances: Allowances, clock: Clock) -> None:
    identity = Identity(name="one", max_in_flight=1, max_frames_per_s=2)
    allowances.frame(identity)
    for _ in range(5):
        with pytest.raises(DeniedError, match="in flight"):
            allowances.frame(identity)
    allowances.frame_ended(identity)
    allowances.frame(identity)
    allowances.frame_ended(identity)
    with pytest.raises(DeniedError, match="2 frames a second") as denied:
        allowances.frame(identity)
    assert denied.value.why == "rate"
    assert denied.value.retry_after_s == pytest.approx(0.5)
    clock.now_s += 0.5
    allowances.frame(identity)


def test_the_rate_outlives_the_stream(allowances: Allowances) -> None:
    identity = Identity(name="one", max_frames_per_s=1)
    allowances.stream(identity)
    allowances.frame(identity)
    allowances.frame_ended(identity)
    allowances.stream_ended(identity)
    allowances.stream(identity)
    with pytest.raises(DeniedError, match="a second"):
        allowances.frame(identity)


def test_of_who_has_gone_nothing_is_kept(allowances: Allowances) -> None:
    for number in range(100):
        identity = Identity(name=f"n{number}", max_streams=1, max_in_flight=1)
        allowances.stream(identity)
        allowances.frame(identity)
        allowances.stream_ended(identity)
        with pytest.raises(DeniedError):  # still in flight, of a session that is parked
            allowances.frame(identity)
        allowances.frame_ended(identity)
    assert allowances._uses == {}  # memory is what this is about


def test_without_limits_nothing_is_refused(allowances: Allowances) -> None:
    identity = Identity(name="one")
    for _ in range(1000):
        allowances.stream(identity)
        allowances.frame(identity)
