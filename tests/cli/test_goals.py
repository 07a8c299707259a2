"""The flags of a plan's goals: defaults, units, and what is refused."""

import argparse
from pathlib import Path

import pytest

from isthmus_cli.goals import add_goal_arguments, goals_of, prices_of
from isthmus_partitioner.planning.constraints import Goals
from isthmus_partitioner.planning.prices import DEFAULT_PRICES, PRICES_EXAMPLE


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter)
    add_goal_arguments(made)
    return made


def goals(*flags: str) -> Goals:
    return goals_of(parser().parse_args(flags))


def test_without_flags_the_goals_are_the_defaults() -> None:
    assert goals() == Goals()
    assert prices_of(parser().parse_args([])) is DEFAULT_PRICES


def test_every_flag_arrives_in_its_unit() -> None:
    given = goals(
        *("--objective", "edge-energy", "--min-agreement", "0.99", "--deadline", "50"),
        *("--max-edge-memory", "64.5", "--privacy-depth", "0.3", "--no-raw-input"),
        *("--candidates", "3", "--bandwidth", "1.5:20", "--rtt", "30"),
    )
    assert given == Goals(
        objective="edge-energy",
        min_agreement=0.99,
        deadline_ms=50.0,
        max_edge_memory_bytes=64_500_000,
        privacy_depth=0.3,
        no_raw_input=True,
        candidates=3,
        bandwidth_bps=(1.5e6, 20e6),
        rtt_ms=30.0,
    )


def test_the_whole_range_can_be_written_as_help_shows_it() -> None:
    assert goals("--bandwidth", "0.01:1000") == Goals()


def test_the_older_name_of_the_floor_still_works() -> None:
    assert goals("--agreement-floor", "0.9").min_agreement == 0.9


@pytest.mark.parametrize(
    "flags",
    [
        ("--objective", "speed"),
        ("--bandwidth", "fast"),
        ("--bandwidth", "5"),
        ("--candidates", "0"),
        ("--deadline", "0"),
        ("--max-edge-memory", "inf"),
        ("--min-agreement", "2"),
        ("--agreement-floor", "high"),
        ("--privacy-depth", "nan"),
        ("--rtt", "-1"),
        ("--rtt", "inf"),
        ("--bandwidth", "20:1"),
        ("--bandwidth", "1:2000"),
    ],
)
def test_what_is_no_value_for_a_flag_is_refused_with_its_name(
    flags: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        goals(*flags)
    *_, told = capsys.readouterr().err.splitlines()
    _, named, reason = told.partition(" argument ")[2].partition(flags[0])
    assert (named, flags[1] in reason, "_" in reason) == (flags[0], True, False)


def test_a_range_that_is_refused_is_told_in_the_unit_of_the_flag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        goals("--bandwidth", "20:1")
    told = capsys.readouterr().err
    assert "'20:1' is no range LOW:HIGH in Mbit/s within 0.01:1000" in told


def test_memory_of_less_than_a_byte_is_a_byte() -> None:
    assert goals("--max-edge-memory", "1e-9").max_edge_memory_bytes == 1


def test_prices_come_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("[device]\nactive_w = 7\n", encoding="utf-8")
    options = parser().parse_args(["--prices", str(path)])
    assert prices_of(options).device.active_w == 7.0


def test_help_shows_a_documented_price_file() -> None:
    shown = {line.strip() for line in parser().format_help().splitlines()}
    assert {line.strip() for line in PRICES_EXAMPLE.splitlines()} <= shown
