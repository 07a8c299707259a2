"""The comparison over links: who is best, how far the policy is from it, and what is said of it."""

from dataclasses import replace

import pytest

from isthmus import Candidate, Encoding, Figures, Picture, Raw, Rung, Symbols
from isthmus_bench.comparison import LinkComparison, Row, policy_holds, row_name


def row(name: str, latency_ms: float, fps: float, *, fit: bool = True, chosen: str = "") -> Row:
    """`chosen` names the figures that the policy chose it for."""
    return Row(
        name=name,
        candidate=name,
        latency_ms=latency_ms,
        throughput_fps=fps,
        payload_bytes=1_000,
        agreement=0.99 if fit else 0.80,
        meets_floor=fit,
        chosen="latency" in chosen,
        chosen_throughput="throughput" in chosen,
    )


def comparison(*rows: Row) -> LinkComparison:
    return LinkComparison(mbps=1.1, rtt_ms=40.0, believed_mbps=1.0, rows=rows)


LOCAL = row("edge-only int8", 150, 6.6)
JPEG = row("cloud-only JPEG q95", 200, 6.0)
SPLIT = row("split early-16", 100, 10.0)
CHEAT = row("cloud-only JPEG q5", 50, 40.0, fit=False)
BOTH = "latency throughput"


def choosing(chosen: Row, *others: Row, figures: str = BOTH) -> LinkComparison:
    marked = replace(chosen, chosen="latency" in figures, chosen_throughput="throughput" in figures)
    return comparison(marked, *others)


def test_the_best_row_is_the_best_of_those_that_meet_the_floor() -> None:
    verdict = choosing(SPLIT, LOCAL, JPEG, CHEAT).verdict("latency")
    assert verdict.best.name == SPLIT.name
    assert verdict.excess == 0


def test_the_excess_is_how_much_longer_the_choice_takes_than_the_best() -> None:
    assert choosing(LOCAL, SPLIT).verdict("latency").excess == pytest.approx(0.5)


def test_the_excess_in_frames_is_how_much_longer_the_time_between_them_is() -> None:
    assert choosing(JPEG, SPLIT).verdict("throughput").excess == pytest.approx(10 / 6 - 1)


def test_each_figure_has_a_choice_and_a_best_row_of_its_own() -> None:
    quick = row("cloud-only raw", 60, 5.0, chosen="latency")
    busy = row("split late-16", 300, 20.0, chosen="throughput")
    both = comparison(quick, busy, LOCAL)
    assert both.verdict("latency").best is both.verdict("latency").chosen is quick
    assert both.verdict("throughput").best is both.verdict("throughput").chosen is busy


def test_the_best_split_is_set_against_the_best_of_all_other_ways() -> None:
    slower_split = row("split late-16", 120, 9.0)
    verdict = choosing(SPLIT, slower_split, JPEG, LOCAL, CHEAT).verdict("latency")
    assert verdict.best_split is not None
    assert (verdict.best_split.name, verdict.best_other.name) == (SPLIT.name, LOCAL.name)


def test_a_win_of_splitting_is_said_with_how_much_and_against_what() -> None:
    first, second = choosing(SPLIT, LOCAL, JPEG).verdict("latency").sentences()
    assert first == "least latency: the policy chose split early-16, the best row"
    assert "splitting wins: split early-16, 1000 bytes a frame" in second
    assert "100 ms against 150 ms of edge-only int8 (1.50 times the speed)" in second


def test_a_win_in_frames_is_said_in_frames() -> None:
    first, second = choosing(SPLIT, LOCAL, JPEG).verdict("throughput").sentences()
    assert first == "most frames/s: the policy chose split early-16, the best row"
    assert "10.00 frames/s against 6.60 frames/s" in second
    assert "(1.52 times the frames/s)" in second


def test_where_splitting_does_not_win_it_is_said_plainly() -> None:
    better = row("edge-only int8", 80, 12.5)
    first, second = choosing(better, SPLIT).verdict("latency").sentences()
    assert first.endswith("chose edge-only int8, the best row")
    assert "splitting does not win here: split early-16" in second
    assert "(0.80 times the speed)" in second


def test_a_choice_that_is_not_the_best_is_said_with_its_distance() -> None:
    first, _ = choosing(LOCAL, SPLIT).verdict("latency").sentences()
    assert first == ("least latency: the policy chose edge-only int8, 50.0% behind split early-16")


def test_without_a_split_above_the_floor_that_is_said() -> None:
    unfit = replace(SPLIT, meets_floor=False)
    verdict = choosing(LOCAL, unfit).verdict("latency")
    assert verdict.best_split is None
    assert "no split meets the agreement floor" in verdict.sentences()[-1]


def test_the_table_has_a_line_for_each_row_and_marks_the_choices() -> None:
    table = comparison(
        replace(LOCAL, chosen=True), replace(SPLIT, chosen_throughput=True), JPEG, CHEAT
    ).table()
    _, _, local, split, jpeg, cheat = table.splitlines()
    assert local.split()[-2:] == ["<", "latency"]
    assert split.split()[-2:] == ["<", "frames/s"]
    assert "<" not in jpeg + cheat
    assert jpeg.split()[-6:] == ["q95", "200", "6.00", "1000", "0.990", "yes"]
    assert cheat.split()[-2:] == ["0.800", "no"]


def test_a_row_may_be_the_choice_for_both() -> None:
    assert "< latency < frames/s" in choosing(SPLIT, LOCAL).table()


def test_the_policy_holds_within_a_tenth_on_every_link_and_for_both_figures() -> None:
    near = row("cloud-only raw", 109, 9.2)
    late = row("cloud-only raw", 112, 9.2)
    rare = row("cloud-only raw", 109, 8.9)
    best = choosing(SPLIT, LOCAL)
    assert policy_holds([best, choosing(near, SPLIT)])
    assert not policy_holds([best, choosing(late, SPLIT)])
    assert not policy_holds([choosing(rare, SPLIT), best])


def test_the_policy_does_not_hold_with_a_choice_below_the_floor() -> None:
    assert not policy_holds([choosing(CHEAT, SPLIT, LOCAL)])


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        (None, "edge-only int8"),
        (Raw(), "cloud-only raw"),
        (Picture(format="jpeg", quality=85), "cloud-only JPEG q85"),
        (Picture(format="webp", quality=None), "cloud-only WebP lossless"),
        (Symbols(levels=16, step=0.25, zero_point=1), "split early"),
    ],
)
def test_a_row_is_called_as_in_the_literature(encoding: Encoding | None, name: str) -> None:
    figures = Figures(
        edge_ms=1, encode_ms=1, decode_ms=1, tail_ms=1, payload_bytes=1, payload_bytes_p95=1,
        agreement=1.0, agreement_low=1.0, agreement_high=1.0, divergence=0.0,
    )  # fmt: skip
    rung = Rung(encodings=() if encoding is None else (encoding,), figures=figures)
    candidate = Candidate(
        id="early", cut="early", precision="int8", rungs=(rung,), chosen=0, kept=True, reason=""
    )
    assert row_name(candidate) == name
