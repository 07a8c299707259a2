"""How much of a plan is loaded: all of it, what fits, or what a pinned frame asks for."""

import gc
import shutil
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.edge.fakes import FakeService, wide_item
from tests.edge.found import found
from tests.tinybundle import _entry, tiny_pictures
from tests.twinbundle import build_twin_bundle
from tests.widebundle import build_wide_bundle, wide_items

from isthmus import Bundle, Cut, FileEntry, ModelError, RuntimeName, open_bundle
from isthmus_edge import Agent, AgentConfig, Chains
from isthmus_edge.runtimes import (
    AnyArray,
    CallOffLike,
    Graph,
    GraphFiles,
    Runtime,
    Runtimes,
)
from isthmus_edge.runtimes.onnx_runtime import OnnxRuntime

MB = 1_000_000
# The wide bundle: `whole` has 3 segments; `curved` shares the first and has 3 of its own.
WHOLE, BOTH = 3 * MB, 6 * MB


class Weighty(OnnxRuntime):
    """Every graph takes a million bytes, or as many as are said; it runs nothing."""

    def __init__(self, **takes_bytes: int) -> None:
        self.takes_bytes = takes_bytes
        self.loaded: Counter[str] = Counter()

    def load(self, files: GraphFiles, threads: int) -> Graph:
        name = Path(files.onnx).stem
        self.loaded[name] += 1
        return _Weight(files.onnx, self.takes_bytes.get(name.replace("-", "_"), MB))


class _Weight:
    def __init__(self, file: str, memory_bytes: int) -> None:
        self.file = file
        self.memory_bytes = memory_bytes

    def run(
        self,
        feeds: Mapping[str, AnyArray],
        wanted: Sequence[str],
        call_off: CallOffLike | None = None,
    ) -> tuple[AnyArray, ...]:
        raise NotImplementedError


class Starved(OnnxRuntime):
    """Has no memory for some files."""

    def __init__(self, *refused: str) -> None:
        self._refused = refused

    def load(self, files: GraphFiles, threads: int) -> Graph:
        if files.onnx in self._refused:
            raise ModelError(f"{files.onnx}: ONNX Runtime cannot load it: bad allocation")
        return super().load(files, threads)


class Older(OnnxRuntime):
    """A LiteRT that does not know the files' operators yet."""

    name: RuntimeName = "litert"

    def load(self, files: GraphFiles, threads: int) -> Graph:
        raise ModelError(f"{files.onnx}: too new")


@pytest.fixture(scope="module")
def bundle(wide_bundle: Path) -> Bundle:
    return open_bundle(wide_bundle, "device")


def cut_of(bundle: Bundle, name: str) -> Cut:
    return bundle.manifest.cut_of(bundle.manifest.candidate(name))


def only(runtime: Runtime) -> Runtimes:
    return Runtimes(found=(found(runtime),))


def files_bytes(bundle: Bundle, *names: str) -> int:
    sizes = {entry.path: entry.size_bytes for entry in bundle.manifest.files}
    return sum(sizes[f"device/{name}"] for name in names)


def test_without_a_limit_every_chain_is_warm(bundle: Bundle) -> None:
    chains = Chains(bundle, 1)
    assert chains.left_out == {}
    assert list(chains.news()) == []
    assert all(chains.loaded(cut) is not None for cut in bundle.manifest.cuts)


def test_what_does_not_fit_is_left_out_but_never_the_one_that_answers_alone(bundle: Bundle) -> None:
    chains = Chains(bundle, 1, only(Weighty()), max_memory_bytes=BOTH - 1)
    assert chains.loaded(cut_of(bundle, "local")) is not None
    assert chains.loaded(cut_of(bundle, "curves")) is None
    assert chains.memory_bytes == WHOLE
    assert chains.left_out["curved"] == (
        "chain 'curved' is not loaded: curved and whole would take 6.0 MB of the 6.0 MB allowed "
        "(max_memory_bytes, --max-memory)"
    )
    assert list(chains.news()) == []


def test_what_fits_exactly_is_warm(bundle: Bundle) -> None:
    chains = Chains(bundle, 1, only(Weighty()), max_memory_bytes=BOTH)
    assert (chains.left_out, chains.memory_bytes) == ({}, BOTH)


def test_the_one_that_answers_alone_says_when_it_takes_more_than_is_allowed(
    bundle: Bundle,
) -> None:
    chains = Chains(bundle, 1, only(Weighty()), max_memory_bytes=2 * MB)
    assert list(chains.news()) == [
        "chain 'whole' answers without a cloud, so it is loaded: it takes 3.0 MB of the 2.0 MB "
        "allowed (max_memory_bytes, --max-memory)"
    ]
    assert list(chains.news()) == []


