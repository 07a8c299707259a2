"""The steps one by one: each does what is missing, and uses again what is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.partitioner.conftest import QUICK
from tests.partitioner.networks import layers_only, pictures, residual, saved

from isthmus import BundleError, ConfigError, Symbols, open_bundle
from isthmus_partitioner import ModelCard, PictureSets, PlanConfig, Workbench, load_model


class Desk:
    """A workbench on a model, and what it said."""

    def __init__(
        self, model: Path, sets: PictureSets, work: Path, config: PlanConfig = QUICK
    ) -> None:
        self.said: list[str] = []
        self.bench = Workbench(
            load_model(model),
            sets,
            config=config,
            work=work,
            card=ModelCard("tiny"),
            progress=self.said.append,
        )

    def did(self, word: str) -> bool:
        return any(word in line for line in self.said)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(residual(), tmp_path / "model.onnx")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def test_build_does_all_the_steps_before_it(
    model: Path, sets: PictureSets, work: Path, tmp_path: Path
) -> None:
    desk = Desk(model, sets, work)
    out = desk.bench.build(tmp_path / "bundle")
    assert desk.did("quantising")
    assert desk.did("profiling")
    assert open_bundle(out, "device").manifest.model_name == "tiny"


def test_steps_that_were_done_are_not_done_again(
    model: Path, sets: PictureSets, work: Path, tmp_path: Path
) -> None:
    first = Desk(model, sets, work)
    profiled, planned = first.bench.profile(), first.bench.plan()
    assert (work / "int8.onnx").is_file()
    second = Desk(model, sets, work)
    assert second.bench.profile() == profiled
    assert second.bench.plan() == planned
    second.bench.build(tmp_path / "bundle")
    assert not second.did("quantising")
    assert not second.did("timing")


def test_a_profile_is_used_for_another_plan(model: Path, sets: PictureSets, work: Path) -> None:
    Desk(model, sets, work).bench.profile()
    for config in (QUICK, replace(QUICK, steps=(1 / 3,)), replace(QUICK, bottleneck=True)):
        later = Desk(model, sets, work, config)
        later.bench.plan()
        assert not later.did("quantising")
        assert not later.did("profiling")
        assert later.did("timing")


def test_another_model_or_other_pictures_are_profiled_anew(
    model: Path, sets: PictureSets, work: Path, tmp_path: Path
) -> None:
    Desk(model, sets, work).bench.profile()
    stranger = saved(residual(seed=1), tmp_path / "stranger.onnx")
    others = PictureSets(pictures(12, seed=9), sets.evaluation)
    for desk in (Desk(stranger, sets, work), Desk(model, others, work)):
        desk.bench.profile()
        assert desk.did("profiling")


def test_a_damaged_record_is_made_again(model: Path, sets: PictureSets, work: Path) -> None:
    Desk(model, sets, work).bench.profile()
    (work / "profile.json").write_text("{")
    desk = Desk(model, sets, work)
    desk.bench.profile()
    assert desk.did("profiling")
    assert not desk.did("quantising")


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"torn")])
def test_a_plan_whose_files_were_damaged_is_made_again(
    damage: Callable[[Path], object],
    model: Path,
    sets: PictureSets,
    work: Path,
    tmp_path: Path,
) -> None:
    Desk(model, sets, work).bench.plan()
    damage(work / "parts" / "device" / "segment-0.onnx")
    desk = Desk(model, sets, work)
    open_bundle(desk.bench.build(tmp_path / "bundle"), "device")
    assert not desk.did("quantising")


def test_pictures_of_another_size_are_refused(model: Path, work: Path) -> None:
    for sets in (
        PictureSets(pictures(4, size=64), pictures(4)),
        PictureSets(pictures(4), pictures(4, size=64)),
    ):
        with pytest.raises(ConfigError, match=r"\[64, 64, 3\], the model wants \[32, 32, 3\]"):
            Desk(model, sets, work)


def test_a_work_directory_that_cannot_be_made_is_named(
    model: Path, sets: PictureSets, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BundleError, match="work directory cannot be used"):
        Desk(model, sets, tmp_path / "file" / "work").bench.profile()


def test_a_network_without_convolutions_and_with_odd_names_goes_all_the_way(
    sets: PictureSets, work: Path, tmp_path: Path
) -> None:
    """Logits instead of probabilities, `:` and `/` in names, only MatMul layers."""
    model = saved(layers_only(), tmp_path / "layers.onnx")
    out = Desk(model, sets, work).bench.build(tmp_path / "bundle")
    for side in ("device", "cloud"):
        manifest = open_bundle(out, side).manifest
    assert manifest.outputs[0].name == "model/logits:0"
    assert manifest.input.name == "image:0"
    kept = [c for c in manifest.kept if any(isinstance(e, Symbols) for e in c.encodings)]
    assert kept
    for candidate in kept:
        cut = manifest.cut_of(candidate)
        assert set(cut.id).isdisjoint(":/")
        assert candidate.figures.agreement > 0.8
