"""A small plan in which everything crosses that can: every type, encoding, predictor and rank.

No file stands behind it: it is what a device and a service agree on, and no more.
"""

from collections.abc import Sequence
from typing import Literal

from PIL import features

from isthmus import (
    FORMAT_VERSION,
    UNMEASURED,
    Candidate,
    Chain,
    Cut,
    CutTensor,
    Encoding,
    FileEntry,
    Lossless,
    Manifest,
    Picture,
    Raw,
    Rung,
    Segment,
    TensorSpec,
)
from isthmus_bench.fuzz.cases import plain, quantised, staged, symbols

PICTURE = plain("uint8", 24, 32, 3, name="picture")
RATE = plain("int64", name="rate", batch_axis=None)
EARLY = quantised(8, 20, 20, name="early")
MIXED: tuple[CutTensor, ...] = (
    staged(4, 9, 9, name="hidden"),
    quantised(33, name="row"),
    plain("bool", 19, name="mask"),
    plain("int64", name="length"),
    plain("int32", 3, 5, name="ids"),
    plain("int8", 2, 3, 4, 5, name="own"),
    plain("float16", 7, name="half"),
    plain("float32", 5, 1, name="whole"),
    plain("float64", 6, name="precise"),
)
# Of another chain: recurrent, the batch in the second place or folded into the first.
STATES: tuple[CutTensor, ...] = (
    staged(7, 12, name="states", batch_axis=1),
    quantised(9, 8, name="folded", batch_axis=None),
    plain("float32", 2, 5, name="last", batch_axis=2),
    RATE,
)
PROBABILITIES = TensorSpec(name="probabilities", data_type="float32", shape=(10,))
TONE = TensorSpec(name="tone", data_type="float64", shape=(3,))
INPUTS = (PICTURE.wire, RATE.wire)


def wire_plan() -> Manifest:
    """Four cuts before `local`, and ladders that walk through every way to send them."""
    entries = {entry.path: entry for entry in _files()}
    return Manifest(
        format_version=FORMAT_VERSION,
        model_name="wire",
        model_sha256="0" * 64,
        inputs=INPUTS,
        outputs=(PROBABILITIES, TONE),
        metric="invented for tests",
        chains=_chains(),
        cuts=_cuts(),
        candidates=_candidates(),
        files=tuple(entries.values()),
        agreement_floor=0.95,
        edge_factor=1.0,
        measured_on="invented",
        has_labels=False,
    )


def _chains() -> tuple[Chain, ...]:
    mixed, states = (tuple(each.boundary for each in tensors) for tensors in (MIXED, STATES[:3]))
    first = Segment(file="device/segment-0.onnx", inputs=INPUTS, outputs=(EARLY.wire, TONE))
    whole = (
        first,
        Segment(file="device/segment-1.onnx", inputs=(EARLY.wire,), outputs=mixed),
        Segment(file="device/segment-2.onnx", inputs=mixed, outputs=(PROBABILITIES,)),
    )
    other = (
        first,
        Segment(file="device/other-1.onnx", inputs=(PICTURE.wire,), outputs=states[:1]),
        Segment(file="device/other-2.onnx", inputs=(EARLY.wire,), outputs=states[1:]),
        Segment(file="device/other-3.onnx", inputs=(*states, RATE.wire), outputs=(PROBABILITIES,)),
    )
    return (
        Chain(id="whole", precision="int8", segments=whole),
        Chain(id="other", precision="fp32", segments=other),
    )


def _files() -> list[FileEntry]:
    segments = (each.file for chain in _chains() for each in chain.segments)
    tails = dict.fromkeys(part for cut in _cuts() for part in cut.tail)
    return [
        *(_file(path, "device") for path in (*segments, "device/wire-cut.onnx")),
        *(_file(path, "cloud") for path in tails),
        _file("record/plan.json", "record"),
    ]


def _file(path: str, side: Literal["device", "cloud", "record"]) -> FileEntry:
    return FileEntry(path=path, side=side, size_bytes=1, sha256="0" * 64)


def _cuts() -> tuple[Cut, ...]:
    return (
        _cut("input", "whole", 0, (PICTURE, RATE)),
        _cut("early", "whole", 1, (EARLY,)),
        _cut("mixed", "whole", 2, MIXED),
        _cut("states", "other", 3, STATES),
        Cut(id="local", chain="whole", depth=3, macs_share=1.0, tensors=()),
    )


def _cut(name: str, chain: str, depth: int, tensors: tuple[CutTensor, ...]) -> Cut:
    return Cut(
        id=name,
        chain=chain,
        depth=depth,
        macs_share=depth / 4,
        tensors=tensors,
        tail=(f"cloud/tail-{name}.onnx",),
        answers=(TONE.name,) if depth else (),
        rest_ms=100.0 - depth,
    )


def _candidates() -> tuple[Candidate, ...]:
    return (
        _candidate("local", "local", [[]]),
        _candidate("pictures", "input", [[each, Raw()] for each in _picture_ladder()]),
        _candidate("exact", "input", [[Raw(), Raw()], [Lossless(), Lossless()]]),
        _candidate("early", "early", [[each] for each in _map_ladder()]),
        _candidate("mixed", "mixed", _mixed_ladder()),
        _candidate("states", "states", _states_ladder()),
    )


def _candidate(name: str, cut: str, ladder: Sequence[Sequence[Encoding]]) -> Candidate:
    return Candidate(
        id=name,
        cut=cut,
        precision="none" if cut == "input" else "fp32",
        rungs=tuple(Rung(encodings=tuple(each), figures=UNMEASURED) for each in ladder),
        chosen=0,
        kept=True,
        reason="invented for tests",
    )


def _picture_ladder() -> list[Encoding]:
    ladder: list[Encoding] = [
        Picture(format="webp", quality=None),
        Picture(format="jpeg", quality=95),
        Picture(format="webp", quality=90),
    ]
    if features.check("avif"):
        ladder.append(Picture(format="avif", quality=80))
    return ladder


def _map_ladder() -> list[Encoding]:
    return [
        Raw(),
        Lossless(),
        symbols(256),
        symbols(256, "left"),
        symbols(256, "up"),
        symbols(16, zero_point=0),
        symbols(16, "left"),
        symbols(16, "up"),
    ]


def _mixed_ladder() -> list[list[Encoding]]:
    exactly: list[Encoding] = [Lossless()] * 7
    as_they_are: list[Encoding] = [Raw()] * 7
    return [
        [symbols(256, "up"), Lossless(), *as_they_are],
        [symbols(256), symbols(256, "left"), *exactly],
        [symbols(16, zero_point=3), symbols(16), *exactly],
        [symbols(16, "left"), symbols(16, "left"), *as_they_are],
    ]


def _states_ladder() -> list[list[Encoding]]:
    return [
        [symbols(256, "left"), Raw(), Raw(), Raw()],
        [symbols(16, "up"), symbols(256, "left"), Lossless(), Lossless()],
        [symbols(16), symbols(16, "up"), Lossless(), Raw()],
    ]
