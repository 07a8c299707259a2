"""Chains on a real bundle: two inputs, two outputs, two chains, a tensor that skips a segment."""

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.edge.found import found
from tests.reference import Reference
from tests.widebundle import ORDERS, wide_items

from isthmus import Bundle, Candidate, Cut, Manifest, ModelError, open_bundle
from isthmus_edge import Chains
from isthmus_edge.runtimes import Graph, GraphFiles, Runtime, Runtimes
from isthmus_edge.runtimes.onnx_runtime import OnnxRuntime

INPUTS = {"picture", "gain"}
OUTPUTS = ["probabilities", "tone"]


@pytest.fixture(scope="module")
def bundle(wide_bundle: Path) -> Bundle:
    return open_bundle(wide_bundle, "device")


@pytest.fixture(scope="module")
def chains(bundle: Bundle) -> Chains:
    return Chains(bundle, threads=1)


@pytest.fixture(scope="module")
def reference(wide_bundle: Path) -> Reference:
    return Reference(wide_bundle, ORDERS)


def only(runtime: Runtime) -> Runtimes:
    return Runtimes(found=(found(runtime),))


def cut_of(bundle: Bundle, name: str) -> Cut:
    return bundle.manifest.cut_of(bundle.manifest.candidate(name))


def with_manifest(bundle: Bundle, manifest: Manifest) -> Bundle:
    return Bundle(bundle.path, manifest, bundle.fingerprint, bundle.labels)


@pytest.mark.parametrize(
    ("name", "depth"), [("pair", d) for d in range(4)] + [("curves", d) for d in range(5)]
)
def test_a_chain_goes_on_from_what_is_held_behind_any_of_its_segments(
    chains: Chains, bundle: Bundle, reference: Reference, name: str, depth: int
) -> None:
    item = wide_items(3)[2]
    chain = chains.of(cut_of(bundle, name))
    got = chain.finish(chain.head(item, depth), depth)
    assert list(got) == OUTPUTS
    expected = reference.outputs("local", item)
    # The head of `whole` quantises the halves, that of `curved` does not.
    if name == "curves":
        expected = chain.finish(item, 0)
        assert np.allclose(expected["probabilities"], reference.unsplit(item), atol=1e-6)
    for output in OUTPUTS:
        np.testing.assert_array_equal(got[output], expected[output])


@pytest.mark.parametrize(
    ("name", "depth", "held"),
    [
        ("input", 0, INPUTS),
        ("floats", 1, {"features", "tone"}),
        ("pair", 2, {"halves", "lit", "tone"}),
        ("local", 3, {"probabilities", "tone"}),
        ("curves", 2, {"relu_1", "lit", "tone"}),
        ("curves", 3, {"curves", "lit", "tone"}),
    ],
)
def test_only_what_the_rest_of_the_chain_reads_and_answers_are_held(
    chains: Chains, bundle: Bundle, name: str, depth: int, held: set[str]
) -> None:
    head = chains.of(cut_of(bundle, name)).head
    item = wide_items(1)[0]
    assert set(head(item, depth)) == held
    boundary = {"features", "picture"} if depth else INPUTS
    assert set(head(item, depth, boundary)) == held | boundary


def test_inputs_that_nobody_reads_any_more_are_released_before_the_first_segment(
    chains: Chains, bundle: Bundle
) -> None:
    item = wide_items(1)[0] | {"unread": np.zeros(3, np.float32)}
    assert set(chains.of(cut_of(bundle, "input")).head(item, 0)) == INPUTS


def test_an_output_may_be_an_input_passed_through(bundle: Bundle) -> None:
    manifest = bundle.manifest
    passed = msgspec.structs.replace(manifest, outputs=(*manifest.outputs, manifest.inputs[1]))
    chain = Chains(with_manifest(bundle, passed), threads=1).of(cut_of(bundle, "pair"))
    item = wide_items(1)[0]
    held = chain.head(item, 2)
    assert held["gain"] is item["gain"]
    assert list(chain.finish(held, 2)) == [*OUTPUTS, "gain"]


def test_what_two_chains_share_is_loaded_once(
    bundle: Bundle,
) -> None:
    loaded: Counter[str] = Counter()

    class Counting(OnnxRuntime):
        def load(self, files: GraphFiles, threads: int) -> Graph:
            loaded[files.onnx] += 1
            return super().load(files, threads)

    Chains(bundle, 1, only(Counting()))
    segments = {segment for chain in bundle.manifest.chains for segment in chain.segments}
    assert loaded == {segment.file: 1 for segment in segments}


def test_a_chain_that_the_policy_cannot_choose_is_loaded_when_it_is_asked_for(
    bundle: Bundle,
) -> None:
    def dropped(candidate: Candidate) -> Candidate:
        return msgspec.structs.replace(candidate, kept=candidate.id not in {"curves", "local"})

    manifest = bundle.manifest
    candidates = tuple(map(dropped, manifest.candidates))
    poorer = msgspec.structs.replace(manifest, candidates=candidates)
    chains, curves = Chains(with_manifest(bundle, poorer), threads=1), cut_of(bundle, "curves")
    assert chains.loaded(cut_of(bundle, "local")) is not None
    assert chains.loaded(curves) is None
    assert list(chains.of(curves).finish(wide_items(1)[0], 0)) == OUTPUTS
    assert chains.loaded(curves) is not None


def test_a_segment_that_is_not_what_the_manifest_says_is_refused(bundle: Bundle) -> None:
    manifest = bundle.manifest
    whole, curved = manifest.chains
    first, second, third = whole.segments
    swapped = msgspec.structs.replace(second, file=third.file)
    broken = msgspec.structs.replace(whole, segments=(first, swapped, third))
    wrong = msgspec.structs.replace(manifest, chains=(broken, curved))
    with pytest.raises(ModelError, match=r"segment-2\.onnx: goes from .*halves.* says from .*feat"):
        Chains(with_manifest(bundle, wrong), threads=1)
