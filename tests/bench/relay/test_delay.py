"""What the link adds behind its bottleneck, without a clock."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import ConfigError
from isthmus_bench.relay import LinkShape
from isthmus_bench.relay.delay import Delay, Stalls

_GAPS_S = st.lists(st.floats(0.0, 0.5), min_size=1, max_size=50)


def _stalls(per_s: float, stall_s: float, seed: int = 0) -> Stalls:
    return Stalls(per_s, stall_s, 100.0, np.random.default_rng(seed))


def test_without_jitter_and_stalls_it_is_half_the_round_trip() -> None:
    delay = Delay(LinkShape(rtt_ms=40.0), 0, 0.0)
    assert [delay.due_s(at_s) for at_s in (1.0, 2.0)] == [pytest.approx(1.02), pytest.approx(2.02)]


@given(_GAPS_S, st.floats(0.0, 100.0), st.floats(0.0, 5.0), st.integers(0, 3))
def test_what_leaves_in_order_arrives_in_order_and_never_early(
    gaps_s: list[float], jitter_ms: float, stalls_per_s: float, seed: int
) -> None:
    shape = LinkShape(
        rtt_ms=20.0, jitter_ms=jitter_ms, stalls_per_s=stalls_per_s, stall_ms=100.0, seed=seed
    )
    delay = Delay(shape, 1, 0.0)
    left_s = np.cumsum(gaps_s).tolist()
    due_s = [delay.due_s(at_s) for at_s in left_s]
    assert due_s == sorted(due_s)
    assert all(due >= left + 0.01 for due, left in zip(due_s, left_s, strict=True))


def test_jitter_is_an_even_draw_of_up_to_half_each_way() -> None:
    delay = Delay(LinkShape(jitter_ms=20.0), 0, 0.0)
    more_ms = [1e3 * (delay.due_s(float(at_s)) - at_s) for at_s in range(2000)]
    assert 0 <= min(more_ms) < 0.1
    assert 9.9 < max(more_ms) <= 10.0
    assert np.mean(more_ms) == pytest.approx(5.0, abs=0.3)


def test_a_seed_gives_the_same_delays_and_each_direction_its_own() -> None:
    def due(seed: int, direction: int) -> list[float]:
        shape = LinkShape(jitter_ms=20.0, stalls_per_s=1.0, stall_ms=50.0, seed=seed)
        delay = Delay(shape, direction, 0.0)
        return [delay.due_s(at_s / 10) for at_s in range(50)]

    assert due(1, 0) == due(1, 0)
    assert due(1, 0) != due(2, 0)
    assert due(1, 0) != due(1, 1)


def test_all_that_falls_into_a_stall_arrives_at_its_end() -> None:
    stalls = _stalls(1.0, 0.2)
    ticks_s = [100.0 + tick / 1000 for tick in range(60_000)]
    ends_s = [stalls.end_s(at_s) for at_s in ticks_s]
    held = [(end, at) for end, at in zip(ends_s, ticks_s, strict=True) if end > at]
    distinct = sorted({end for end, _ in held})
    for stall_end_s in distinct[:-1]:
        within = [at for end, at in held if end == stall_end_s]
        assert len(within) == pytest.approx(200, abs=1)  # a tick is 1 ms
        assert stall_end_s - 0.2 <= within[0]
    assert len(distinct) == pytest.approx(60 / 1.2, rel=0.3)


def test_no_stalls_are_asked_for_and_none_come() -> None:
    stalls = _stalls(0.0, 0.0)
    assert [stalls.end_s(at_s) for at_s in (100.0, 1e6)] == [100.0, 1e6]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"jitter_ms": -1.0}, "jitter_ms is -1.0"),
        ({"jitter_ms": float("inf")}, "jitter_ms is inf"),
        ({"stalls_per_s": float("nan")}, "stalls_per_s is nan"),
        ({"stalls_per_s": 1.0}, "stalls_per_s is 1.0 and stall_ms is 0"),
        ({"stall_ms": -5.0}, "stall_ms is -5.0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_by_name(fields: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        LinkShape(**fields)  # type: ignore[arg-type]
