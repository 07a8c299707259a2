"""What the wire's bench shows: tables for people, and the same figures as JSON for programs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from statistics import geometric_mean, median
from typing import Any

from isthmus_bench.cells import table
from isthmus_bench.starvation import caution
from isthmus_bench.wire.bench import WireBenchResult
from isthmus_bench.wire.cut_rows import CodecFigures, CutRow
from isthmus_bench.wire.picture_rows import EqualRow

__all__ = ["wire_json", "wire_lines"]

BASELINE = "jpeg 4:2:0 q95"  # the coarsest JPEG that classifiers forgive
_LEGEND = "<= : even our coarsest rung does less harm. >= : even our finest does more."
_MARKS = {"equal": "", "at most": "<=", "at least": ">="}


def wire_lines(result: WireBenchResult) -> Iterator[str]:
    """The report, line by line."""
    yield f"Measured on {result.machine}, one core; every figure below is of this run."
    yield from caution(result.stolen_share, "speeds (not sizes)")
    yield (
        f"Rungs are the coarsest with an agreement of {result.floor:g} on {result.inputs} inputs; "
        "speeds in millions of symbols a second of CPU time, encode/decode."
    )
    yield from ("", "a. Limits and speed, per cut", *_limits(result.cuts))
    above = median(cut.stored_pays_above_mbps for cut in result.cuts)
    yield f"   Entropy coding pays on links below {above:.0f} Mbit/s (median of the cuts)."
    yield from ("", "b. Bytes at the same agreement, ours over the rival's", *_rivals(result.cuts))
    yield from ("", "c. The same symbols: size over their order-0 entropy", *_same(result.cuts))
    yield from ("", "d. Against sending the picture, at equal error", *_equal(result))
    if result.streams:
        yield from ("", "e. Video: bytes of a frame (error)", *_streams(result))
        yield from ("", "f. Rate control on a stepping budget", *_rate(result))
    yield ""
    yield f"g. Hostile frames: {result.fuzz.frames} mutated, {result.fuzz.failures} failures"


def wire_json(result: WireBenchResult) -> dict[str, Any]:
    """The figures, headline keys first."""
    cuts = result.cuts
    return {
        "machine": result.machine,
        "stolen_share": result.stolen_share,
        "floor": result.floor,
        "inputs": result.inputs,
        "vs_order0_geomean": _geomean(cuts, lambda c: c.ours.bytes / c.order0_bytes),
        "vs_channel_order0_geomean": _geomean(
            cuts, lambda c: c.ours.bytes / c.channel_order0_bytes
        ),
        "encode_mbps": _geomean(cuts, lambda c: c.ours.encode_mbps),
        "decode_mbps": _geomean(cuts, lambda c: c.ours.decode_mbps),
        "zstd1_encode_mbps": _geomean(cuts, lambda c: _int8(c, "zstd-1").encode_mbps),
        "zstd1_decode_mbps": _geomean(cuts, lambda c: _int8(c, "zstd-1").decode_mbps),
        "vs_int8_zlib6_geomean": _against(cuts, "zlib-6"),
        "vs_int8_zstd1_geomean": _against(cuts, "zstd-1"),
        "vs_zfp_lz4_geomean": _against(cuts, "zfp lz4"),
        "stored_pays_above_mbps_median": median(c.stored_pays_above_mbps for c in cuts),
        "codec_share_of_head_max": max(c.codec_share for c in cuts),
        "vs_jpeg_best_cut": [_best(row) for row in _best_cuts(result.equal)],
        "fuzz_frames": result.fuzz.frames,
        "fuzz_failures": result.fuzz.failures,
        "rows": [_row(cut, result.equal) for cut in cuts],
        "pictures": [asdict(picture) for picture in result.pictures],
        "streams": [asdict(row) for row in result.streams],
        "rate_control": [asdict(row) for row in result.rate],
    }


def _row(cut: CutRow, equal: Sequence[EqualRow]) -> dict[str, Any]:
    own = [asdict(row) for row in equal if (row.model, row.cut) == (cut.model, cut.cut)]
    return asdict(cut) | {"equal_error": own}


def _limits(cuts: Sequence[CutRow]) -> Iterator[str]:
    rows = [
        (
            *_place(cut),
            str(cut.elements),
            f"{cut.rungs[cut.chosen].levels}",
            f"{cut.rungs[cut.chosen].agreement:.3f}{'' if cut.meets_floor else ' (below)'}",
            f"{cut.ours.bytes:.0f}",
            f"{8 * cut.ours.bytes / cut.elements:.2f}",
            f"{cut.ours.bytes / cut.order0_bytes:.2f}",
            f"{cut.ours.bytes / cut.channel_order0_bytes:.2f}",
            _speed(cut.ours),
            _speed(_int8(cut, "zstd-1")),
            f"{cut.codec_share:.1%}",
        )
        for cut in cuts
    ]
    rows.append(
        (
            "geometric mean", "", "", "", "", "", "", "",
            f"{_geomean(cuts, lambda c: c.ours.bytes / c.order0_bytes):.2f}",
            f"{_geomean(cuts, lambda c: c.ours.bytes / c.channel_order0_bytes):.2f}",
            _mean_speed([c.ours for c in cuts]),
            _mean_speed([_int8(c, "zstd-1") for c in cuts]),
            "",
        )
    )  # fmt: skip
    yield from table(
        (
            "model", "cut", "MACs", "elements", "levels", "agreement", "bytes", "bits",
            "/ order 0", "/ per channel", "ours MB/s", "zstd-1 of int8", "of head",
        ),
        rows,
        left=2,
    )  # fmt: skip


def _rivals(cuts: Sequence[CutRow]) -> Iterator[str]:
    """Rivals as they are used today: 8-bit symbols of the whole range, or floats."""
    names = [codec.name for codec in cuts[0].int8]
    rows = [
        (*_place(cut), *(f"{cut.ours.bytes / codec.bytes:.2f}" for codec in cut.int8))
        for cut in cuts
    ]
    rows.append(("geometric mean", "", "", *(f"{_against(cuts, name):.2f}" for name in names)))
    rows.append(("MB/s", "", "", *(_mean_speed([_int8(c, n) for c in cuts]) for n in names)))
    yield from table(("model", "cut", "MACs", *names), rows, left=2)


def _same(cuts: Sequence[CutRow]) -> Iterator[str]:
    """Every lossless codec on our symbols, one a byte."""
    names = ["ours", *(codec.name for codec in cuts[0].same_symbols)]
    rows = [
        (
            *_place(cut),
            *(f"{codec.bytes / cut.order0_bytes:.2f}" for codec in (cut.ours, *cut.same_symbols)),
        )
        for cut in cuts
    ]
    means = []
    speeds = []
    for index in range(len(names)):
        codecs = [(cut.ours, *cut.same_symbols)[index] for cut in cuts]
        ratios = [codec.bytes / cut.order0_bytes for codec, cut in zip(codecs, cuts, strict=True)]
        means.append(f"{geometric_mean(ratios):.2f}")
        speeds.append(_mean_speed(codecs))
    rows.append(("geometric mean", "", "", *means))
    rows.append(("MB/s", "", "", *speeds))
    yield from table(("model", "cut", "MACs", *names), rows, left=2)


def _equal(result: WireBenchResult) -> Iterator[str]:
    """Our bytes over those of each picture codec, read off between two measured rungs."""
    for model in dict.fromkeys(row.model for row in result.equal):
        found = [row for row in result.equal if row.model == model]
        codecs = list(dict.fromkeys(row.codec for row in found))
        names = dict.fromkeys((row.cut, row.mac_share) for row in found)
        pictures = {p.codec: p for p in result.pictures if p.model == model}
        yield ""
        rows: list[tuple[str, ...]] = [
            ("bytes", "", *(f"{pictures[codec].bytes:.0f}" for codec in codecs)),
            ("error", "", *(f"{pictures[codec].error:.4f}" for codec in codecs)),
            ("agreement", "", *(f"{pictures[codec].agreement:.3f}" for codec in codecs)),
        ]
        for cut, share in names:
            cells = {row.codec: row for row in found if row.cut == cut}
            rows.append((cut, f"{share:.0%}", *(_ratio(cells[codec]) for codec in codecs)))
        yield from table((model, "MACs", *codecs), rows, left=1)
    yield ""
    yield f"   {_LEGEND}"


def _ratio(row: EqualRow) -> str:
    return f"{_MARKS[row.reading]}{row.ratio:.2f}"


def _streams(result: WireBenchResult) -> Iterator[str]:
    rows = []
    for stream in result.streams:
        for name, figures in (
            ("alone", stream.alone),
            ("video", stream.video),
            ("H.264", stream.h264),
        ):
            cells = [f"{f.bytes:.0f} ({f.error:.4f})" for f in figures]
            ratios = ", ".join(
                f"{e.setting} {_MARKS[e.reading]}{e.ratio:.2f}" for e in stream.equal
            )
            shown = ratios if name == "video" else ""
            rows.append((stream.clip, stream.cut, name, *cells, *[""] * (5 - len(cells)), shown))
    headers = ("clip", "cut", "sent as", *(f"setting {n}" for n in range(1, 6)), "over H.264 at")
    yield from table(headers, rows, left=3)


def _rate(result: WireBenchResult) -> Iterator[str]:
    rows = [
        (
            row.way,
            f"{row.bytes:.0f}",
            f"{row.overshoot:.1%}",
            f"{row.over_budget:.1%}",
            f"{row.late:.1%}",
            f"{row.agreement:.3f}",
            f"{row.error:.4f}",
            str(row.changes),
        )
        for row in result.rate
    ]
    headers = (
        "", "bytes", "overshoot", "over budget", "late", "agreement", "error", "changes",
    )  # fmt: skip
    yield from table(headers, rows, left=1)


def _best_cuts(rows: Iterable[EqualRow]) -> Iterator[EqualRow]:
    """For each model the cut that saves most against JPEG, above half of the MACs and below."""
    found = [row for row in rows if row.codec == BASELINE and row.reading != "at least"]
    for model in dict.fromkeys(row.model for row in found):
        for is_early in (True, False):
            own = [r for r in found if r.model == model and (r.mac_share < 0.5) == is_early]
            if own:
                yield min(own, key=lambda row: row.ratio)


def _best(row: EqualRow) -> dict[str, Any]:
    return {
        "model": row.model,
        "cut": row.cut,
        "mac_share": row.mac_share,
        "ratio": row.ratio,
        "reading": row.reading,
        "codec": row.codec,
    }


def _place(cut: CutRow) -> tuple[str, str, str]:
    name = cut.cut if cut.tensors == 1 else f"{cut.cut} ({cut.tensors} tensors)"
    return cut.model, name, f"{cut.mac_share:.0%}"


def _int8(cut: CutRow, name: str) -> CodecFigures:
    return next(codec for codec in cut.int8 if codec.name == name)


def _against(cuts: Sequence[CutRow], name: str) -> float:
    return _geomean(cuts, lambda cut: cut.ours.bytes / _int8(cut, name).bytes)


def _geomean(cuts: Sequence[CutRow], figure: Callable[[CutRow], float]) -> float:
    return geometric_mean([figure(cut) for cut in cuts])


def _speed(codec: CodecFigures) -> str:
    return f"{codec.encode_mbps:.0f}/{codec.decode_mbps:.0f}"


def _mean_speed(codecs: Sequence[CodecFigures]) -> str:
    encode = geometric_mean([codec.encode_mbps for codec in codecs])
    decode = geometric_mean([codec.decode_mbps for codec in codecs])
    return f"{encode:.0f}/{decode:.0f}"
