"""Rows of the wire's bench with figures that were made up, so that sums can be done by hand."""

from dataclasses import replace

from isthmus_bench.wire.cut_rows import CodecFigures, CutRow, RungFigures
from isthmus_bench.wire.scores import Score

__all__ = ["CUT", "codec", "rung", "with_sizes"]


def codec(name: str, size: float, encode_mbps: float = 100.0) -> CodecFigures:
    """A codec that decodes twice as fast as it encodes."""
    return CodecFigures(name, size, encode_mbps, 2 * encode_mbps)


def rung(error: float, size: float, agreement: float = 1.0) -> RungFigures:
    """A rung of 16 levels whose largest frames take a tenth more."""
    return RungFigures(
        step=0.5, levels=16, bytes=size, bytes_p95=1.1 * size, error=error, agreement=agreement
    )


def with_sizes(row: CutRow, *, ours: float, order0: float, zlib6: float, zfp_lz4: float) -> CutRow:
    """The same cut, had the codecs needed so many bytes."""
    sizes = {"zlib-6": zlib6, "zfp lz4": zfp_lz4}
    return replace(
        row,
        ours=replace(row.ours, bytes=ours),
        order0_bytes=order0,
        int8=tuple(replace(each, bytes=sizes.get(each.name, each.bytes)) for each in row.int8),
    )


CUT = CutRow(
    model="efficientnet-lite0",
    cut="b07",
    mac_share=0.41,
    elements=10_000,
    tensors=1,
    rungs=(rung(0.001, 900.0), rung(0.01, 500.0, 0.98), rung(0.1, 100.0, 0.9)),
    chosen=1,
    meets_floor=True,
    ours=codec("ours", 500.0, 400.0),
    order0_bytes=520.0,
    channel_order0_bytes=510.0,
    same_symbols=(codec("zlib-6", 540.0), codec("zstd-1", 550.0)),
    int8=(codec("zlib-6", 1250.0, 20.0), codec("zstd-1", 1300.0, 300.0), codec("zfp lz4", 2000.0)),
    int8_score=Score(0.0001, 1.0),
    head_ms=5.0,
)
