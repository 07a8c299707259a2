"""The search for the fewest replicas, and the figures of a fleet."""

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.figures import Costs, Overheads, TailRow
from isthmus_bench.scale.sizing import FRONT_END_SHARE, least_replicas, sized, usual
from isthmus_bench.traces import Trace

COSTS = Costs(front_end_ms=1.0, replica_ms=1.0, overheads=Overheads((1.0, 2.0), (4.0, 5.0)))
TAIL = TailRow("b15", 0.9, 5000, {1: 9.0, 2: 11.0, 4: 15.0}, 4)
ROAD = Trace("wide", (0.0,), (8.0,), 30.0)  # 5,000 bytes take 5 ms


def silent(_: str) -> None:
    pass


@given(st.integers(1, 50), st.integers(0, 60), st.integers(0, 200))
def test_the_least_number_that_bears_it_is_found(begin: int, above: int, spare: int) -> None:
    least = begin + above
    tried: list[int] = []

    def is_borne(replicas: int) -> bool:
        tried.append(replicas)
        return replicas >= least

    assert least_replicas(begin, least + spare, is_borne) == least
    assert len(tried) == len(set(tried)) <= 2 * (above + spare + 2).bit_length() + 2


def test_where_no_number_is_enough_there_is_none() -> None:
    assert least_replicas(3, 20, lambda _: False) is None


def test_batches_need_fewer_replicas_and_links_only_add_to_the_whole_way(
    scale_config: ScaleConfig,
) -> None:
    config = replace(scale_config, fleets=(300,), cell_devices=1000, fps=2.0, slo_ms=60.0)
    alone, batched = sized([TAIL], COSTS, (ROAD,), config, silent)
    assert (alone.batching, batched.batching) == (False, True)
    assert (alone.cells, batched.cells) == (1, 1)
    assert alone.replicas is not None
    assert batched.replicas is not None
    assert 600 * 10 / 1000 <= alone.replicas <= 9
    assert batched.replicas < alone.replicas
    assert 1.5 < batched.mean_batch <= 4
    for row in (alone, batched):
        assert row.cloud_p99_ms is not None
        assert row.end_p50_ms is not None
        assert row.cloud_p50_ms is not None
        assert row.cloud_p99_ms <= 60.0
        assert row.end_p50_ms == pytest.approx(row.cloud_p50_ms + 20.0, abs=10.0)
        assert row.uplink_mbps == pytest.approx(300 * 2 * 5000 * 8 / 1e6)
        price = (row.replicas or 0) * config.replica_price + config.front_end_price
        assert row.price_per_1000 == pytest.approx(price / (300 * 2 * 3.6))


def test_large_fleets_are_equal_cells_of_what_a_front_end_bears(scale_config: ScaleConfig) -> None:
    config = replace(scale_config, fleets=(50, 100_000), cell_devices=1000, fps=10.0, slo_ms=99.0)
    small, large = sized([replace(TAIL, knee=1)], COSTS, (), config, silent)
    bears = int(FRONT_END_SHARE * 1000 / COSTS.front_end_ms / config.fps)
    assert small.cells == 1
    assert large.cells == ceil(100_000 / bears)
    assert large.replicas is not None
    assert small.replicas is not None
    assert large.replicas % large.cells == 0
    an_hour = large.replicas * config.replica_price + large.cells * config.front_end_price
    assert large.price_per_1000 == pytest.approx(an_hour / (100_000 * config.fps * 3.6))
    assert large.replicas / 100_000 == pytest.approx(small.replicas / 50, rel=0.3)


def test_plain_processes_have_tails_of_their_own_and_no_front_ends_beside(
    scale_config: ScaleConfig,
) -> None:
    config = replace(scale_config, fleets=(300,), cell_devices=1000, fps=2.0, slo_ms=60.0)
    near = replace(COSTS, overheads=Overheads((1.0,), (0.0,)))
    (shared,) = sized([replace(TAIL, knee=1)], near, (), config, silent)
    (plain,) = sized([replace(TAIL, knee=1)], near, (), config, silent, ray=False)
    assert shared.replicas is not None
    assert plain.replicas is not None
    assert plain.replicas >= shared.replicas  # each device has one process, not all of them
    an_hour = plain.replicas * config.replica_price
    assert plain.price_per_1000 == pytest.approx(an_hour / (300 * 2 * 3.6))


def test_a_tail_that_was_not_measured_is_left_out(scale_config: ScaleConfig) -> None:
    said: list[str] = []
    config = replace(scale_config, fleets=(20,))
    tails = [replace(TAIL, cut="odd", took_ms={}), replace(TAIL, knee=1)]
    assert [row.cut for row in sized(tails, COSTS, (), config, said.append)] == ["b15"]
    assert "odd takes one frame at a time" in said[0]


def test_the_slowest_hundredth_of_the_calls_is_left_out() -> None:
    assert usual([5.0, 60.0, 4.0]) == (4.0, 5.0)
    assert usual([3.0]) == (3.0,)
    assert usual(range(300)) == tuple(range(297))


def test_a_limit_below_the_tail_s_own_time_is_out_of_reach(scale_config: ScaleConfig) -> None:
    config = replace(scale_config, fleets=(20,), slo_ms=9.0)
    (row,) = sized([replace(TAIL, knee=1)], COSTS, (), config, silent)
    assert (row.replicas, row.price_per_1000) == (None, None)
    assert row.cloud_p99_ms is not None
    assert row.cloud_p99_ms > 9.0
