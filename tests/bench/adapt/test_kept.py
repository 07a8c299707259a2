"""Runs that were finished before the bench was broken off."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.bench.adapt.made_up import SCENE, run
from tests.tinybundle import build_tiny_bundle

from isthmus import ConfigError, describe_machine, open_bundle
from isthmus_bench.adapt.kept import KeptRuns, Setting, code_digest, setting_of
from isthmus_bench.adapt.subjects import Built
from isthmus_bench.traces import Trace

SETTING = Setting(
    fingerprint="abc",
    fps=6.0,
    seconds=30.0,
    late_after_ms=300.0,
    tell_deadline=True,
    items=9,
    lanes=2,
    machine="a board",
    code="123",
)
DRIVE = Trace("drive", (0.0, 1.0), (5.0, 2.0), 40.0)
RUN = run("ours", [100.0, None])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one finished run."""
    file = tmp_path / "runs.jsonl"
    KeptRuns(file, SETTING, resume=False).add(DRIVE, RUN)
    return file


def test_a_finished_run_is_found_again(path: Path) -> None:
    kept = KeptRuns(path, SETTING, resume=True)
    assert kept.find(DRIVE, "ours", 0) == RUN
    assert kept.find(DRIVE, "ours", 1) is None
    assert kept.find(DRIVE, "local", 0) is None


@pytest.mark.parametrize(
    "changes",
    [{"times_s": (0.0, 2.0)}, {"mbps": (5.0, 2.5)}, {"rtt_ms": 41.0}, {"name": "walk"}],
    ids=str,
)
def test_a_run_on_a_trace_that_has_changed_is_not_used(path: Path, changes: dict[str, Any]) -> None:
    kept = KeptRuns(path, SETTING, resume=True)
    assert kept.find(replace(DRIVE, **changes), "ours", 0) is None


@pytest.mark.parametrize(
    "changes",
    [{"fingerprint": "def"}, {"lanes": 1}, {"machine": "another board"}, {"code": "124"}],
    ids=str,
)
def test_a_run_of_another_setting_stays_but_is_not_used(
    path: Path, changes: dict[str, Any]
) -> None:
    other = msgspec.structs.replace(SETTING, **changes)
    assert KeptRuns(path, other, resume=True).find(DRIVE, "ours", 0) is None
    assert KeptRuns(path, SETTING, resume=True).find(DRIVE, "ours", 0) == RUN


def test_the_setting_is_that_of_this_machine_and_this_code(tmp_path: Path) -> None:
    bundle = open_bundle(build_tiny_bundle(tmp_path), "device")
    found = setting_of(Built("net", bundle, tmp_path, 9, 0), SCENE, 3)
    assert (found.lanes, found.machine) == (3, describe_machine())
    assert len(found.code) == 64
    assert found.fingerprint == bundle.fingerprint


def test_code_is_other_code_once_a_file_has_changed_or_moved(tmp_path: Path) -> None:
    file = tmp_path / "room" / "policy.py"
    file.parent.mkdir()
    file.write_text("A = 1\n")
    first = code_digest([tmp_path])
    (tmp_path / "notes.txt").write_text("no code")
    assert code_digest([tmp_path]) == first
    file.write_text("A = 2\n")
    changed = code_digest([tmp_path])
    file.rename(tmp_path / "policy.py")
    assert len({first, changed, code_digest([tmp_path])}) == 3


def test_of_two_runs_the_one_counts_that_was_starved_less(path: Path) -> None:
    kept = KeptRuns(path, SETTING, resume=True)
    kept.add(DRIVE, msgspec.structs.replace(RUN, stolen_share=0.2))
    assert kept.find(DRIVE, "ours", 0) == RUN
    quieter = msgspec.structs.replace(RUN, repeat=1)
    kept.add(DRIVE, msgspec.structs.replace(quieter, stolen_share=0.2))
    kept.add(DRIVE, quieter)
    for each in (kept, KeptRuns(path, SETTING, resume=True)):
        assert each.find(DRIVE, "ours", 0) == RUN
        assert each.find(DRIVE, "ours", 1) == quieter


def test_a_run_that_lost_a_frame_is_not_replaced_by_a_quieter_one(path: Path) -> None:
    kept = KeptRuns(path, SETTING, resume=True)
    losing = msgspec.structs.replace(RUN, lost=1, stolen_share=0.2)
    kept.add(DRIVE, losing)
    kept.add(DRIVE, RUN)
    assert kept.find(DRIVE, "ours", 0) == losing


def test_it_is_told_which_runs_are_from_before(path: Path) -> None:
    kept = KeptRuns(path, SETTING, resume=True)
    kept.add(DRIVE, msgspec.structs.replace(RUN, stolen_share=0.2))
    kept.add(DRIVE, msgspec.structs.replace(RUN, repeat=1))
    assert kept.is_from_before(DRIVE, "ours", 0)  # the worse one of now does not count
    assert not kept.is_from_before(DRIVE, "ours", 1)
    assert not kept.is_from_before(DRIVE, "ours", 2)
    kept.add(DRIVE, msgspec.structs.replace(RUN, lost=1))
    assert not kept.is_from_before(DRIVE, "ours", 0)


def test_without_resume_nothing_is_found(path: Path) -> None:
    assert KeptRuns(path, SETTING, resume=False).find(DRIVE, "ours", 0) is None
    assert KeptRuns(path, SETTING, resume=True).find(DRIVE, "ours", 0) is None


def test_a_line_that_was_broken_off_is_dropped_and_the_next_run_begins_a_new_one(
    path: Path,
) -> None:
    path.write_bytes(path.read_bytes() + b'[{"fingerprint": "ab')
    another = msgspec.structs.replace(RUN, repeat=1)
    KeptRuns(path, SETTING, resume=True).add(DRIVE, another)
    kept = KeptRuns(path, SETTING, resume=True)
    assert kept.find(DRIVE, "ours", 0) == RUN
    assert kept.find(DRIVE, "ours", 1) == another


def test_a_file_that_cannot_be_written_anew_stays_as_it_is(path: Path) -> None:
    before = path.read_bytes()
    (path.parent / "runs.jsonl.new").mkdir()
    with pytest.raises(ConfigError, match="cannot be read and written"):
        KeptRuns(path, SETTING, resume=False)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        KeptRuns(tmp_path / "nowhere" / "runs.jsonl", SETTING, resume=True)