def test_what_cannot_fit_by_its_files_is_not_even_tried(bundle: Bundle) -> None:
    """The system may kill who tries."""
    own = files_bytes(bundle, "curved-1.onnx", "curved-2.onnx", "curved-3.onnx")
    for most, tries in ((WHOLE + own - 1, 0), (WHOLE + own, 1)):
        weighty = Weighty()
        Chains(bundle, 1, only(weighty), max_memory_bytes=most)
        assert weighty.loaded["curved-1"] == tries


def test_a_segment_counts_in_the_form_in_which_it_is_loaded(tmp_path: Path) -> None:
    bundle = open_bundle(build_twin_bundle(tmp_path / "bundle"), "device")
    names = ["curved-1", "curved-2", "curved-3"]
    for form in ("onnx", "tflite"):
        size = files_bytes(bundle, *(f"{name}.{form}" for name in names))
        for most, tries in ((WHOLE + size - 1, 0), (WHOLE + size, 1)):
            weighty = Weighty() if form == "onnx" else named(Weighty())
            Chains(bundle, 1, only(weighty), max_memory_bytes=most)
            assert weighty.loaded["curved-1"] == tries


def test_weights_beside_a_segment_count(bundle: Bundle) -> None:
    weights = FileEntry(
        path="device/curved-2.onnx.data", side="device", size_bytes=9 * MB, sha256=""
    )
    files = (*bundle.manifest.files, weights)
    weighed = replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, files=files))
    chains = Chains(weighed, 1, only(Weighty()), max_memory_bytes=11 * MB)
    assert "curved and whole would take 12.0 MB" in chains.left_out["curved"]


def test_out_of_memory_at_load_means_fewer_candidates(bundle: Bundle) -> None:
    chains = Chains(bundle, 1, only(Starved("device/curved-2.onnx")))
    assert list(chains.left_out) == ["curved"]
    assert "bad allocation" in chains.left_out["curved"]
    assert chains.loaded(cut_of(bundle, "pair")) is not None


def test_without_memory_for_the_chain_that_answers_alone_there_is_no_device(
    bundle: Bundle,
) -> None:
    with pytest.raises(ModelError, match="bad allocation"):
        Chains(bundle, 1, only(Starved("device/segment-2.onnx")))


def test_an_agent_with_little_memory_answers_with_what_it_has(wide_bundle: Path) -> None:
    """What is pinned beyond that ends with the reason."""
    config = AgentConfig(bundle=wide_bundle, max_memory_bytes=1, cloud="127.0.0.1:1")
    item = wide_item(tiny_pictures(1)[0])
    with Agent.open(config, transport=FakeService()) as agent:
        kept = {candidate.id for candidate in agent.manifest.kept}
        assert agent.infer(item, candidate="local").place == "device"
        with pytest.raises(ModelError, match=r"curved and whole would take .* --max-memory"):
            agent.infer(item, candidate="curves")
    assert "curves" not in kept
    assert {"local", "input", "floats", "pair"} <= kept


def test_a_runtime_that_cannot_load_a_file_leaves_it_to_the_next(tmp_path: Path) -> None:
    """An older LiteRT may lack an operator's version."""
    bundle = open_bundle(build_twin_bundle(tmp_path / "bundle"), "device")
    older = [found(OnnxRuntime()), found(Older())]
    local = Chains(bundle, 1, Runtimes("auto", older)).of(cut_of(bundle, "local"))
    assert list(local.finish(wide_items(1)[0], 0)) == ["probabilities", "tone"]
    with pytest.raises(ModelError, match="too new"):
        Chains(bundle, 1, Runtimes("litert", older))


@pytest.fixture
def three(tmp_path: Path) -> Bundle:
    """A third chain, `other`: the segments of `curved` under other names, but for the first."""
    bundle = open_bundle(build_wide_bundle(tmp_path / "three"), "device")
    manifest = bundle.manifest
    whole, curved = manifest.chains
    segments, entries = [curved.segments[0]], []
    for segment in curved.segments[1:]:
        file = segment.file.replace("curved", "other")
        shutil.copyfile(bundle.file(segment.file), bundle.file(file))
        segments.append(msgspec.structs.replace(segment, file=file))
        entries.append(_entry(bundle.path, file))
    other = msgspec.structs.replace(curved, id="other", segments=tuple(segments))
    cut = msgspec.structs.replace(cut_of(bundle, "curves"), id="others", chain="other")
    candidate = msgspec.structs.replace(manifest.candidate("curves"), id="others", cut="others")
    return replace(
        bundle,
        manifest=msgspec.structs.replace(
            manifest,
            chains=(whole, curved, other),
            cuts=(*manifest.cuts, cut),
            candidates=(*manifest.candidates, candidate),
            files=(*manifest.files, *entries),
        ),
    )


