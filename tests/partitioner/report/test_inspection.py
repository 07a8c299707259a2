"""An inspection tells what the bundle's plan was for, if the bundle says."""

import re
import shutil
from pathlib import Path

import msgspec
import pytest
from tests.partitioner.conftest import Planned
from tests.twinbundle import build_twin_bundle

from isthmus import sha256_of
from isthmus_partitioner import write_bundle
from isthmus_partitioner.report.inspection import inspect_bundle, render_inspection
from isthmus_partitioner.report.recorded import report_data
from isthmus_partitioner.report.words import bytes_words, goals_words

PLAN = "record/plan.json"


def line_of(bundle: Path) -> str:
    lines = render_inspection(inspect_bundle(bundle)).splitlines()
    (line,) = (line for line in lines if line.startswith("goals "))
    return line


@pytest.fixture
def bundle(planned: Planned, tmp_path: Path) -> Path:
    return write_bundle(planned.plan, planned.parts, tmp_path / "bundle")


def test_the_goals_of_the_plan_are_shown(bundle: Path, planned: Planned) -> None:
    goals = planned.plan.record.goals
    assert inspect_bundle(bundle).goals == goals
    assert line_of(bundle).endswith(goals_words(goals))


def test_a_bundle_without_a_plan_says_so(tiny_bundle: Path) -> None:
    assert inspect_bundle(tiny_bundle).goals is None
    assert "not recorded" in line_of(tiny_bundle)


def test_a_damaged_plan_is_not_believed(bundle: Path) -> None:
    data = (bundle / PLAN).read_bytes()
    changed = re.sub(rb'("rtt_ms": ?)0', rb"\g<1>9", data, count=1)
    assert changed != data
    (bundle / PLAN).write_bytes(changed)
    inspection = inspect_bundle(bundle)
    assert inspection.goals is None
    assert [file.path for file in inspection.damaged] == [PLAN]


@pytest.mark.parametrize("data", [b"{}", b"\xff", b"[" * 100_000])
def test_a_plan_of_another_make_is_no_obstacle(
    planned: Planned, tmp_path: Path, data: bytes
) -> None:
    parts = Path(shutil.copytree(planned.parts, tmp_path / "parts"))
    (parts / PLAN).write_bytes(data)
    manifest = planned.plan.manifest
    files = tuple(
        msgspec.structs.replace(e, size_bytes=len(data), sha256=sha256_of(parts / PLAN))
        if e.path == PLAN
        else e
        for e in manifest.files
    )
    changed = msgspec.structs.replace(manifest, files=files)
    plan = msgspec.structs.replace(planned.plan, manifest=changed)
    bundle = write_bundle(plan, parts, tmp_path / "bundle")
    inspection = inspect_bundle(bundle)
    assert inspection.damaged == ()
    assert inspection.goals is None


def test_a_plan_that_is_too_large_is_not_read(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus_partitioner.report.inspection._MOST_PLAN_BYTES", 100)
    assert inspect_bundle(bundle).goals is None


def test_tails_are_shown_as_graphs_with_the_cuts_that_share_them(tiny_bundle: Path) -> None:
    shown = render_inspection(inspect_bundle(tiny_bundle))
    (table,) = (part for part in shown.split("\n\n") if part.startswith("Tails"))
    rows = [line.split() for line in table.splitlines()[3:]]
    assert [(row[0], row[3:]) for row in rows] == [
        ("cloud/tail-0.onnx", ["input"]),
        ("cloud/tail-1.onnx", ["input,", "cut"]),
        ("cloud/entry-cut.onnx", ["cut"]),
    ]
    assert " entry-cut + tail-1 " in shown
    assert "2, made of 3 graphs; frames go together" in shown


def test_why_frames_go_one_by_one_is_shown(planned: Planned, tmp_path: Path) -> None:
    parts = Path(shutil.copytree(planned.parts, tmp_path / "parts"))
    record = msgspec.structs.replace(planned.plan.record, unbatched="three of them mix")
    (parts / PLAN).write_bytes(msgspec.json.encode(record))
    files = tuple(
        msgspec.structs.replace(e, size_bytes=size, sha256=sha256_of(parts / PLAN))
        if e.path == PLAN
        else e
        for size in ((parts / PLAN).stat().st_size,)
        for e in planned.plan.manifest.files
    )
    manifest = msgspec.structs.replace(planned.plan.manifest, files=files, batched=False)
    plan = msgspec.structs.replace(planned.plan, manifest=manifest)
    bundle = write_bundle(plan, parts, tmp_path / "bundle")
    assert any("one by one: three of them mix" in note for note in report_data(bundle).notes)
    inspection = inspect_bundle(bundle)
    assert inspection.unbatched == "three of them mix"
    assert "frames go one by one: three of them mix\n" in render_inspection(inspection)
    nobody = msgspec.structs.replace(inspection, unbatched="")
    assert "one by one: nothing is recorded of why\n" in render_inspection(nobody)


def test_a_chain_is_shown_with_what_must_not_run_it(tmp_path: Path) -> None:
    inspection = inspect_bundle(build_twin_bundle(tmp_path / "twins"))
    manifest = inspection.manifest
    chains = (msgspec.structs.replace(c, unfit=("tflite-runtime",)) for c in manifest.chains)
    known = msgspec.structs.replace(manifest, chains=tuple(chains))
    shown = render_inspection(msgspec.structs.replace(inspection, manifest=known))
    assert shown.count(" LiteRT (unfit: tflite-runtime) ") == len(manifest.chains)


def test_a_chain_is_shown_with_its_runtime_and_the_forms_of_its_segments(tmp_path: Path) -> None:
    without = {"device/curved-2.onnx"}
    inspection = inspect_bundle(build_twin_bundle(tmp_path / "twins", without))
    (table,) = (t for t in render_inspection(inspection).split("\n\n") if t.startswith("Chains"))
    rows = iter(table.splitlines()[3:])
    sizes = {file.path: bytes_words(file.size_bytes) for file in inspection.files}
    for chain in inspection.manifest.chains:
        for index, segment in enumerate(chain.segments):
            row, form = next(rows), segment.tflite
            assert f" {segment.file} " in row
            assert ("LiteRT" in row) is (index == 0)
            assert (form is None) is (segment.file in without)
            assert form is None or f" {sizes[form.file]} " in row
    assert list(rows) == []
