"""The ways in which a plan sends whole inputs so that they arrive as they were."""

from collections.abc import Iterable

from isthmus.manifest import (
    Candidate,
    Manifest,
)
from isthmus.tensors import (
    Encoding,
    Lossless,
    Picture,
    Raw,
)

__all__ = ["is_exact", "raw_input_ways"]


def is_exact(encodings: Iterable[Encoding]) -> bool:
    """Whether what crosses arrives bit by bit as it was."""
    return all(
        isinstance(encoding, Raw | Lossless)
        or (isinstance(encoding, Picture) and encoding.quality is None)
        for encoding in encodings
    )


def raw_input_ways(manifest: Manifest) -> list[tuple[Candidate, int]]:
    """Candidates, kept or not, and rungs that carry the model's inputs exactly."""
    return [
        (candidate, rung)
        for candidate in manifest.candidates
        if not candidate.is_local and manifest.cut_of(candidate).depth == 0
        for rung, step in enumerate(candidate.rungs)
        if is_exact(step.encodings)
    ]
