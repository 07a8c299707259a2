"""Chains and cuts that could not be run as they say are refused with the name of what is wrong."""

from typing import Any

import pytest
from tests.protos.edits import Change, edited, put

from isthmus import (
    BundleError,
    Manifest,
    decode_manifest,
)
from isthmus_bench.fuzz.plan import wire_plan

# Where things are in `wire_plan`.
WHOLE, OTHER = 0, 1
INPUT, EARLY, MIXED, STATES, LOCAL = 0, 1, 2, 3, 4


def _segment(chain: int, segment: int, *path: str | int, to: object) -> Change:
    return put("chains", chain, "segments", segment, *path, to=to)


def _cut(cut: int, *path: str | int, to: object) -> Change:
    return put("cuts", cut, *path, to=to)


def _again(*path: str | int) -> Change:
    """The first of a list once more, at its end."""

    def change(document: dict[str, Any]) -> None:
        node: Any = document
        for key in path:
            node = node[key]
        node.append(node[0])

    return change


def _both_tensors(cut: int, tensor: int, **fields: object) -> Change:
    """Boundary and wire of a tensor that crosses as it is."""

    def change(document: dict[str, Any]) -> None:
        for spec in ("boundary", "wire"):
            document["cuts"][cut]["tensors"][tensor][spec].update(fields)

    return change


def _stage(wire: list[int] | None = None, **fields: object) -> Change:
    """The stage of the first tensor of `mixed`, and the shape of what it makes."""

    def change(document: dict[str, Any]) -> None:
        tensor = document["cuts"][MIXED]["tensors"][0]
        tensor["stage"] = fields
        if wire is not None:
            tensor["wire"]["shape"] = wire

    return change


CHAINS: list[tuple[Change, str]] = [
    (put("inputs", to=[]), "no inputs, no outputs or no chains"),
    (put("outputs", to=[]), "no inputs, no outputs or no chains"),
    (put("chains", to=[]), "no inputs, no outputs or no chains"),
    (_again("inputs"), "input 'picture' stands in it twice"),
    (_again("outputs"), "output 'probabilities' stands in it twice"),
    (_again("chains"), "chain 'whole' stands in it twice"),
    (put("chains", OTHER, "segments", to=[]), "chain 'other' has no segments"),
    (put("chains", OTHER, "unfit", to=["onnxruntime"]), "for onnxruntime, which it calls unfit"),
    (put("chains", OTHER, "precision", to="int4"), "Invalid enum value 'int4'"),
    (_segment(WHOLE, 2, "inputs", to=[]), "segment-2.onnx of chain 'whole' reads nothing"),
    (_segment(WHOLE, 0, "outputs", to=[]), "segment-0.onnx of chain 'whole' reads nothing or"),
    (_again("chains", WHOLE, "segments", 1, "inputs"), "input 'early' stands in it twice"),
    (
        _segment(WHOLE, 1, "inputs", 0, "shape", to=[9, 9]),
        r"segment-1.onnx of chain 'whole' reads 'early' uint8\[9, 9\], "
        r"there is 'early' uint8\[8, 20, 20\]",
    ),
    (
        _segment(WHOLE, 1, "inputs", 0, "batch_axis", to=None),
        "batch axis None, there is 'early'",
    ),
    (_segment(WHOLE, 0, "inputs", 0, "name", to="nobody"), "which is not there by then"),
    (_segment(OTHER, 1, "inputs", 0, "name", to="last"), "which is not there by then"),
    (_segment(OTHER, 2, "outputs", 0, "name", to="states"), "'states', which is there before"),
    (_segment(OTHER, 2, "outputs", 0, "name", to="picture"), "'picture', which is there before"),
    (_segment(OTHER, 3, "outputs", 0, "name", to="else"), "'other' does not end in 'probabil"),
    (_segment(OTHER, 3, "outputs", 0, "shape", to=[9]), "'other' does not end in 'probabil"),
    (
        _segment(OTHER, 3, "file", to="device/segment-2.onnx"),
        "device/segment-2.onnx reads or gives other tensors in chain 'other'",
    ),
]

