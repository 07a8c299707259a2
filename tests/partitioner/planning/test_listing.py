"""A manifest lists what kept candidates need, and the folder holds that and no more."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest
from tests.partitioner import branched
from tests.partitioner.networks import CLASSES, saved, two_branches
from tests.partitioner.workshop import Workshop, branched_sets

from isthmus import ConfigError, Manifest, decode_manifest, encode_manifest, sha256_of
from isthmus_partitioner import ModelCard, Network, load_model
from isthmus_partitioner.parts import cloud
from isthmus_partitioner.planning.listing import cuts_of, write_records
from isthmus_partitioner.planning.trying import Tried

PLACES = ("stem.relu", "left.relu", "right.relu", "joined")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workshop, Tried]:
    """Two chains: stem, left branch and both; and the right branch alone."""
    folder = tmp_path_factory.mktemp("built")
    network = load_model(saved(two_branches(), folder / "model.onnx"))
    shop = Workshop(network, branched_sets(network), folder / "parts")
    cuts = [branched.cut_behind(network, name) for name in PLACES]
    return shop, shop.tried(cuts, shop.heads("fp32"))


@pytest.fixture
def tried(built: tuple[Workshop, Tried]) -> Tried:
    return built[1]


@pytest.fixture
def shop(built: tuple[Workshop, Tried], tmp_path: Path) -> Workshop:
    """With files of its own."""
    made, _ = built
    folder = Path(shutil.copytree(made.folder, tmp_path / "parts"))
    return Workshop(made.network, made.sets, folder)


def there(shop: Workshop) -> set[str]:
    return {p.relative_to(shop.folder).as_posix() for p in shop.folder.rglob("*.*")}


def check(shop: Workshop, manifest: Manifest) -> None:
    """Valid, and its files are all that is there."""
    assert decode_manifest(encode_manifest(manifest), "manifest") == manifest
    assert there(shop) == {entry.path for entry in manifest.files}
    for entry in manifest.files:
        assert (shop.folder / entry.path).stat().st_size == entry.size_bytes
        assert sha256_of(shop.folder / entry.path) == entry.sha256


def test_everything_that_is_kept_is_listed(shop: Workshop, tried: Tried) -> None:
    manifest = shop.manifest(tried)
    check(shop, manifest)
    assert {cut.id for cut in manifest.cuts} == {*tried.cuts, "input", "local"}
    assert [len(chain.segments) for chain in manifest.chains] == [4, 2]


def test_a_cut_that_is_not_kept_leaves_its_chain_and_the_others_move_up(
    shop: Workshop, tried: Tried
) -> None:
    manifest = shop.manifest(tried, ["joined", "stem.relu"])
    check(shop, manifest)
    assert {cut.id: cut.depth for cut in manifest.cuts} == {
        "input": 0,
        "stem.relu": 1,
        "joined": 2,
        "local": 3,
    }
    assert [(chain.id, len(chain.segments)) for chain in manifest.chains] == [("fp32", 3)]
    left = tried.cuts["stem.relu-and-1-more"]
    assert there(shop).isdisjoint({left.tail, *left.projections})


def test_a_chain_none_of_whose_cuts_is_kept_is_left_out(shop: Workshop, tried: Tried) -> None:
    manifest = shop.manifest(tried, ["stem.relu"])
    assert [chain.id for chain in manifest.chains] == ["fp32"]
    assert not [name for name in there(shop) if "fp32-2-" in name]
    assert "stem.relu-and-1-more-2" not in {candidate.cut for candidate in manifest.candidates}


def test_a_chain_that_local_does_not_need_stays_for_its_cut(shop: Workshop, tried: Tried) -> None:
    manifest = shop.manifest(tried, ["stem.relu-and-1-more-2"])
    check(shop, manifest)
    assert [(chain.id, len(chain.segments)) for chain in manifest.chains] == [
        ("fp32", 1),
        ("fp32.2", 2),
    ]


def test_what_remains_is_served(shop: Workshop, tried: Tried) -> None:
    """A chain that was divided anew still gives the tensors that stages and tails were made for."""
    bundle = shop.bundle(tried, ["joined", "stem.relu-and-1-more-2"])
    asked = shop.sets.evaluation
    for name in ("joined", "stem.relu-and-1-more-2"):
        candidate = bundle.manifest.candidate(name)
        served = bundle.serve(candidate, 0, asked)
        reference = bundle.finish(candidate, asked)
        close = shop.metric.closeness(reference, served.answers)
        assert close.agreement == pytest.approx(candidate.rungs[0].figures.agreement)


def test_nothing_kept_is_one_segment_and_the_whole_network(shop: Workshop, tried: Tried) -> None:
    manifest = shop.manifest(tried, [])
    check(shop, manifest)
    assert there(shop) == {
        "device/fp32-0.onnx",
        "device/fp32-0.onnx.data",
        "cloud/tail-0.onnx",
        "record/note.json",
    }
    assert [(cut.id, cut.depth) for cut in manifest.cuts] == [("input", 0), ("local", 1)]


def test_tails_of_cuts_in_different_chains_share_the_parts_behind_both(
    shop: Workshop, tried: Tried
) -> None:
    """Branches that the device has to hold in two chains meet again in the cloud."""
    manifest = shop.manifest(tried)
    tails = {cut.id: cut.tail for cut in manifest.cuts}
    left, right = tails["stem.relu-and-1-more"], tails["stem.relu-and-1-more-2"]
    assert left[1] != right[1]
    assert left[2:] == right[2:] == tails["joined"][1:] == tails["input"][-1:]
    assert tails["local"] == ()
    assert manifest.batched


def test_candidates_have_the_times_of_their_tails_in_parts(
    shop: Workshop, tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they were measured in one graph, times what the parts take more than that graph."""
    whole = {candidate.cut: candidate.figures.tail_ms for candidate in tried.candidates}
    whole |= {"input": 1.0, "local": 0.0}  # as the workshop has it

    def doubled(runs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        for run in runs.values():
            run()
        return {name: 0.5 if name.startswith("whole") else 1.0 for name in runs}

    monkeypatch.setattr(cloud, "time_runs", doubled)
    for candidate in shop.manifest(tried).candidates:
        tail_ms = 2 * whole[candidate.cut]
        assert {rung.figures.tail_ms for rung in candidate.rungs} == {tail_ms}


def test_a_tail_of_one_graph_has_the_time_that_was_measured(shop: Workshop, tried: Tried) -> None:
    candidates = shop.manifest(tried, []).candidates
    times = {rung.figures.tail_ms for c in candidates if c.cut == "input" for rung in c.rungs}
    assert times == {1.0}, "that of the workshop"


def test_files_say_who_needs_them(shop: Workshop, tried: Tried) -> None:
    for entry in shop.manifest(tried).files:
        folder = entry.path.split("/")[0]
        assert entry.side == folder
        assert folder in {"device", "cloud", "record"}


def test_the_rest_of_a_chain_is_what_its_later_segments_take(shop: Workshop, tried: Tried) -> None:
    local = tried.chains["fp32"]
    cuts = {cut.id: cut for cut in cuts_of(shop.network, tried, local)}
    times = local.prefix_ms
    assert cuts["input"].rest_ms == times[-1]
    assert cuts["stem.relu"].rest_ms == pytest.approx(times[-1] - times[1])
    assert cuts["joined"].rest_ms == pytest.approx(times[-1] - times[3])
    other = tried.chains["fp32.2"].prefix_ms
    assert cuts["stem.relu-and-1-more-2"].rest_ms == pytest.approx(other[-1] - other[1])
    assert (cuts["local"].rest_ms, cuts["local"].macs_share) == (0.0, 1.0)


class Remark(msgspec.Struct):
    """Any record."""

    words: str


def test_a_record_can_be_read_again(tmp_path: Path) -> None:
    write_records(tmp_path, {"plan": Remark("first")})
    write_records(tmp_path, {"plan": Remark("second")})
    (path,) = (tmp_path / "record").iterdir()
    assert path.name == "plan.json"
    assert msgspec.json.decode(path.read_bytes(), type=Remark) == Remark("second")


@pytest.mark.parametrize(
    ("labels", "message"),
    [(("a", "b"), "2 labels for 5 classes"), (("a",) * 6, "6 labels for 5 classes")],
)
def test_labels_that_do_not_fit_are_refused(
    labels: tuple[str, ...], message: str, network: Network
) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelCard("mislabelled", labels).require_fit(network)


def test_a_label_of_two_lines_is_refused() -> None:
    with pytest.raises(ConfigError, match="more than one line"):
        ModelCard("mislabelled", ("a", "b\nc"))


def test_no_labels_or_one_for_each_class_are_fine(network: Network) -> None:
    for labels in ((), tuple("abcde")):
        assert len(labels) in {0, CLASSES}
        ModelCard("labelled", labels).require_fit(network)
