"""The whole bench, small: real relays, and counts instead of times."""

import pytest

from isthmus_bench.link.bench import LinkBenchConfig, run_link_bench
from isthmus_bench.traces import Trace


@pytest.mark.slow
def test_a_small_run_fills_every_part() -> None:
    said: list[str] = []
    config = LinkBenchConfig(
        rates_mbps=(20.0,),
        rtts_ms=(0.0,),
        outages_s=(0.1,),
        runs=1,
        rate_s=0.6,  # a machine may stand still for a moment
        pings=3,
        jitter_pings=3,
        stall_s=0.2,
        traces=(Trace("t", (0.0,), (8.0,), 0.0),),
        trace_s=1,
        kernel=False,
    )
    result = run_link_bench(config, said.append)
    assert result.half_open.passed_bytes == 0
    assert result.half_open.after_bytes == result.half_open.after_sent_bytes
    assert result.half_open.refused == result.half_open.refuse_tries
    assert result.rates[0].median > 0
    assert result.traces[0].asked_mbit == pytest.approx((8.0,))
    assert result.traces[0].delivered_mbit[0] > 0
    assert result.kernel_missing == "it was left out"
    assert len(said) == 4
