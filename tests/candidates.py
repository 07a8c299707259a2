"""Candidates with invented figures, for tests of whatever chooses among them."""

from typing import Literal

from isthmus import Candidate, Encoding, Figures, Rung

__all__ = ["candidate", "rung"]


def rung(
    encoding: Encoding | None,
    *,
    edge_ms: float = 0.0,
    payload_bytes: int = 0,
    cloud_ms: float = 0.0,
    agreement: float = 1.0,
    divergence: float = 0.0,
) -> Rung:
    """One step of a ladder for a cut of one tensor; None sends nothing."""
    figures = Figures(
        edge_ms=edge_ms,
        encode_ms=0.0,
        decode_ms=0.0,
        tail_ms=cloud_ms,
        payload_bytes=payload_bytes,
        payload_bytes_p95=payload_bytes,
        agreement=agreement,
        agreement_low=agreement,
        agreement_high=agreement,
        divergence=divergence,
    )
    return Rung(encodings=() if encoding is None else (encoding,), figures=figures)


def candidate(
    name: str,
    *rungs: Rung,
    precision: Literal["none", "fp32", "int8"] = "int8",
    chosen: int = 0,
    kept: bool = False,
) -> Candidate:
    """A candidate of a cut of the same name; the ladder begins with the finest rung."""
    return Candidate(
        id=name,
        cut=name,
        precision=precision,
        rungs=rungs,
        chosen=chosen,
        kept=kept,
        reason="",
    )
