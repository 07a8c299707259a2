"""How much of a plan is loaded: all of it, what fits, or what a pinned frame asks for."""

import gc
import weakref
from pathlib import Path

import pytest
from tests.edge.fakes import wide_item
from tests.tinybundle import tiny_pictures
from tests.twinbundle import build_twin_bundle
from tests.widebundle import wide_items

from isthmus import Bundle, Cut, ModelError, RuntimeName, open_bundle
from isthmus_edge import Agent, AgentConfig, Chains
from isthmus_edge.runtimes import FoundRuntime, Graph, GraphFiles, Runtime, Runtimes
from isthmus_edge.runtimes.onnx_runtime import OnnxRuntime


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


def test_without_a_limit_every_chain_is_warm(bundle: Bundle) -> None:
    chains = Chains(bundle, 1)
    assert chains.left_out == {}
    assert all(chains.loaded(cut) is not None for cut in bundle.manifest.cuts)


def test_what_does_not_fit_is_left_out_but_never_the_one_that_answers_alone(bundle: Bundle) -> None:
    chains = Chains(bundle, 1, max_memory_bytes=1)
    assert chains.loaded(cut_of(bundle, "local")) is not None
    assert chains.loaded(cut_of(bundle, "curves")) is None
    assert "does not fit into 0 MB" in chains.left_out["curved"]


def test_out_of_memory_at_load_means_fewer_candidates(bundle: Bundle) -> None:
    starved = Starved("device/curved-2.onnx")
    runtimes = Runtimes(found=(FoundRuntime("onnxruntime", starved, None),))
    chains = Chains(bundle, 1, runtimes)
    assert list(chains.left_out) == ["curved"]
    assert "bad allocation" in chains.left_out["curved"]
    assert chains.loaded(cut_of(bundle, "pair")) is not None


def test_without_memory_for_the_chain_that_answers_alone_there_is_no_device(
    bundle: Bundle,
) -> None:
    starved = Starved("device/segment-2.onnx")
    with pytest.raises(ModelError, match="bad allocation"):
        Chains(bundle, 1, Runtimes(found=(FoundRuntime("onnxruntime", starved, None),)))


def test_an_agent_with_little_memory_answers_with_what_it_has(wide_bundle: Path) -> None:
    config = AgentConfig(bundle=wide_bundle, max_memory_bytes=1)
    with Agent.open(config) as agent:
        kept = {candidate.id for candidate in agent.manifest.kept}
        assert agent.infer(wide_item(tiny_pictures(1)[0])).place == "device"
    assert "curves" not in kept
    assert {"local", "input", "floats", "pair"} <= kept


def test_a_runtime_that_cannot_load_a_file_leaves_it_to_the_next(tmp_path: Path) -> None:
    """An older LiteRT may lack an operator's version."""
    bundle = open_bundle(build_twin_bundle(tmp_path / "bundle"), "device")
    runtimes: list[Runtime] = [OnnxRuntime(), Older()]
    older = [FoundRuntime(runtime.name, runtime, None) for runtime in runtimes]
    local = Chains(bundle, 1, Runtimes("auto", older)).of(cut_of(bundle, "local"))
    assert list(local.finish(wide_items(1)[0], 0)) == ["probabilities", "tone"]
    with pytest.raises(ModelError, match="too new"):
        Chains(bundle, 1, Runtimes("litert", older))


def test_a_pinned_frame_has_its_chain_loaded_and_the_stalest_leaves(bundle: Bundle) -> None:
    chains = Chains(bundle, 1, max_memory_bytes=1)
    first = chains.of(cut_of(bundle, "curves"))
    assert chains.loaded(cut_of(bundle, "curves")) is first
    watched = weakref.ref(first)
    del first
    chains._make_room_for(bundle.manifest.chains[0])
    gc.collect()
    assert watched() is None
    assert chains.loaded(cut_of(bundle, "curves")) is None
    assert chains.loaded(cut_of(bundle, "local")) is not None
