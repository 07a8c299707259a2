"""Keys, what misses its aim, JSON and report of results that are made up."""

import json
from dataclasses import replace

import pytest
from tests.bench.serve.made_up import load, result, row, usual_rows

from isthmus_bench.serve.data import serve_json
from isthmus_bench.serve.figures import AT_SLO, Pair
from isthmus_bench.serve.report import serve_lines
from isthmus_bench.serve.scores import misses, scores_of
from isthmus_bench.serve.subject import DEEPEST, FORTIETH, INPUT
from isthmus_bench.serve.variants import BATCHED, UNBATCHED


def test_ratios_are_those_of_medians_over_rounds() -> None:
    scores = scores_of(result())
    assert scores.batch_speedup == pytest.approx(420 / 300)
    assert scores.batch_speedup_vs_one_worker == pytest.approx(420 / 350)
    assert scores.joins_speedup == pytest.approx(240 / 200)
    assert scores.cpu_s_per_answer_vs_full_model == pytest.approx(0.5)
    assert scores.devices_at_slo == 22
    assert scores.rss_per_idle_device_kb == pytest.approx(50.0)


def test_overheads_are_beyond_the_engine_in_the_turns_next_to_each_other() -> None:
    scores = scores_of(result())
    assert scores.overhead_ms_p50 == pytest.approx(3.2 - 1.5)
    assert scores.overhead_vs_bare_p50 == pytest.approx((3.2 - 1.5) / (2.5 - 1.5))
    assert scores.latency_vs_bare_p50 == pytest.approx(3.2 / 2.5)


def test_an_overhead_of_the_bare_loop_below_what_can_be_measured_is_no_divisor() -> None:
    scores = scores_of(result(pairs=(Pair(3.0, 1.5, 1.5),)))
    assert scores.overhead_ms_p50 == pytest.approx(1.5)
    assert scores.overhead_vs_bare_p50 is None


def test_peers_are_compared_with_ours_by_the_same_protocol_where_we_speak_it() -> None:
    (by_stream,) = scores_of(result()).peers
    assert by_stream.ours_by == "split"
    assert by_stream.throughput_ratio == pytest.approx(100 / 80)
    assert by_stream.p95_ratio == pytest.approx(40 / 50)
    by_oip = row(BATCHED, INPUT, (60.0,), protocol="oip", p95_ms=100.0)
    (same,) = scores_of(result([*usual_rows(), by_oip])).peers
    assert same.ours_by == "oip"
    assert same.throughput_ratio == pytest.approx(60 / 80)
    assert same.p95_ratio == pytest.approx(2.0)


def test_what_was_not_measured_has_no_score() -> None:
    scores = scores_of(result([row(UNBATCHED, DEEPEST)], ours=UNBATCHED, pairs=(), idle=()))
    assert scores.batch_speedup is None
    assert scores.overhead_ms_p50 is None
    assert scores.devices_at_slo is None
    assert scores.cpu_s_per_answer_vs_full_model is None
    assert scores.rss_per_idle_device_kb is None
    assert scores.peers == ()


def test_rounds_in_which_not_one_device_was_borne_count_as_0() -> None:
    weak = row(UNBATCHED, DEEPEST, (100.0,), devices=(20, 0, 0))
    rate = weak.answers_per_s(AT_SLO)
    assert rate is not None
    assert (rate.median, rate.spread) == (0.0, 100.0)


def test_all_frames_that_our_service_was_sent_are_counted() -> None:
    ours, peer = row(BATCHED, FORTIETH), row("kserve", INPUT, protocol="oip", lost=5)
    ours.all_loads.append(load(accepted=9, answered=5, errors={"OVERLOADED": 3}, lost=1, wrong=2))
    scores = scores_of(result([ours, peer]))
    assert (scores.accepted, scores.answered, scores.errors) == (49, 45, 3)
    assert (scores.lost, scores.wrong) == (1, 2)


def test_what_misses_its_aim_is_said() -> None:
    rows = [
        row(UNBATCHED, DEEPEST, (400.0,)),
        row(BATCHED, DEEPEST, (390.0,), lost=1),
        row(BATCHED, FORTIETH, server_cpu_ms=8.0),
        row(BATCHED, INPUT, (50.0,), server_cpu_ms=10.0, p95_ms=60.0),
        row("kserve", INPUT, (80.0,), protocol="oip", p95_ms=50.0),
    ]
    poor = result(rows)
    poor = replace(poor, idle=(replace(poor.idle[0], connected=990, after_bytes=900_000_000),))
    said = "\n".join(misses(poor, scores_of(poor)))
    for words in (
        "batch_speedup is 0.97",
        "overhead_vs_bare_p50 is 1.70",
        "cpu_s_per_answer_vs_full_model is 0.80",
        "rss_per_idle_device_kb is 800.00",
        "batching is slower at deepest",
        "kserve answers more",
        "kserve is faster",
        "4 frames lost",
        "10 of 1000 idle devices lost their stream",
    ):
        assert words in said


def test_a_run_that_meets_its_aims_misses_nothing() -> None:
    good = result(pairs=(Pair(2.6, 2.5, 1.5),))
    assert list(misses(good, scores_of(good))) == []


def test_the_json_has_the_keys_that_others_read() -> None:
    figures = json.loads(json.dumps(serve_json(result())))
    assert figures["batch_speedup"] == pytest.approx(1.4)
    assert figures["lost"] == 0
    assert figures["peers"][0]["name"] == "kserve"
    assert {"version", "throughput_ratio", "p95_ratio"} <= figures["peers"][0].keys()
    keys = {"overhead_ms_p50", "overhead_vs_bare_p50", "devices_at_slo"}
    assert keys | {"cpu_s_per_answer_vs_full_model", "rss_per_idle_device_kb"} <= figures.keys()
    batched = next(each for each in figures["rows"] if each["server"] == BATCHED)
    assert batched["at_slo"]["answers_per_s"] == {"median": 420.0, "spread": 60.0}
    assert batched["one"]["queue_ms"] is None
    assert batched["frames"]["accepted"] == 120
    assert batched["frames"]["errors"] == {}
    assert figures["not_run"] == {"pytriton": "it does not install: no wheel"}


def test_the_report_shows_every_server_and_what_was_not_run() -> None:
    text = "\n".join(serve_lines(result(stolen_share=0.2, notes=("its inputs are noise",))))
    for words in (
        "Measured on a machine",
        "CAUTION",
        "note: its inputs are noise",
        "420 ± 60",
        "1000 devices, 1000 connected to the end",
        "50.0 KB each",
        "raised from 1024 to 20000",
        "pytriton: it does not install: no wheel",
        "one ModelInfer call for each frame",
        "1.70 ms over the engine",
    ):
        assert words in text
