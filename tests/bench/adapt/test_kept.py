"""Runs that were finished before the bench was broken off."""

from pathlib import Path

import msgspec
import pytest
from tests.bench.adapt.made_up import run

from isthmus import ConfigError
from isthmus_bench.adapt.kept import KeptRuns, Setting

SETTING = Setting(
    fingerprint="abc",
    fps=6.0,
    seconds=30.0,
    late_after_ms=300.0,
    tell_deadline=True,
    items=9,
)
RUN = run("ours", [100.0, None])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one finished run."""
    file = tmp_path / "runs.jsonl"
    KeptRuns(file, SETTING, resume=False).add(RUN)
    return file


def test_a_finished_run_is_found_again(path: Path) -> None:
    kept = KeptRuns(path, SETTING, resume=True)
    assert kept.find("drive", "ours", 0) == RUN
    assert kept.find("drive", "ours", 1) is None
    assert kept.find("drive", "local", 0) is None


def test_of_two_runs_the_one_counts_that_was_starved_less(path: Path) -> None:
    kept = KeptRuns(path, SETTING, resume=True)
    kept.add(msgspec.structs.replace(RUN, stolen_share=0.2))
    assert kept.find("drive", "ours", 0) == RUN
    quieter = msgspec.structs.replace(RUN, repeat=1)
    kept.add(msgspec.structs.replace(quieter, stolen_share=0.2))
    kept.add(quieter)
    for each in (kept, KeptRuns(path, SETTING, resume=True)):
        assert each.find("drive", "ours", 0) == RUN
        assert each.find("drive", "ours", 1) == quieter


def test_a_run_that_lost_a_frame_is_not_replaced_by_a_quieter_one(path: Path) -> None:
    kept = KeptRuns(path, SETTING, resume=True)
    losing = msgspec.structs.replace(RUN, lost=1, stolen_share=0.2)
    kept.add(losing)
    kept.add(RUN)
    assert kept.find("drive", "ours", 0) == losing


def test_without_resume_nothing_is_found(path: Path) -> None:
    assert KeptRuns(path, SETTING, resume=False).find("drive", "ours", 0) is None
    assert KeptRuns(path, SETTING, resume=True).find("drive", "ours", 0) is None


def test_a_run_of_another_setting_stays_but_is_not_used(path: Path) -> None:
    other = msgspec.structs.replace(SETTING, fingerprint="def")
    assert KeptRuns(path, other, resume=True).find("drive", "ours", 0) is None
    assert KeptRuns(path, SETTING, resume=True).find("drive", "ours", 0) == RUN


def test_a_line_that_was_broken_off_is_dropped_and_the_next_run_begins_a_new_one(
    path: Path,
) -> None:
    path.write_bytes(path.read_bytes() + b'[{"fingerprint": "ab')
    another = msgspec.structs.replace(RUN, repeat=1)
    KeptRuns(path, SETTING, resume=True).add(another)
    kept = KeptRuns(path, SETTING, resume=True)
    assert kept.find("drive", "ours", 0) == RUN
    assert kept.find("drive", "ours", 1) == another


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        KeptRuns(tmp_path / "nowhere" / "runs.jsonl", SETTING, resume=True)
