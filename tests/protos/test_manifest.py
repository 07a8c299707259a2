"""A manifest is read whole or refused with the name of what makes no sense in it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protos.edits import Change, edited, put, without

from isthmus import (
    UNMEASURED,
    BundleError,
    Candidate,
    Lossless,
    Manifest,
    Raw,
    Rung,
    TensorSpec,
    decode_manifest,
    encode_manifest,
)
from isthmus_bench.fuzz.cases import candidate_of, plain, quantised, staged, symbols
from isthmus_bench.fuzz.plan import wire_plan

# Where things are in `wire_plan`.
PICTURES, EXACT, EARLY, MIXED = 1, 2, 3, 4


def _encoding(candidate: int, rung: int, tensor: int, **fields: object) -> Change:
    def change(document: dict[str, Any]) -> None:
        encodings = document["candidates"][candidate]["rungs"][rung]["encodings"]
        encodings[tensor] = {**encodings[tensor], **fields}

    return change


def _replaced(candidate: int, rung: int, tensor: int, encoding: dict[str, object]) -> Change:
    return put("candidates", candidate, "rungs", rung, "encodings", tensor, to=encoding)


def _figures(**fields: object) -> Change:
    return lambda d: d["candidates"][EARLY]["rungs"][0]["figures"].update(fields)


PLAIN = {"kind": "symbols", "levels": 16, "step": 0.1, "zero_point": 3, "predictor": "none"}

NONSENSE: list[tuple[Change, str]] = [
    (put("format_version", to=1), "bundle format 1, this Isthmus reads 5"),
    (put("surprise", to=1), "unknown field `surprise`"),
    (lambda d: d.pop("chains"), "missing required field `chains`"),
    (put("inputs", 0, "shape", to=[1 << 20, 1 << 20, 3]), "impossible shape"),
    (put("inputs", 0, "shape", to=[0, 3]), "impossible shape"),
    (put("inputs", 0, "shape", to=[1] * 60), "impossible shape"),
    (put("cuts", 2, "tensors", 0, "wire", "shape", to=[1 << 40]), "impossible shape"),
    (put("cuts", 2, "tensors", 0, "boundary", "shape", to=[1 << 40]), "impossible shape"),
    (put("outputs", 0, "shape", to=[-1]), "impossible shape"),
    (put("outputs", 0, "data_type", to="complex64"), "Invalid enum value 'complex64'"),
    (put("inputs", 0, "batch_axis", to=4), "'picture' of rank 3 has the batch axis 4"),
    (put("inputs", 0, "batch_axis", to=-1), "'picture' of rank 3 has the batch axis -1"),
    (put("chains", 1, "segments", 2, "outputs", 0, "batch_axis", to=3), "has the batch axis 3"),
    (put("files", 0, "path", to="../outside.onnx"), "leads out of the bundle"),
    (put("files", 0, "path", to="/etc/passwd"), "leads out of the bundle"),
    (lambda d: d["files"].append(d["files"][0]), "stands in it twice"),
    (without("device/segment-1.onnx"), "device/segment-1.onnx is used by the device side"),
    (without("device/other-3.onnx"), "device/other-3.onnx is used by the device side"),
    (without("cloud/tail-mixed.onnx"), "cloud/tail-mixed.onnx is used by the cloud side"),
    (put("files", 0, "side", to="record"), "segment-0.onnx is listed as a record, but"),
    (put("files", -1, "path", to="plan.json"), "plan.json is listed as a record, but is not"),
    (put("chains", 0, "segments", 0, "file", to="record/plan.json"), "used by the device side"),
    (put("has_labels", to=True), "labels.txt is used by both sides"),
    (put("candidates", 0, "cut", to="nowhere"), "unknown cut 'nowhere'"),
    (put("candidates", EARLY, "chosen", to=8), "chooses rung 8 of 8"),
    (put("candidates", EARLY, "chosen", to=-1), "chooses rung -1 of 8"),
    (put("candidates", EARLY, "rungs", to=[]), "chooses rung 0 of 0"),
    (put("candidates", MIXED, "rungs", 1, "encodings", to=[]), "has 0 encodings for 9 tensors"),
    (_figures(agreement=0.5, agreement_low=0.6), "0.5, which is not within its interval"),
    (_figures(agreement=0.5, agreement_high=0.4), "0.5, which is not within its interval"),
    (_figures(agreement=1.5, agreement_high=1.5), "which is not within its interval"),
    (_figures(agreement_low=-0.1), "which is not within its interval"),
    (_figures(divergence=-1e-9), "impossible divergence -1e-09"),
    (_figures(memory_bytes=-1), "impossible memory_bytes -1"),
    (_figures(edge_ms=-1.0), "impossible edge_ms -1.0"),
    (lambda d: d["candidates"].append(dict(d["candidates"][0], id="again")), "exactly one"),
    (lambda d: d["candidates"].append(d["candidates"][1]), "stands in it twice"),
    (lambda d: d["candidates"].pop(0), "exactly one"),
    (_encoding(EARLY, 2, 0, step=-1.0), "impossible step"),
    (_encoding(EARLY, 2, 0, step=0.0), "impossible step"),
    (_encoding(EARLY, 2, 0, zero_point=256), "impossible step or zero point"),
    (_encoding(EARLY, 5, 0, zero_point=16), "impossible step or zero point"),
    (_encoding(EARLY, 2, 0, levels=7), "Invalid enum value 7"),
    (_encoding(EARLY, 2, 0, predictor="right"), "Invalid enum value 'right'"),
    (_encoding(MIXED, 0, 0, kind="jpeg"), "Invalid value 'jpeg'"),
    (_encoding(MIXED, 1, 2, mode=1), "unknown field `mode`"),
    (_replaced(MIXED, 1, 2, PLAIN), "impossible step or zero point"),
    (_encoding(MIXED, 2, 1, predictor="up"), "no neighbour for the predictor 'up'"),
    (_replaced(MIXED, 0, 0, {"kind": "raw"}), "in another form than symbols"),
    (_replaced(MIXED, 0, 0, {"kind": "lossless"}), "in another form than symbols"),
    (_encoding(PICTURES, 1, 0, quality=0), "a quality from 1 to 100"),
    (_encoding(PICTURES, 1, 0, quality=None), "only WebP is lossless"),
    (_encoding(PICTURES, 1, 0, format="gif"), "Invalid enum value 'gif'"),
    (_replaced(EARLY, 0, 0, {"kind": "picture", "format": "jpeg", "quality": 9}), "a picture and"),
]


@pytest.mark.parametrize(("change", "complaint"), NONSENSE)
def test_a_manifest_that_makes_no_sense_is_refused_by_name(change: Change, complaint: str) -> None:
    with pytest.raises(BundleError, match=complaint) as caught:
        decode_manifest(edited(change), "bundle.json")
    assert str(caught.value).startswith("bundle.json: ")


def test_a_plan_with_everything_in_it_survives_writing_and_reading() -> None:
    assert decode_manifest(encode_manifest(wire_plan()), "here") == wire_plan()
    assert edited(lambda _: None)


@given(st.binary(max_size=80))
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        decode_manifest(data, "here")


@given(st.data())
def test_a_manifest_with_any_value_replaced_is_read_or_refused(data: st.DataObject) -> None:
    """Whatever is left of it, nothing but BundleError comes out."""
    document = json.loads(encode_manifest(wire_plan()))
    node: Any = document
    while True:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    numbers = st.integers(-(1 << 70), 1 << 70) | st.floats()
    node[key] = data.draw(st.none() | st.booleans() | numbers | st.text(max_size=9) | st.just([]))
    try:
        manifest = decode_manifest(msgspec.json.encode(document), "here")
    except BundleError:
        return
    assert isinstance(manifest, Manifest)


def ladder(*agreements: float) -> Candidate:
    rungs = tuple(
        Rung(encodings=(symbols(16),), figures=msgspec.structs.replace(UNMEASURED, agreement=each))
        for each in agreements
    )
    return msgspec.structs.replace(candidate_of([Raw()]), rungs=rungs)


@pytest.mark.parametrize(
    ("agreements", "rung"),
    [
        ((1.0, 0.99, 0.96, 0.9), 2),
        ((1.0, 0.99), 1),
        ((0.95,), 0),
        ((0.94, 0.99), None),
        ((1.0, 0.9, 0.99), 0),
    ],
)
def test_the_floor_is_met_by_a_rung_and_all_finer_ones(
    agreements: tuple[float, ...], rung: int | None
) -> None:
    assert ladder(*agreements).rung_for(0.95) == rung


def test_the_chosen_rung_is_the_candidates_face() -> None:
    candidate = msgspec.structs.replace(candidate_of([Raw()], [Lossless()]), chosen=1)
    assert candidate.encodings == (Lossless(),)
    assert candidate.figures is candidate.rungs[1].figures
    assert not candidate.is_local
    assert candidate_of([]).is_local


def test_symbols_come_from_a_table_or_from_a_stage() -> None:
    assert quantised(3).is_quantised
    assert staged(3).is_quantised
    assert not plain("uint8", 3).is_quantised


@pytest.mark.parametrize(
    ("axis", "shape"), [(0, (1, 2, 3)), (1, (2, 1, 3)), (2, (2, 3, 1)), (None, (2, 3))]
)
def test_a_batch_of_one_stands_where_the_spec_says(
    axis: int | None, shape: tuple[int, ...]
) -> None:
    spec = TensorSpec(name="t", data_type="float64", shape=(2, 3), batch_axis=axis)
    assert spec.graph_shape == shape
    assert spec.nbytes == 48


def test_what_sends_nothing_is_local() -> None:
    assert wire_plan().local.id == "local"
    assert wire_plan().cut_of(wire_plan().candidate("mixed")).id == "mixed"
