"""Cuts of several tensors, from the network to what the real device and service answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.networks import saved
from tests.partitioner.serving import Bundle
from tests.partitioner.workshop import Workshop, branched_sets

from isthmus import Cut, Encoding, Lossless, Symbols, decode_manifest, encode_manifest
from isthmus_partitioner import load_model
from isthmus_partitioner.runtime import AnyArray, open_session, run_items

Model = Callable[[], onnx.ModelProto]
Places = tuple[tuple[str, ...], ...]

CASES: Mapping[str, tuple[Model, Places]] = {
    "skip": (branched.u_net, (("wide",), ("deep",), ("deeper",), ("joined",))),
    "scalar": (branched.with_gain, (("stem.relu",),)),
    "early": (branched.with_early_answer, (("stem.relu",), ("last.relu", "early"))),
    "output inside": (branched.with_output_inside, (("stem.relu",), ("last.relu",))),
    "input out": (branched.passing_through, (("stem.relu",), ("last.relu",))),
    "mask": (branched.masked, (("vectors",), ("hidden", "is_there"))),
    "minus infinity": (branched.forbidding, (("hidden", "mask"),)),
    "least number": (partial(branched.forbidding, -3.4028235e38), (("hidden", "mask"),)),
}
# Its quantiser makes an output that is read inside twice; ranges of infinity are rough ones.
INT8 = [n for n in CASES if n not in {"output inside", "minus infinity", "least number"}]
EXACT = {"minus infinity": ("mask",)}  # a plan finds these out, see test_sizes


@dataclass(frozen=True, eq=False)
class Made:
    """A network with its cuts as a bundle, and what the unsplit file answers."""

    shop: Workshop
    bundle: Bundle
    reference: Mapping[str, AnyArray]

    @property
    def cuts(self) -> list[Cut]:
        """Those between `input` and `local`."""
        return [c for c in self.bundle.manifest.cuts if c.id not in {"input", "local"}]


def off_by(one: Mapping[str, AnyArray], other: Mapping[str, AnyArray]) -> float:
    assert one.keys() == other.keys()
    pairs = [(one[name].astype(float), other[name].astype(float)) for name in one]
    return max(float(np.abs(got - wanted).max()) for got, wanted in pairs)


def make(name: str, precision: str, folder: Path) -> Made:
    build, places = CASES[name]
    network = load_model(saved(build(), folder / "model.onnx"))
    shop = Workshop(network, branched_sets(network), folder)
    cuts = [branched.cut_behind(network, *names) for names in places]
    bundle = shop.bundle(shop.tried(cuts, shop.heads(precision, exact=EXACT.get(name, ()))))
    feeds = shop.sets.evaluation.feeds(network.inputs)
    whole = open_session(network.path, threads=1)
    return Made(shop, bundle, run_items(whole, feeds, network.outputs))


@pytest.fixture(scope="module")
def of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """A network of `CASES`, each made once."""

    @cache
    def made_once(name: str, precision: str = "fp32") -> Made:
        return make(name, precision, tmp_path_factory.mktemp("made"))

    return made_once


@pytest.fixture(
    scope="module",
    params=[*((name, "fp32") for name in CASES), *((name, "int8") for name in INT8)],
    ids=" ".join,
)
def made(request: pytest.FixtureRequest, of: Callable[..., Made]) -> Made:
    return of(*request.param)


def test_every_rung_is_served_as_the_figures_say(made: Made) -> None:
    """Agreement and bytes of the plan are those of the real device and service."""
    asked = made.shop.sets.evaluation
    for candidate in made.bundle.manifest.candidates:
        for index, rung in enumerate(candidate.rungs):
            served = made.bundle.serve(candidate, index, asked)
            close = made.shop.metric.closeness(made.reference, served.answers, asked.sources)
            assert close.agreement == pytest.approx(rung.figures.agreement, abs=1e-9)
            assert close.divergence == pytest.approx(rung.figures.divergence, abs=1e-3)
            median = np.median(served.payload_bytes)
            assert rung.figures.payload_bytes == pytest.approx(median, abs=1)


def test_at_the_finest_step_the_answers_are_nearly_those_of_the_unsplit_network(made: Made) -> None:
    assert made.cuts
    for cut in made.cuts:
        served = made.bundle.serve(
            made.bundle.manifest.candidate(cut.id), 0, made.shop.sets.evaluation
        )
        assert off_by(served.answers, made.reference) < 0.15


def test_after_any_head_the_device_can_finish_alone(made: Made) -> None:
    manifest, asked = made.bundle.manifest, made.shop.sets.evaluation
    local = made.bundle.serve(manifest.local, 0, asked).answers
    for cut in made.cuts:
        finished = made.bundle.finish(manifest.candidate(cut.id), asked)
        assert off_by(finished, local) < 1e-6
    is_exact = manifest.local.precision == "fp32"
    assert off_by(local, made.reference) < (1e-5 if is_exact else 0.1)


def test_what_the_head_has_answered_does_not_depend_on_the_wire(made: Made) -> None:
    manifest, asked = made.bundle.manifest, made.shop.sets.evaluation
    local = made.bundle.serve(manifest.local, 0, asked).answers
    for cut in made.cuts:
        candidate = manifest.candidate(cut.id)
        coarse = made.bundle.serve(candidate, len(candidate.rungs) - 1, asked).answers
        for name in cut.answers:
            assert np.allclose(coarse[name], local[name], atol=1e-6)


def test_the_manifest_is_valid(made: Made) -> None:
    manifest = made.bundle.manifest
    assert decode_manifest(encode_manifest(manifest), "manifest") == manifest


def names(cut: Cut) -> list[str]:
    return [tensor.boundary.name for tensor in cut.tensors]


def makes(made: Made, cut: Cut) -> set[str]:
    """All that the parts of a cut's tail make."""
    graphs = (onnx.load(made.shop.folder / file).graph for file in cut.tail)
    return {info.name for graph in graphs for info in graph.output}


