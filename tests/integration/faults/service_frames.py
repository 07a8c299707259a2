"""Frames of the tiny bundle at all its cuts, each with the one answer that is right for it."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.cloud.device import Head
from tests.integration.faults.traffic import CANDIDATES
from tests.reference import Outputs, Reference

from isthmus import decode_answer, open_bundle
from isthmus.v1 import split_pb2 as pb

__all__ = ["Frames", "Made"]


@dataclass(frozen=True, slots=True)
class Made:
    """A frame without a number, and what has to come back for it."""

    frame: pb.Frame
    expected: Mapping[str, np.ndarray]
    is_poison: bool = False

    def numbered(self, sequence: int, deadline_ms: int = 0) -> pb.Frame:
        """One to send."""
        frame = pb.Frame()
        frame.CopyFrom(self.frame)
        frame.sequence, frame.deadline_ms = sequence, deadline_ms
        return frame


class Frames:
    """Made once; `plain` are of all candidates in turn, `poison` of blank pictures."""

    def __init__(self, folder: Path) -> None:
        bundle = open_bundle(folder, "cloud")
        self.fingerprint = bundle.fingerprint
        self._specs = {spec.name: spec for spec in bundle.manifest.outputs}
        head, reference = Head(bundle), Reference(folder)
        count = len(head.pictures)
        head.pictures.append(np.full_like(head.pictures[0], 255))
        self.plain = [
            _made(head, reference, candidate, picture)
            for picture in range(count)
            for candidate in CANDIDATES
        ]
        self.poison = [_made(head, reference, candidate, count) for candidate in CANDIDATES]
        random.Random(7).shuffle(self.plain)

    def is_right(self, result: pb.Result, made: Made) -> bool:
        """Whether this is the answer of that frame and of no other."""
        got: Outputs = {
            output.name: decode_answer(output, self._specs[output.name])
            for output in result.outputs
        }
        return list(got) == list(made.expected) and all(
            np.allclose(got[name], values, atol=1e-5) for name, values in made.expected.items()
        )


def _made(head: Head, reference: Reference, candidate: str, picture: int) -> Made:
    pixels = head.pictures[picture]
    is_poison = picture == len(head.pictures) - 1
    expected = reference.outputs(candidate, pixels)
    return Made(head.frame(candidate, picture=picture), expected, is_poison)