CUTS: list[tuple[Change, str]] = [
    (_again("cuts"), "cut 'input' stands in it twice"),
    (_cut(EARLY, "chain", to="third"), "'early' names the unknown chain 'third'"),
    (_cut(EARLY, "depth", to=7), "'early' has depth 7, its chain has 3 segments"),
    (_cut(EARLY, "depth", to=-1), "'early' has depth -1"),
    (_cut(EARLY, "depth", to=3), "'early' is the whole network and cannot have a tail"),
    (_cut(LOCAL, "tail", to=["cloud/tail-early.onnx"]), "cannot have a tail"),
    (_cut(LOCAL, "depth", to=2), "'local' lacks its tensors or its tail"),
    (_cut(EARLY, "tensors", to=[]), "'early' lacks its tensors or its tail"),
    (_cut(EARLY, "tail", to=[]), "'early' lacks its tensors or its tail"),
    (_cut(EARLY, "rest_ms", to=-0.5), "'early' has the impossible rest_ms -0.5"),
    (_again("cuts", MIXED, "tensors"), "cut 'mixed': tensor 'hidden' stands in it twice"),
    (_cut(MIXED, "depth", to=1), "'hidden' of cut 'mixed' is .*, which is not there by then"),
    (_cut(STATES, "chain", to="whole"), "cannot have a tail"),
    (_cut(STATES, "depth", to=2), "'folded' of cut 'states' is .*, which is not there by then"),
    (_cut(EARLY, "depth", to=0), "'early' answers 'tone', no output that its head"),
    (_both_tensors(INPUT, 0, shape=[24, 33, 3]), "'picture' of cut 'input' .*, there is 'picture'"),
    (_both_tensors(INPUT, 0, name="early"), "'early' of cut 'input' .* not there by then"),
    (_cut(EARLY, "answers", to=["early"]), "'early' answers 'early', no output that its head"),
    (_cut(INPUT, "answers", to=["tone"]), "'input' answers 'tone', no output that its head"),
    (_cut(EARLY, "answers", to=["probabilities"]), "'early' answers 'probabilities', no output"),
    (_cut(EARLY, "answers", to=["tone", "tone"]), "answer 'tone' stands in it twice"),
    (_cut(MIXED, "tensors", 0, "stage", to=None), "crosses in another form, but no stage"),
    (_cut(INPUT, "tensors", 0, "stage", to={}), "cannot be quantised"),
    (_cut(STATES, "tensors", 0, "wire", "batch_axis", to=0), "has batch axis 1, and 0 on the wire"),
    (_cut(STATES, "tensors", 0, "wire", "batch_axis", to=None), "axis 1, and None on the wire"),
    (_cut(EARLY, "tensors", 0, "quantisation", "scale", to=0.0), "impossible scale"),
    (_cut(EARLY, "tensors", 0, "quantisation", "zero_point", to=256), "impossible scale"),
]


STAGES: list[tuple[Change, str]] = [
    (_stage(order=[0, 0, 1]), "'hidden' of cut 'mixed' has a stage whose order is none of its 4"),
    (_stage(order=[1, 2, 3, 4]), "whose order is none of its 4 channels"),
    (_stage(order=[3, 2, 1, 0], projection="device/segment-0.onnx"), "cannot order or project"),
    (_stage(projection="device/wire-mixed.npy"), "wire-mixed.npy is used by the device side but"),
    (_stage(wire=[5, 9, 9]), r"'hidden' of cut 'mixed' is \[.*\], and \[1, 5, 9, 9\] behind"),
    (
        _stage(wire=[5, 1, 1], projection="device/segment-0.onnx"),
        r"and \[1, 5, 1, 1\] behind its stage",
    ),
    (_stage(held={"scale": 0.0, "zero_point": 0}), "'hidden' of cut 'mixed' has an impossible sc"),
    (_stage(held={"scale": 1.0, "zero_point": 256}), "impossible scale or zero point"),
    (_stage(model="device/stage.onnx"), "unknown field `model`"),
]


@pytest.mark.parametrize(("change", "complaint"), CHAINS + CUTS + STAGES)
def test_what_cannot_be_run_is_refused_by_name(change: Change, complaint: str) -> None:
    with pytest.raises(BundleError, match=complaint):
        decode_manifest(edited(change), "bundle.json")


def test_a_head_that_has_all_answers_leaves_the_tail_nothing_to_give() -> None:
    """`tone` is then the only output, and the early head has made it."""
    with pytest.raises(BundleError, match="cut 'early' leaves its tail no output to give"):
        decode_manifest(edited(put("outputs", to=[_only_tone()])), "bundle.json")


def _only_tone() -> dict[str, Any]:
    return {"name": "tone", "data_type": "float64", "shape": [3], "batch_axis": 0}


def test_a_scalar_without_a_batch_cannot_be_quantised() -> None:
    """Symbols are arrays with an axis at least."""

    def change(document: dict[str, Any]) -> None:
        scalar: dict[str, Any] = {
            "name": "folded",
            "data_type": "uint8",
            "shape": [],
            "batch_axis": None,
        }
        segments = document["chains"][OTHER]["segments"]
        segments[2]["outputs"][0] = segments[3]["inputs"][1] = scalar
        document["cuts"][STATES]["tensors"][1].update(boundary=scalar, wire=scalar)

    with pytest.raises(BundleError, match="'folded' of cut 'states' cannot be quantised"):
        decode_manifest(edited(change), "bundle.json")


@pytest.mark.parametrize("cut", [INPUT, EARLY])
def test_an_output_that_is_an_input_is_passed_through_or_answered_at_once(cut: int) -> None:
    def change(document: dict[str, Any]) -> None:
        document["outputs"].append(document["inputs"][1])
        document["cuts"][cut]["answers"].append("rate")

    manifest = decode_manifest(edited(change), "bundle.json")
    assert manifest.cuts[cut].answers[-1] == "rate"


def test_what_skips_a_segment_is_held() -> None:
    plan: Manifest = wire_plan()
    other = plan.chains[OTHER]
    assert other.held(1) == ("early",)
    assert other.held(2) == ("early", "states")
    assert other.held(3) == ("folded", "last", "states")
    assert other.held(0) == other.held(4) == ()


def test_a_cut_knows_its_chain() -> None:
    plan = wire_plan()
    assert [plan.chain_of(cut).id for cut in plan.cuts] == [
        "whole",
        "whole",
        "whole",
        "other",
        "whole",
    ]
