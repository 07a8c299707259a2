"""What the wire's bench shows and writes, from a run whose figures were made up."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.bench.wire.made_up import CUT, codec, rung, with_sizes

from isthmus_bench.starvation import STARVED
from isthmus_bench.wire.bench import FuzzResult, WireBenchResult
from isthmus_bench.wire.picture_rows import EqualRow, PictureFigures, equal_rows
from isthmus_bench.wire.rate_rows import RateRow
from isthmus_bench.wire.report import BASELINE, wire_json, wire_lines
from isthmus_bench.wire.stream_rows import EqualSetting, StreamFigures, StreamRow

LATE = replace(
    with_sizes(CUT, ours=200.0, order0=100.0, zlib6=400.0, zfp_lz4=1600.0),
    cut="b14",
    mac_share=0.87,
    channel_order0_bytes=160.0,
    ours=codec("ours", 200.0, 100.0),
    rungs=(rung(0.01, 300.0), rung(0.02, 200.0)),
    meets_floor=False,
    head_ms=0.5,
)
EARLY = with_sizes(CUT, ours=500.0, order0=1000.0, zlib6=2000.0, zfp_lz4=5000.0)
ENCODER = replace(EARLY, model="minilm-l6", cut="layer1", mac_share=0.17, tensors=2)
PICTURES = (
    PictureFigures("efficientnet-lite0", BASELINE, 1000.0, 0.01, 0.98),
    PictureFigures("efficientnet-lite0", "webp q90", 800.0, 0.2, 0.9),
    PictureFigures("efficientnet-lite0", "avif q80", 700.0, 0.0001, 1.0),
    PictureFigures("efficientnet-lite0", "png", 9000.0, 0.0, 1.0),
)
STREAM = StreamRow(
    clip="bikes",
    origin="real",
    model="efficientnet-lite0",
    cut="b07",
    mac_share=0.41,
    alone=(StreamFigures("16 levels, step 0.5", 2100.0, 0.02, 0.97),),
    video=(StreamFigures("16 levels, step 0.5", 560.0, 0.021, 0.97),),
    h264=(StreamFigures("crf 23", 900.0, 0.03, 0.96),),
    equal=(EqualSetting("crf 23", 0.62, "at most"),),
)
RATE = RateRow(
    way="rate control",
    frames=120,
    bytes=700.0,
    overshoot=0.012,
    over_budget=0.05,
    late=0.025,
    agreement=0.98,
    error=0.015,
    changes=9,
)


@pytest.fixture
def result() -> WireBenchResult:
    cuts = (EARLY, LATE, ENCODER)
    return WireBenchResult(
        machine="a machine",
        stolen_share=0.01,
        floor=0.95,
        inputs=48,
        cuts=cuts,
        pictures=PICTURES,
        equal=tuple(row for cut in (EARLY, LATE) for row in equal_rows(cut, PICTURES)),
        streams=(STREAM,),
        rate=(RATE,),
        fuzz=FuzzResult(20_000, 3),
    )


@pytest.fixture
def report(result: WireBenchResult) -> dict[str, Any]:
    """What a program reads: the JSON by the book, there and back."""
    read: dict[str, Any] = json.loads(json.dumps(wire_json(result), allow_nan=False))
    return read


def text(result: WireBenchResult) -> str:
    return "\n".join(wire_lines(result))


def line_of(result: WireBenchResult, part: str, *words: str) -> str:
    """The one line of a part that has all the words."""
    lines = text(result).partition(f"\n{part}. ")[2].partition("\n\n")[0].splitlines()
    (found,) = (line for line in lines if all(word in line for word in words))
    return found


def test_the_json_has_every_headline_that_was_promised(report: dict[str, Any]) -> None:
    promised = {
        "vs_order0_geomean", "encode_mbps", "decode_mbps", "vs_int8_zlib6_geomean",
        "vs_zfp_lz4_geomean", "vs_jpeg_best_cut", "rows", "fuzz_frames", "fuzz_failures",
    }  # fmt: skip
    beside = {
        "machine", "stolen_share", "floor", "inputs", "vs_channel_order0_geomean",
        "zstd1_encode_mbps", "zstd1_decode_mbps", "vs_int8_zstd1_geomean",
        "stored_pays_above_mbps_median", "codec_share_of_head_max", "pictures",
        "streams", "rate_control",
    }  # fmt: skip
    assert promised <= set(report)
    assert set(report) == promised | beside


def test_sizes_are_compared_by_geometric_means_over_all_cuts(report: dict[str, Any]) -> None:
    """Of 1/2, 2 and 1/2 the cube root of 1/2; and so on."""
    assert report["vs_order0_geomean"] == pytest.approx(0.5 ** (1 / 3))
    per_channel = (500 / 510) * (200 / 160) * (500 / 510)
    assert report["vs_channel_order0_geomean"] == pytest.approx(per_channel ** (1 / 3))
    assert report["vs_int8_zlib6_geomean"] == pytest.approx((1 / 4 * 1 / 2 * 1 / 4) ** (1 / 3))
    assert report["vs_int8_zstd1_geomean"] == pytest.approx((500 * 200 * 500) ** (1 / 3) / 1300)
    assert report["vs_zfp_lz4_geomean"] == pytest.approx((1 / 10 * 1 / 8 * 1 / 10) ** (1 / 3))


def test_speeds_are_geometric_means_with_those_of_zstd_beside_them(report: dict[str, Any]) -> None:
    """400, 100 and 400 MB/s; decoding twice as fast; zstd-1 at 300 everywhere."""
    assert report["encode_mbps"] == pytest.approx(16e6 ** (1 / 3))
    assert report["decode_mbps"] == pytest.approx(2 * 16e6 ** (1 / 3))
    assert (report["zstd1_encode_mbps"], report["zstd1_decode_mbps"]) == pytest.approx((300, 600))


def test_the_codecs_largest_share_of_a_head_is_told(report: dict[str, Any]) -> None:
    """10,000 symbols at 100 and at 200 MB/s are 0.15 ms, of a head of 0.5 ms."""
    assert report["codec_share_of_head_max"] == pytest.approx(0.3)


def test_links_too_fast_for_entropy_coding_are_told_by_their_median(
    report: dict[str, Any], result: WireBenchResult
) -> None:
    """4,500 bytes saved in 0.0375 ms twice, 4,800 in 0.15 ms once."""
    assert report["stored_pays_above_mbps_median"] == pytest.approx(960)
    assert "Entropy coding pays on links below 960 Mbit/s" in text(result)


def test_the_best_cut_against_jpeg_is_told_below_half_of_the_work_and_above(
    report: dict[str, Any],
) -> None:
    early, late = report["vs_jpeg_best_cut"]
    assert {"model", "cut", "mac_share", "ratio"} <= set(early)
    assert (early["model"], early["cut"], early["mac_share"]) == ("efficientnet-lite0", "b07", 0.41)
    assert (early["ratio"], early["reading"], early["codec"]) == (0.5, "equal", BASELINE)
    assert (late["cut"], late["ratio"]) == ("b14", 0.3)


def equal(cut: str, mac_share: float, ratio: float, **changes: Any) -> EqualRow:
    row = EqualRow(
        model="net", cut=cut, mac_share=mac_share, codec=BASELINE, codec_bytes=1000.0, error=0.01,
        our_bytes=1000 * ratio, ratio=ratio, reading="equal",
        low_point=(0.001, 900.0), high_point=(0.1, 100.0),
    )  # fmt: skip
    return replace(row, **changes)


def test_a_best_cut_is_no_bound_from_below_no_other_codec_and_one_a_model(
    result: WireBenchResult,
) -> None:
    rows = (
        equal("wide", 0.1, 1.2),
        equal("early", 0.4, 0.4),
        equal("too good", 0.45, 0.01, reading="at least"),  # it may well take more
        equal("harmless", 0.49, 0.3, reading="at most"),  # it takes less still
        equal("webp", 0.3, 0.02, codec="webp q90"),
        equal("half", 0.5, 0.2),
        equal("deep", 0.9, 0.1),
        equal("other", 0.2, 0.9, model="other net"),
    )
    best = wire_json(replace(result, equal=rows))["vs_jpeg_best_cut"]
    assert [(each["model"], each["cut"], each["reading"]) for each in best] == [
        ("net", "harmless", "at most"),
        ("net", "deep", "equal"),
        ("other net", "other", "equal"),
    ]


def test_the_whole_tables_stand_beside_the_headlines(
    report: dict[str, Any], result: WireBenchResult
) -> None:
    assert [(row["model"], row["cut"]) for row in report["rows"]] == [
        ("efficientnet-lite0", "b07"), ("efficientnet-lite0", "b14"), ("minilm-l6", "layer1"),
    ]  # fmt: skip
    first = report["rows"][0]
    assert first["ours"] == {
        "name": "ours", "bytes": 500.0, "encode_mbps": 400.0, "decode_mbps": 800.0,
    }  # fmt: skip
    assert [each["name"] for each in first["int8"]] == ["zlib-6", "zstd-1", "zfp lz4"]
    assert first["rungs"][1]["agreement"] == 0.98
    assert len(report["pictures"]) == 4
    assert sum(len(row["equal_error"]) for row in report["rows"]) == len(result.equal) == 6
    assert first["equal_error"][0]["low_point"] == [0.01, 500.0]
    assert report["streams"][0]["video"][0]["bytes"] == 560.0
    assert report["rate_control"][0]["late"] == 0.025
    assert (report["fuzz_frames"], report["fuzz_failures"]) == (20_000, 3)


def test_a_report_has_its_parts_in_order(result: WireBenchResult) -> None:
    lines = list(wire_lines(result))
    parts = [line[0] for line in lines if line[1:3] == ". "]
    assert parts == list("abcdefg")
    assert "a machine" in lines[0]
    assert "agreement of 0.95 on 48 inputs" in lines[1]


def test_a_starved_machine_is_told_with_caution(result: WireBenchResult) -> None:
    assert "CAUTION" not in text(replace(result, stolen_share=STARVED))
    starved = text(replace(result, stolen_share=0.4))
    assert "CAUTION: this machine got 40% less processor time" in starved


def test_a_row_of_the_first_table_is_one_cut(result: WireBenchResult) -> None:
    early = line_of(result, "a", "b07").split()
    assert early == [
        "efficientnet-lite0", "b07", "41%", "10000", "16", "0.980", "500", "0.40", "0.50", "0.98",
        "400/800", "300/600", "0.8%",
    ]  # fmt: skip
    assert "layer1 (2 tensors)" in line_of(result, "a", "minilm-l6")
    assert "0.79" in line_of(result, "a", "geometric mean")  # the cube root of 1/2


def test_a_cut_that_misses_the_floor_is_marked(result: WireBenchResult) -> None:
    assert "(below)" in line_of(result, "a", "b14")
    assert "(below)" not in line_of(result, "a", "b07")


def test_rivals_are_shown_as_what_ours_takes_of_their_bytes(result: WireBenchResult) -> None:
    assert line_of(result, "b", "b07").split()[3:] == ["0.25", "0.38", "0.10"]
    assert line_of(result, "b", "b14").split()[3:] == ["0.50", "0.15", "0.12"]
    assert line_of(result, "b", "geometric mean").split()[2:] == ["0.31", "0.28", "0.11"]
    assert line_of(result, "b", "MB/s").split()[1:] == ["20/40", "300/600", "100/200"]


def test_lossless_codecs_are_shown_over_the_same_entropy_as_ours(result: WireBenchResult) -> None:
    assert line_of(result, "c", "b07").split()[3:] == ["0.50", "0.54", "0.55"]
    assert line_of(result, "c", "b14").split()[3:] == ["2.00", "5.40", "5.50"]
    means = [0.5 ** (1 / 3), (0.54 * 5.4 * 0.54) ** (1 / 3), (0.55 * 5.5 * 0.55) ** (1 / 3)]
    shown = line_of(result, "c", "geometric mean").split()[2:]
    assert shown == [f"{mean:.2f}" for mean in means]


def test_a_bound_is_marked_as_one(result: WireBenchResult) -> None:
    """Webp does more harm than our coarsest rung, AVIF less than our finest."""
    shown = text(result).partition("\nd. ")[2]
    (early,) = (line for line in shown.splitlines() if line.strip().startswith("b07"))
    assert early.split() == ["b07", "41%", "0.50", "<=0.12", ">=1.29"]
    assert "png" not in shown.partition("\ne. ")[0]
    assert "<= : even our coarsest rung does less harm" in shown


def test_streams_and_rates_are_shown_if_there_are_any(result: WireBenchResult) -> None:
    shown = text(result)
    assert "560 (0.0210)" in shown
    assert "crf 23 <=0.62" in shown
    assert line_of(result, "f", "rate control", "700").split()[2:] == [
        "700", "1.2%", "5.0%", "2.5%", "0.980", "0.0150", "9",
    ]  # fmt: skip
    without = text(replace(result, streams=(), rate=()))
    assert "Video" not in without
    assert "budget" not in without


def test_failures_of_the_fuzz_are_told(result: WireBenchResult) -> None:
    assert list(wire_lines(result))[-1] == "g. Hostile frames: 20000 mutated, 3 failures"