def test_a_pinned_frame_has_its_chain_loaded_and_the_stalest_leaves(three: Bundle) -> None:
    chains = Chains(three, 1, only(Weighty()), max_memory_bytes=BOTH)
    assert list(chains.left_out) == ["other"]
    first = chains.of(cut_of(three, "curves"))
    watched = weakref.ref(first)
    del first
    assert chains.of(cut_of(three, "others")) is chains.loaded(cut_of(three, "others"))
    gc.collect()
    assert watched() is None
    assert chains.loaded(cut_of(three, "curves")) is None
    assert chains.loaded(cut_of(three, "local")) is not None
    assert chains.memory_bytes == BOTH


def test_what_turns_out_to_be_too_large_takes_nobodys_place_again(three: Bundle) -> None:
    weighty = Weighty(other_2=2 * MB)
    chains = Chains(three, 1, only(weighty), max_memory_bytes=BOTH)
    for _ in range(3):
        with pytest.raises(ModelError, match=r"other and whole would take 7\.0 MB of the 6\.0 MB"):
            chains.of(cut_of(three, "others"))
        chains.of(cut_of(three, "curves"))
    assert (weighty.loaded["other-2"], weighty.loaded["curved-2"]) == (1, 2)
    assert chains.memory_bytes == BOTH


class Torn(Weighty):
    """Cannot load one file, and has memory enough."""

    def load(self, files: GraphFiles, threads: int) -> Graph:
        graph = super().load(files, threads)
        if files.onnx == "device/other-2.onnx":
            raise ModelError("device/other-2.onnx: no model")
        return graph


@pytest.mark.parametrize("most", [None, BOTH], ids=["no bound", "a bound"])
def test_others_leave_once_for_a_chain_that_cannot_be_loaded(
    three: Bundle, most: int | None
) -> None:
    torn = Torn()
    chains = Chains(three, 1, only(torn), max_memory_bytes=most)
    for _ in range(4):
        with pytest.raises(ModelError, match=r"no model|would take"):
            chains.of(cut_of(three, "others"))
        chains.of(cut_of(three, "curves"))
    assert torn.loaded["curved-2"] == 2


class Relieved(Weighty):
    """Has memory for one chain beside the first until it is given more."""

    enough = False

    def load(self, files: GraphFiles, threads: int) -> Graph:
        if "other" in files.onnx and not self.enough:
            raise ModelError(f"{files.onnx}: bad allocation")
        return super().load(files, threads)


def test_what_there_was_no_memory_for_is_loaded_when_there_is(three: Bundle) -> None:
    relieved = Relieved()
    chains = Chains(three, 1, only(relieved))
    for _ in range(2):
        with pytest.raises(ModelError, match="bad allocation"):
            chains.of(cut_of(three, "others"))
    relieved.enough = True
    assert chains.of(cut_of(three, "others")) is not None


@pytest.mark.parametrize("file", ["curved-2.onnx", "curved-2.tflite"])
def test_a_bundle_that_was_replaced_gives_nobody_a_strange_head(tmp_path: Path, file: str) -> None:
    """The other half of the head, and the manifest, are those of the bundle that was opened."""
    bundle = open_bundle(build_twin_bundle(tmp_path / "bundle"), "device")
    weighty = Weighty()
    both = (found(weighty), found(named(Weighty())))
    chains = Chains(bundle, 1, Runtimes("auto", both), max_memory_bytes=BOTH - 1)
    path = bundle.file(f"device/{file}")
    path.unlink()  # as a rename does: what is mapped stays
    path.write_bytes(b"another model")
    chains._most_bytes = BOTH
    with pytest.raises(ModelError, match=rf"bundle has changed since .*{file}.*SIGHUP"):
        chains.of(cut_of(bundle, "curves"))
    assert chains.memory_bytes == WHOLE


def named(weighty: Weighty) -> Weighty:
    weighty.name = "litert"
    return weighty


def test_a_segment_that_two_chains_share_is_run_as_each_of_them_allows(tmp_path: Path) -> None:
    """The plan found LiteRT unfit for one of them."""
    bundle = open_bundle(build_twin_bundle(tmp_path / "bundle"), "device")
    whole, curved = bundle.manifest.chains
    curved = msgspec.structs.replace(curved, runtime="onnxruntime", unfit=("litert",))
    manifest = msgspec.structs.replace(bundle.manifest, chains=(whole, curved))
    onnx, litert = Weighty(), named(Weighty())
    both = (found(onnx), found(litert))
    Chains(replace(bundle, manifest=manifest), 1, Runtimes("auto", both))
    assert litert.loaded == dict.fromkeys(("segment-0", "segment-1", "segment-2"), 1)
    assert onnx.loaded == dict.fromkeys(("segment-0", "curved-1", "curved-2", "curved-3"), 1)
