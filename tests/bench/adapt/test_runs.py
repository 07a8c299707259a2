"""Which ways to answer are compared, and that their runs can be written down."""

from pathlib import Path

import msgspec
import pytest
from tests.bench.adapt.made_up import run
from tests.tinybundle import build_tiny_bundle

from isthmus import Manifest, open_bundle
from isthmus_bench.adapt.runs import Run, policies_of


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return open_bundle(build_tiny_bundle(tmp_path), "device").manifest


def test_ours_and_the_ewma_one_choose_for_themselves(manifest: Manifest) -> None:
    ours, ewma, *_ = policies_of(manifest)
    assert (ours.kind, ours.candidate) == ("ours", None)
    assert (ewma.kind, ewma.candidate) == ("ewma", None)


def test_every_kept_candidate_runs_pinned(manifest: Manifest) -> None:
    pinned = {policy.candidate for policy in policies_of(manifest) if policy.kind == "static"}
    assert {candidate.id for candidate in manifest.kept} <= pinned


def test_baselines_run_whether_the_plan_keeps_them_or_not(manifest: Manifest) -> None:
    none_kept = msgspec.structs.replace(
        manifest,
        candidates=tuple(msgspec.structs.replace(c, kept=False) for c in manifest.candidates),
    )
    pinned = {policy.candidate for policy in policies_of(none_kept) if policy.kind == "static"}
    assert pinned == {"local", "input-raw", "input-jpeg-q95"}


def test_what_misses_the_floor_runs_but_does_not_count(manifest: Manifest) -> None:
    strict = msgspec.structs.replace(manifest, agreement_floor=1.1)
    assert not any(policy.counts for policy in policies_of(strict) if policy.kind == "static")


def test_a_run_is_read_as_it_was_written() -> None:
    known = run("ours", [100.0, None])
    assert msgspec.json.decode(msgspec.json.encode(known), type=Run) == known
