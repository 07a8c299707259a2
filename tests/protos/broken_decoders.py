"""Decoders with the defects that a fuzz has to find."""

import os

import numpy as np

from isthmus import Candidate, Cut, Kept, SymbolCoder, WireError, decode_frame
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.fuzz.cases import AnyArray

Result = tuple[tuple[AnyArray, ...], Kept | None]
# Rungs that only mutated frames have.
ENDS, HANGS, TAKES_MEMORY = 59, 60, 77


def fatal(
    frame: pb.Frame, candidate: Candidate, cut: Cut, coder: SymbolCoder, kept: Kept | None
) -> Result:
    """Ends the process, never ends, or takes 256 MiB."""
    if frame.rung == ENDS:
        os._exit(9)
    while frame.rung == HANGS:
        pass
    if frame.rung == TAKES_MEMORY:
        np.zeros(1 << 28, np.uint8)
    return decode_frame(frame, candidate, cut, coder, kept)


def talkative(
    frame: pb.Frame, candidate: Candidate, cut: Cut, coder: SymbolCoder, kept: Kept | None
) -> Result:
    """Lets another error out."""
    try:
        return decode_frame(frame, candidate, cut, coder, kept)
    except WireError as error:
        raise ValueError("not one of ours") from error


def careless(
    frame: pb.Frame, candidate: Candidate, cut: Cut, coder: SymbolCoder, kept: Kept | None
) -> Result:
    """Gives another type."""
    tensors, kept = decode_frame(frame, candidate, cut, coder, kept)
    return tuple(tensor.astype(np.float64) for tensor in tensors), kept


def flat(
    frame: pb.Frame, candidate: Candidate, cut: Cut, coder: SymbolCoder, kept: Kept | None
) -> Result:
    """Gives another shape."""
    tensors, kept = decode_frame(frame, candidate, cut, coder, kept)
    return tuple(tensor.reshape(-1) for tensor in tensors), kept


def forgetful(
    frame: pb.Frame, candidate: Candidate, cut: Cut, coder: SymbolCoder, kept: Kept | None
) -> Result:
    """Keeps nothing of a frame with a mark."""
    tensors, _ = decode_frame(frame, candidate, cut, coder, kept)
    return tensors, kept


class Stumbling:
    """Never gets up again once it had to refuse a frame."""

    def __init__(self) -> None:
        self._is_down = False

    def __call__(
        self, frame: pb.Frame, candidate: Candidate, cut: Cut, coder: SymbolCoder, kept: Kept | None
    ) -> Result:
        if self._is_down:
            raise WireError("still confused")
        try:
            return decode_frame(frame, candidate, cut, coder, kept)
        except WireError:
            self._is_down = True
            raise


def starved(
    _frame: pb.Frame, _candidate: Candidate, _cut: Cut, _coder: SymbolCoder, _kept: Kept | None
) -> Result:
    """Hides that it ran out of memory behind an error of its own."""
    raise WireError("payload is not a whole zstd frame: Allocation error : not enough memory")
