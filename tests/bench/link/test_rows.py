"""The arithmetic of the link's bench, and what it prints."""

import json

import pytest

from isthmus.errors import ConfigError
from isthmus_bench.link.bench import LinkBenchConfig, LinkBenchResult
from isthmus_bench.link.report import link_json, link_lines
from isthmus_bench.link.rows import AskedMeasured, HalfOpenRow, JitterRow, StallRow, TraceRow
from isthmus_bench.link.streaming import Arrival, gaps_s, mbit_by_second, rate_mbps

_ARRIVALS = [Arrival(10.0, 999), Arrival(10.5, 125_000), Arrival(11.5, 125_000)]


def test_a_rate_counts_bytes_after_the_first_arrival() -> None:
    assert rate_mbps(_ARRIVALS, 0.0) == pytest.approx(2.0 / 1.5)
    assert rate_mbps(_ARRIVALS, 10.1) == pytest.approx(1.0)
    assert rate_mbps(_ARRIVALS, 11.0) == 0.0


def test_gaps_lie_between_neighbours() -> None:
    assert gaps_s(_ARRIVALS) == [0.5, 1.0]


def test_bytes_fall_into_the_second_of_their_arrival() -> None:
    assert mbit_by_second(_ARRIVALS, 10.2, 2) == [pytest.approx(1.0), pytest.approx(1.0)]
    assert mbit_by_second(_ARRIVALS, 20.0, 1) == [0.0]


def test_an_error_is_a_share_of_what_was_asked() -> None:
    row = AskedMeasured(20.0, (19.0, 22.0, 21.0))
    assert (row.median, row.spread) == (21.0, 3.0)
    assert row.error == pytest.approx(0.05)


def test_errors_of_a_trace_are_shares_of_its_mean_rate() -> None:
    row = TraceRow(name="t", asked_mbit=(4.0, 0.0, 2.0), delivered_mbit=(3.0, 0.5, 2.5))
    assert row.total_error == 0.0
    assert row.mean_error == pytest.approx(2.0 / 6.0)
    assert row.worst_error == pytest.approx(0.5)


def _result(kernel_missing: str | None) -> LinkBenchResult:
    asked = AskedMeasured(20.0, (19.0, 22.0, 21.0))
    return LinkBenchResult(
        machine="a machine",
        stolen_share=0.2,
        runs=3,
        rates=(asked,),
        direct_ms=0.05,
        rtts=(AskedMeasured(0.0, (0.2,)),),
        jitter=JitterRow(
            jitter_ms=20.0,
            pings=60,
            asked_mean_ms=10.0,
            mean_ms=10.5,
            asked_deviation_ms=4.1,
            deviation_ms=4.2,
            error_ms=0.3,
        ),
        stalls=StallRow(
            seconds=6.0, asked_count=8.6, count=7, length_ms=AskedMeasured(200.0, (201.0,))
        ),
        outages=(AskedMeasured(0.5, (0.501,)),),
        half_open=HalfOpenRow(
            sent_bytes=3000,
            passed_bytes=0,
            after_sent_bytes=1000,
            after_bytes=1000,
            refuse_tries=10,
            refused=10,
        ),
        traces=(TraceRow(name="drive", asked_mbit=(4.0,), delivered_mbit=(3.9,)),),
        kernel_rates=() if kernel_missing else (asked,),
        kernel_missing=kernel_missing,
        congestion="cubic",
    )


def test_the_report_names_the_machine_the_steal_and_every_part() -> None:
    text = "\n".join(link_lines(_result(None)))
    for part in (
        "a machine",
        "CAUTION: this machine got 20%",
        "TCP congestion control of both ends: cubic",
        "+5.00%",
        "0 of 3000 bytes passed",
        "refused: 10 of 10",
        "outage of 0.5 s: 0.501 s",
        "drive",
        "-2.50%",
    ):
        assert part in text


def test_rates_that_could_not_be_had_are_not_run_for_a_reason() -> None:
    lines = link_lines(_result("network namespaces need root"))
    assert "   not run: network namespaces need root" in lines
    assert not any("congestion control" in line for line in lines)


def test_the_json_has_the_headline_figures_and_no_infinities() -> None:
    figures = json.loads(json.dumps(link_json(_result(None)), allow_nan=False))
    assert figures["worst_rate_error"] == pytest.approx(0.05)
    assert figures["worst_trace_mean_error"] == pytest.approx(0.025)
    assert figures["half_open_passed_bytes"] == 0
    assert figures["rates_mbps"][0]["median"] == 21.0


def test_a_quick_run_asks_for_less() -> None:
    quick, whole = LinkBenchConfig.quick(), LinkBenchConfig()
    assert set(quick.rates_mbps) < set(whole.rates_mbps)
    assert quick.trace_s < whole.trace_s


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 run or more"):
        LinkBenchConfig(runs=0)
    with pytest.raises(ConfigError, match="a rate of 0"):
        LinkBenchConfig(rates_mbps=(5.0, 0.0))
