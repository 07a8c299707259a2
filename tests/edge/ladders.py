"""Candidates with ladders of known sizes and agreements."""

from collections.abc import Sequence

from isthmus import Candidate, Encoding, Figures, Picture, Rung, Symbols

FLOOR = 0.95
SIZES = (10_000, 8_000, 7_000, 6_000, 5_000, 4_000, 3_000)
AGREEMENTS = (1.0, 0.99, 0.99, 0.98, 0.97, 0.95, 0.90)
COARSEST = 5  # of the rungs that meet FLOOR
SYMBOLS: Encoding = Symbols(levels=16, step=0.5, zero_point=8)
PICTURE: Encoding = Picture(format="jpeg", quality=90)


def candidate(
    name: str = "b7",
    sizes: Sequence[int] = SIZES,
    agreements: Sequence[float] = AGREEMENTS,
    *,
    encoding: Encoding | None = SYMBOLS,
    spread: float = 0.0,
    edge_ms: float = 19.0,
    tail_ms: float = 9.0,
    chosen: int = COARSEST,
    kept: bool = True,
) -> Candidate:
    figures = (
        Figures(
            edge_ms=edge_ms,
            encode_ms=1.0,
            decode_ms=1.0,
            tail_ms=tail_ms,
            payload_bytes=size,
            payload_bytes_p95=round(size * (1 + spread)),
            agreement=agreement,
            agreement_low=agreement,
            agreement_high=agreement,
            divergence=0.0,
        )
        for size, agreement in zip(sizes, agreements, strict=True)
    )
    encodings = () if encoding is None else (encoding,)
    return Candidate(
        id=name,
        cut=name,
        precision="int8",
        rungs=tuple(Rung(encodings=encodings, figures=each) for each in figures),
        chosen=chosen,
        kept=kept,
        reason="",
    )
