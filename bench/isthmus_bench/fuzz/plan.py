"""A small plan in which everything crosses that can: every type, encoding, predictor and rank.

No file stands behind it: it is what a device and a service agree on, and no more.
"""

from collections.abc import Sequence

from PIL import features

from isthmus import (
    FORMAT_VERSION,
    UNMEASURED,
    Candidate,
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
)
PROBABILITIES = TensorSpec(name="probabilities", data_type="float32", shape=(10,))


def wire_plan() -> Manifest:
    """Three cuts before `local`, and ladders that walk through every way to send them."""
    entries = {entry.path: entry for entry in _files()}
    return Manifest(
        format_version=FORMAT_VERSION,
        model_name="wire",
        model_sha256="0" * 64,
        input=PICTURE.wire,
        outputs=(PROBABILITIES,),
        segments=_segments(),
        cuts=(
            _cut("input", 0, (PICTURE,)),
            _cut("early", 1, (EARLY,)),
            _cut("mixed", 2, MIXED),
            Cut(id="local", depth=3, macs_share=1.0, tensors=(), tail=None),
        ),
        candidates=_candidates(),
        files=tuple(entries.values()),
        agreement_floor=0.95,
        edge_factor=1.0,
        measured_on="invented",
        has_labels=False,
    )


def _segments() -> tuple[Segment, ...]:
    mixed = tuple(tensor.boundary for tensor in MIXED)
    links = [(PICTURE.wire,), (EARLY.wire,), mixed, (PROBABILITIES,)]
    return tuple(
        Segment(file=f"device/segment-{i}.onnx", inputs=links[i], outputs=links[i + 1])
        for i in range(3)
    )


def _files() -> list[FileEntry]:
    device = [f"device/segment-{i}.onnx" for i in range(3)] + ["device/wire-cut.onnx"]
    cloud = [f"cloud/tail-{name}.onnx" for name in ("input", "early", "mixed")]
    return [
        *(FileEntry(path=path, side="device", size_bytes=1, sha256="0" * 64) for path in device),
        *(FileEntry(path=path, side="cloud", size_bytes=1, sha256="0" * 64) for path in cloud),
    ]


def _cut(name: str, depth: int, tensors: tuple[CutTensor, ...]) -> Cut:
    tail = f"cloud/tail-{name}.onnx"
    return Cut(id=name, depth=depth, macs_share=depth / 3, tensors=tensors, tail=tail)


def _candidates() -> tuple[Candidate, ...]:
    return (
        _candidate("local", "local", [[]]),
        _candidate("pictures", "input", [[each] for each in _picture_ladder()]),
        _candidate("exact", "input", [[Raw()], [Lossless()]]),
        _candidate("early", "early", [[each] for each in _map_ladder()]),
        _candidate("mixed", "mixed", _mixed_ladder()),
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
    exactly: list[Encoding] = [Lossless()] * 6
    as_they_are: list[Encoding] = [Raw()] * 6
    return [
        [symbols(256, "up"), Lossless(), *as_they_are],
        [symbols(256), symbols(256, "left"), *exactly],
        [symbols(16, zero_point=3), symbols(16), *exactly],
        [symbols(16, "left"), symbols(16, "left"), *as_they_are],
    ]