def test_a_skip_over_a_cut_crosses_beside_it_and_is_held_from_an_earlier_segment(
    of: Callable[..., Made],
) -> None:
    """`wide` is made by the first segment, skips the next two, and is read by the fourth."""
    made = of("skip")
    found = [names(cut) for cut in made.cuts]
    assert found == [["wide"], ["wide", "deep"], ["wide", "deeper"], ["joined"]]
    (chain,) = made.bundle.manifest.chains
    assert [[s.name for s in segment.outputs] for segment in chain.segments] == [
        ["wide"], ["deep"], ["deeper"], ["joined"], ["answer"],
    ]  # fmt: skip
    assert [spec.name for spec in chain.segments[3].inputs] == ["wide", "deeper"]
    assert chain.held(2) == ("deep", "wide")


def test_a_scalar_input_that_both_sides_read_crosses_exactly(of: Callable[..., Made]) -> None:
    made = of("scalar")
    (cut,) = made.cuts
    assert [(t.boundary.name, t.boundary.data_type, t.boundary.shape) for t in cut.tensors] == [
        ("gain.real", "float32", ()),
        ("stem.relu", "float32", (8, 8, 8)),
    ]
    for rung in made.bundle.manifest.candidate(cut.id).rungs:
        assert [type(encoding) for encoding in rung.encodings] == [Lossless, Symbols]


def test_an_output_that_the_head_has_computed_is_no_output_of_the_tail(
    of: Callable[..., Made],
) -> None:
    made = of("early")
    assert [(names(cut), cut.answers) for cut in made.cuts] == [
        (["stem.relu"], ()),
        (["last.relu"], ("early",)),
    ]
    assert [makes(made, cut) & {"early", "answer"} for cut in made.cuts] == [
        {"early", "answer"},
        {"answer"},
    ]


def test_a_tensor_that_crosses_may_be_an_answer_too(of: Callable[..., Made]) -> None:
    made = of("output inside")
    assert [(names(cut), cut.answers) for cut in made.cuts] == [
        (["stem.relu"], ("stem.relu",)),
        (["last.relu"], ("stem.relu",)),
    ]


def test_an_input_that_is_an_output_is_answered_by_any_head(of: Callable[..., Made]) -> None:
    made = of("input out")
    assert [(names(cut), cut.answers) for cut in made.cuts] == [
        (["hint", "stem.relu"], ("hint",)),
        (["hint", "last.relu"], ("hint",)),
    ]


def test_ids_and_masks_cross_exactly_beside_symbols(of: Callable[..., Made]) -> None:
    made = of("mask")
    first, second = made.cuts
    assert (names(first), names(second)) == (["ids", "vectors"], ["is_there", "hidden"])
    assert [t.wire.data_type for t in first.tensors] == ["int64", "uint8"]
    assert [t.wire.data_type for t in second.tensors] == ["bool", "uint8"]
    for cut in (first, second):
        for rung in made.bundle.manifest.candidate(cut.id).rungs:
            assert [type(encoding) for encoding in rung.encodings] == [Lossless, Symbols]


@pytest.mark.parametrize(
    ("name", "encoding"), [("minus infinity", Lossless), ("least number", Symbols)]
)
def test_a_mask_that_forbids_still_does_behind_the_wire(
    name: str, encoding: type[Encoding], of: Callable[..., Made]
) -> None:
    made = of(name)
    (cut,) = made.cuts
    assert names(cut) == ["mask", "hidden"]
    for rung in made.bundle.manifest.candidate(cut.id).rungs:
        assert isinstance(rung.encodings[0], encoding)
